"""`host:port`: one reading for settings, commands and programs."""

from typing import Any

import pytest

from cpppod.protocols.model.addresses import (
    AddressError,
    SocketAddress,
    is_loopback,
    listen_address,
    socket_address,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.5:502", ("10.0.0.5", 502)),
        (" plc-7.example:1502 ", ("plc-7.example", 1502)),
        ("plc", ("plc", 44818)),
        ("plc:", ("plc", 44818)),
        (":4000", ("localhost", 4000)),
        ("", ("localhost", 44818)),
        ("[::1]:502", ("::1", 502)),
        ("[fe80::1%eth0]:502", ("fe80::1%eth0", 502)),
        ("[::1]", ("::1", 44818)),
        ("::1", ("::1", 44818)),
        ("2001:db8::7", ("2001:db8::7", 44818)),
        ("plc:65535", ("plc", 65535)),
    ],
)
def test_host_and_port_and_what_stands_for_those_left_out(
    text: str, expected: tuple[str, int]
) -> None:
    assert socket_address(text, host="localhost", port=44818) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("plc:0", "plc:65536", "plc:x", "plc:-1", "plc:+5", "plc:\u0665", "plc:5 0"),
        *("10.0.0:502", "300.0.0.1:502", "a b:502", "-plc:502", "plc-:502", "plc/x:502"),
        *("[::1:502", "::1]:502", "[10.0.0.5]:502", "[]:502", "[::g]:502", "1:2:3", "[::1]502"),
        "9" * 20_000,
        "plc:" + "9" * 20_000,
    ],
)
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(AddressError, match="expected host:port"):
        socket_address(text, host="localhost", port=44818)


@pytest.mark.parametrize(
    ("text", "defaults"),
    [("plc", {}), ("::1", {}), (":502", {}), ("", {"host": "x"}), ("", {"port": 1})],
)
def test_what_has_no_default_must_be_there(text: str, defaults: dict[str, Any]) -> None:
    with pytest.raises(AddressError):
        socket_address(text, **defaults)


def test_port_0_is_for_who_listens() -> None:
    assert socket_address("127.0.0.1:0", any_port=True).port == 0


@pytest.mark.parametrize("text", ["10.0.0.5:502", "[::1]:502", "plc:1", ":9"])
def test_address_is_written_as_it_is_read(text: str) -> None:
    assert str(socket_address(text, host="")) == text


def test_listener_s_address_is_an_ip_address() -> None:
    assert listen_address("localhost:44818") == SocketAddress("127.0.0.1", 44818)
    assert listen_address(":44818") == ("", 44818)
    assert listen_address("0.0.0.0:0", any_port=True) == ("0.0.0.0", 0)
    assert listen_address("[::1]:44818") == ("::1", 44818)
    assert listen_address("[::]:44818") == ("::", 44818)
    for text in ("[::g]:44818", "plc:44818", "127.0.0.1", "::1"):
        with pytest.raises(AddressError):
            listen_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True)),
        *(("LOCALHOST", True), ("10.0.0.1", False), ("0.0.0.0", False), ("plc", False)),
        *(("", False), ("::", False)),
        *(("127.0.0.1:44880", True), ("localhost:0", True), ("[::1]:44880", True)),
        *(("0.0.0.0:44880", False), ("10.0.0.1:1", False), ("plc:502", False)),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
