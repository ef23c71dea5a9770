"""The TCP/IP Interface, Ethernet Link and Port objects."""

from typing import Any

import pytest

from cpppod.protocols.cip.objects.interfaces import interface_configuration
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask, controller, words


def test_addresses_travel_with_their_last_octet_first() -> None:
    given = '{"ip_address": "192.168.0.5", "network_mask": "255.255.255.0", "domain_name": "ab"}'
    expected = bytes.fromhex("0500a8c0 00ffffff") + bytes(12) + b"\2\0ab"
    assert interface_configuration(given) == expected
    assert interface_configuration("") == bytes(22)


@pytest.mark.parametrize(
    "values",
    [
        "{",
        "[]",
        7,
        {"ip_address": "10.0.0"},
        {"ip_address": "10.0.0.256"},
        {"gateway_address": "10.0.0.x"},
        {"dns_primary": "10.0.0.²"},
        {"dns_secondary": "::1"},
        {"domain_name": "€"},
    ],
)
def test_configuration_that_is_no_map_of_ipv4_addresses_is_refused(values: Any) -> None:
    with pytest.raises(EncodeError):
        interface_configuration(values)


@pytest.mark.parametrize("value", ["up", -1, 1 << 32, []])
def test_word_of_the_tcpip_object_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError):
        controller(objects={"tcpip": {"Interface Status": value}})


def test_keys_of_the_toml_file_and_of_cpppo_say_the_same() -> None:
    flat = {"ip_address": "10.0.0.5", "name_server": "10.0.0.1", "status": 1, "host_name": "mixer"}
    nested = {
        "Interface Configuration": '{"ip_address": "10.0.0.5", "dns_primary": "10.0.0.1"}',
        "Interface Status": "1",
        "Host Name": "mixer",
    }
    replies = [
        ask(controller(objects={"tcpip": item}), request(0x01, "@0xF5/1"))
        for item in (flat, nested)
    ]
    assert replies[0] == replies[1]
    assert replies[0].data.startswith(bytes.fromhex("01000000 30000000 00000000 0200 20f62401"))
    assert replies[0].data.endswith(b"\5\0mixer\0")


def test_port_class_lists_the_backplane_and_the_ethernet_port() -> None:
    target = controller()
    assert ask(target, request(0x0E, "@0xF4/0/9")).data == words(0, 0, 1, 1, 4, 2)
    assert ask(target, request(0x0E, "@0xF4/2/7")).data == b"\2\0"
