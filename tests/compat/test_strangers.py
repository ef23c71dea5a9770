"""Differences that programs of strangers showed when they ran on cpppo and here."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cpppo.dotdict import dotdict
from cpppo.server import tnetstrings
from cpppo.server.enip import client, device, parser
from cpppo.server.enip.get_attribute import attribute_operations, proxy, proxy_simple
from cpppo.server.enip.main import main, tags

from tests.patience import PATIENCE_S

WRITTEN: list[Any] = []


class Noting(device.Attribute):  # type: ignore[misc]
    """Notes what is set, and how."""

    def __setitem__(self, key: Any, value: Any) -> None:
        WRITTEN.append((self.name, isinstance(key, slice), value))
        super().__setitem__(key, value)


class Meter(device.Object):  # type: ignore[misc]
    """Its instances have values; the class itself has those of every class."""

    class_id = 0x66

    def __init__(self, name: str | None = None, instance_id: int | None = None) -> None:
        super().__init__(name, instance_id)
        if self.instance_id == 0:
            return
        self.attribute["1"] = device.Attribute("Volts", parser.REAL, default=1.5)
        self.attribute["2"] = device.Attribute("Serial", parser.UINT, default=[1, 2])
        hidden = device.Attribute.MASK_GA_ALL
        self.attribute["3"] = device.Attribute("Own", parser.INT, default=9, mask=hidden)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, int]]:
    device.lookup_reset()
    Meter(instance_id=1)
    control = dotdict(latency=0.01)
    argv = ["-a", "127.0.0.1:0", "--no-config", "Text=SSTRING", "Plain=INT[3]", "At@0x93/3/10=INT"]
    keywords = {"argv": argv, "attribute_class": Noting, "server": {"control": control}}
    thread = threading.Thread(target=main, kwargs=keywords, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE_S
    while not control.get("address"):
        assert time.monotonic() < until
        time.sleep(0.005)
    yield control["address"]
    control["done"] = True
    thread.join(PATIENCE_S)
    device.lookup_reset()


def test_every_class_has_an_instance_0(served: tuple[str, int]) -> None:
    found = device.lookup(0x66, 0)
    assert (found.name, repr(found)) == ("meta-Meter", "(0x66,  0) meta-Meter")
    assert [found.attribute[key][0] for key in "1234"] == [0, 1, 1, 0]


def test_all_attributes_of_an_object_but_the_masked(served: tuple[str, int]) -> None:
    with client.connector(*served, timeout=PATIENCE_S) as connection:
        operations = attribute_operations(["@0x66/1", "@0x66/1/3"], route_path=[], send_path="")
        values = [value for *_, value in connection.pipeline(operations, depth=1)]
    assert values == [[0, 0, 0xC0, 0x3F, 1, 0, 2, 0], [9, 0]]


def test_a_single_tag_is_set_as_a_slice(served: tuple[str, int]) -> None:
    WRITTEN.clear()
    with client.connector(*served, timeout=PATIENCE_S) as connection:
        texts = ['Text=(SSTRING)"abc"', "Plain[1]=5", "Text"]
        values = [value for *_, value in connection.pipeline(client.parse_operations(texts))]
    assert WRITTEN == [("Text", True, ["abc"]), ("Plain", True, [5])]
    assert values == [True, True, ["abc"]]


def test_only_tags_with_an_address_have_a_path(served: tuple[str, int]) -> None:
    assert tags["Plain"].path is None
    segments = [{"class": 0x93}, {"instance": 3}, {"attribute": 10}]
    assert tags["At"].path == {"segment": segments}


def test_replies_hold_plain_numbers(served: tuple[str, int]) -> None:
    with client.client(*served, timeout=PATIENCE_S) as connection:
        connection.register(timeout=PATIENCE_S)
        data, _ = client.await_response(connection, timeout=PATIENCE_S)
    assert {type(data.enip[key]) for key in ("command", "status", "options")} == {int}


def test_details_of_reads_have_types_as_classes(served: tuple[str, int]) -> None:
    via = proxy(*served, timeout=PATIENCE_S)
    with via:
        asked = ["Plain[0-1]", ("@0x66/1/1", "REAL"), ("@0x66/1/2", ("UINT", "UINT"))]
        details = [told for _, (_, told) in via.read_details(asked)]
        by_code = list(via.read([("@0x66/1/1", 0xCA)]))
    assert [kinds for _, kinds, _ in details] == [parser.INT, parser.REAL, [parser.UINT] * 2]
    assert by_code == [[1.5]]
    via.close_gateway()


def test_a_proxy_tells_its_routes() -> None:
    assert (proxy("x").route_path, proxy_simple("x").route_path) == (None, False)
    assert proxy_simple("x").send_path == ""


def test_errors_of_connecting_are_the_system_s() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = {"host": "127.0.0.1", "port": nobody.getsockname()[1], "timeout": 1.0}
        for kind in (client.client, client.connector, client.implicit):
            with pytest.raises(ConnectionRefusedError):
                kind(**where)
        with pytest.raises(ConnectionRefusedError), proxy(**where):
            pass
        nobody.listen()
        with pytest.raises(AssertionError):
            client.connector(**where | {"timeout": 0.05})


@pytest.mark.parametrize(
    ("text", "kind"),
    [("A=(FOO)1", KeyError), ("A[3-1]", AssertionError), ("A[1]=x", ValueError)],
)
def test_errors_of_operations_are_of_the_old_kinds(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        list(client.parse_operations([text]))
    assert text in str(raised.value) or "FOO" in str(raised.value)


@pytest.mark.parametrize("data", [b"4:yeah!", b"3:abc?", b"1:x~", b"1:a"])
def test_typed_netstrings_of_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(AssertionError):
        tnetstrings.parse(data)


def test_configuration_overrides_take_the_kind_of_their_default() -> None:
    of = {"Some Number": "0x10", "Truth": "false", "Items": "[1, 2]", "Word": "abc"}
    override = device.Object.config_override
    assert override(None, "Some Number", default=1, config=of) == 16
    assert override(None, "Some_Number", default=1, config=of) == 16
    assert override(None, "Truth", default=True, config=of) is False
    assert override(None, "Items", default=[], config=of) == [1, 2]
    assert override("7", "Word", default=2, config=of) == 7
    assert override(None, "Nothing", default=2.5, config=of) == 2.5
    with pytest.raises(Exception, match="Converting Word"):
        override(None, "Word", default=1, config=of)
