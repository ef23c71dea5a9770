"""cpppo's EtherNet/IP client on ours: paths, operations, dotted requests and replies, printing."""

import array
import configparser
from collections.abc import Iterator
from typing import Any

import pytest
from cpppo.server import enip
from cpppo.server.enip import client, device, parser
from cpppo.server.enip.get_attribute import attribute_operations

from cpppod.compat import Replaced
from cpppod.simulator import Simulator
from tests.patience import PATIENCE_S

TAGS = ["Tag=DINT[10]", "Text=SSTRING", "Rate@0x99/1/1=REAL", "Small=INT"]


@pytest.fixture
def address() -> Iterator[dict[str, Any]]:
    """Where a controller with some tags is."""
    with Simulator(TAGS) as plc:
        plc["Text"], plc["Small"] = "hello", 7
        yield {"host": plc.address[0], "port": plc.address[1], "timeout": PATIENCE_S}


@pytest.fixture
def connection(address: dict[str, Any]) -> Iterator[Any]:
    made = client.connector(**address)
    with made:
        yield made
    made.close()


def harvested(connection: Any) -> Any:
    reply, elapsed = client.await_response(connection, timeout=PATIENCE_S)
    assert elapsed < PATIENCE_S
    return reply


# Paths

PATHS = [
    ("@0x22/1", {}, [{"class": 0x22}, {"instance": 1}], None, None),
    (
        '@{"class":4}/5/{"connection":100}',
        {},
        [{"class": 4}, {"instance": 5}, {"connection": 100}],
        None,
        None,
    ),
    ("Boo[123-456]", {}, [{"symbolic": "Boo"}, {"element": 123}], 123, 334),
    (
        "Foo[1].Boo[3]*2",
        {},
        [{"symbolic": "Foo"}, {"element": 1}, {"symbolic": "Boo"}, {"element": 3}],
        3,
        2,
    ),
    ("Foo", {"elm": 2, "cnt": 5}, [{"symbolic": "Foo"}, {"element": 2}], 2, 5),
    (
        "@1/010/3[4-9]*3",
        {},
        [{"class": 1}, {"instance": 10}, {"attribute": 3}, {"element": 4}],
        4,
        6,
    ),
    (["Tag[1]"], {}, [{"symbolic": "Tag"}, {"element": 1}], 1, None),
    ([{"class": 1}], {}, [{"class": 1}], None, None),
]


@pytest.mark.parametrize(("path", "defaults", "segments", "element", "count"), PATHS)
def test_paths(path: Any, defaults: Any, segments: Any, element: Any, count: Any) -> None:
    assert client.parse_path_elements(path, **defaults) == (segments, element, count)
    assert client.parse_path(path, elm=defaults.get("elm")) == segments


@pytest.mark.parametrize("path", ["Foo[1-2].Boo", "@1/2/3/4/5", "@1/x", "Tag[5-3]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        client.parse_path(path)


ROUTES = [
    ("1/0", [{"port": 1, "link": 0}]),
    ("1/0/2/0::1", [{"port": 1, "link": 0}, {"port": 2, "link": "::1"}]),
    ('{"port": 2, "link": "10.0.0.5"}', [{"port": 2, "link": "10.0.0.5"}]),
    (
        '["1/3", {"port": 2, "link": "10.0.0.5"}]',
        [{"port": 1, "link": 3}, {"port": 2, "link": "10.0.0.5"}],
    ),
    (["1/3", (2, "10.0.0.5")], [{"port": 1, "link": 3}, {"port": 2, "link": "10.0.0.5"}]),
    ({"port": "1", "link": "0"}, [{"port": 1, "link": 0}]),
    ("[]", []),
    ("0", 0),
    ("false", False),
    ("null", None),
    (None, None),
    (False, False),
    ([], []),
]


@pytest.mark.parametrize(("given", "route"), ROUTES)
def test_routes(given: Any, route: Any) -> None:
    assert enip.parse_route_path(given) == route


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("1/0/2/::1/@2/1", r"unhandled: \['@2/1'\]"),
        ('{"port": 1', "JSON invalid"),
        ("1", r"unhandled: \['1'\]"),
        ("0/1", "unhandled"),
        (["1/3", "2/x"], "unhandled"),
    ],
)
def test_what_is_no_route_is_refused(given: Any, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        enip.parse_route_path(given)


def test_a_connection_path_ends_in_an_object() -> None:
    ports = [{"port": 1, "link": 0}]
    assert enip.parse_connection_path("1/0/@2/1") == [*ports, {"class": 2}, {"instance": 1}]
    assert enip.parse_connection_path("1/0/Tag[3]") == [*ports, {"symbolic": "Tag"}, {"element": 3}]


# Operations


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        (
            "A_Tag[1-2]=(REAL)111,222",
            {
                "method": "write",
                "path": [{"symbolic": "A_Tag"}, {"element": 1}],
                "elements": 2,
                "tag_type": 202,
                "data": [111.0, 222.0],
            },
        ),
        ("Tag=", {"method": "write", "path": [{"symbolic": "Tag"}]}),
        ("Tag[0-9]*3", {"path": [{"symbolic": "Tag"}, {"element": 0}], "elements": 10}),
        ("", {"path": [{"symbolic": ""}]}),
    ],
)
def test_operations(text: str, operation: dict[str, Any]) -> None:
    (parsed,) = client.parse_operations([text], route_path="1/0")
    assert parsed == {**operation, "route_path": "1/0"}


def test_operations_that_are_dicts_pass_and_are_added_to() -> None:
    given: dict[str, Any] = {"path": "@1/1/7", "method": "get_attribute_single"}
    (passed,) = client.parse_operations([given], send_path="")
    assert passed is given and given["send_path"] == ""


@pytest.mark.parametrize("text", ["Tag[0-3]=1,2", "Tag=(INT)1000000", "Tag[0-1]+3=(DINT)1"])
@pytest.mark.parametrize("kind", [AssertionError, ValueError])
def test_mistakes_are_both_kinds_of_error(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        list(client.parse_operations([text]))


def test_types_are_cast_from_texts() -> None:
    code, size, cast = client.CIP_TYPES["DINT"]
    assert (code, size, cast("0x10")) == (enip.DINT.tag_type, enip.DINT.struct_calcsize, 16)
    assert client.CIP_TYPES["SSTRING"][2]("abc") == "abc"
    assert list(client.recycle("ab", times=2)) == ["a", "b", "a", "b"]


# Requests and replies by hand


def test_a_read_and_its_reply_are_dotted(connection: Any) -> None:
    request = connection.read("Tag[2-3]", timeout=PATIENCE_S)
    assert dict(request.items()) == {
        "path.segment[0].symbolic": "Tag",
        "path.segment[1].element": 2,
        "read_frag.elements": 2,
        "read_frag.offset": 0,
        "service": 0x52,
        "input": bytearray(b"\x52\x04\x91\x03Tag\x00\x28\x02\x02\x00\x00\x00\x00\x00"),
    }
    reply = harvested(connection)
    assert "enip.CIP.send_data" in reply and reply.enip.status == 0
    assert reply.peer == (connection.addr[0], connection.addr[1])
    assert reply.enip.length == len(reply.enip.input) == 30
    item = reply.enip.CIP.send_data.CPF.item[1]
    assert item.type_id == 0xB2 and item.unconnected_send.request.read_frag.data == [0, 0]
    assert item.unconnected_send.request.input == array.array(
        "B", bytes.fromhex("d2000000c4000000000000000000")
    )


WRITES = [
    (lambda c: c.write("Small", [7], tag_type=enip.INT.tag_type), "write_frag", True),
    (lambda c: c.write("Small", [7], tag_type=enip.INT.tag_type, offset=None), "write_tag", True),
    (lambda c: c.read("Small", offset=None), "read_tag", {"type": 0xC3, "data": [7]}),
    (lambda c: c.get_attribute_single("@0x99/1/1"), "get_attribute_single", {"data": [0] * 4}),
    (
        lambda c: c.set_attribute_single("@0x99/1/1", [0, 0, 0, 0], elements=4),
        "set_attribute_single",
        True,
    ),
    (lambda c: c.service_code(0x0E, "@0x99/1/1"), "get_attribute_single", {"data": [0] * 4}),
    (lambda c: c.service_code(0x10, "@0x99/1/1", data=[0] * 4), "set_attribute_single", True),
    (lambda c: c.service_code(0x4B, "@0x99/1/1"), "service_code", True),
    (lambda c: c.read("Nobody"), "read_frag", True),
]


@pytest.mark.parametrize(("ask", "name", "content"), WRITES)
def test_replies_say_what_the_service_brought(
    connection: Any, ask: Any, name: str, content: Any
) -> None:
    request = ask(connection)
    assert bytes(request.input)[0] == request.service
    reply = harvested(connection)
    answer = reply["enip.CIP.send_data.CPF.item[1].unconnected_send.request"]
    assert answer[name] == content and answer.service == request.service | 0x80


def test_a_request_may_be_made_now_and_sent_later(connection: Any) -> None:
    single = connection.get_attribute_single("@1/1/7", send=False)
    connection.unconnected_send(single)
    assert "get_attribute_single" in str(harvested(connection))
    connection.multiple([connection.read("Tag", send=False), single])
    (tag, name) = harvested(connection)[
        "enip.CIP.send_data.CPF.item[1].unconnected_send.request.multiple.request"
    ]
    assert tag.read_frag.data == [0] and bytes(name.get_attribute_single.data[1:5]) == b"1756"


@pytest.mark.parametrize("what", ["list_services", "list_identity", "list_interfaces"])
def test_lists(connection: Any, what: str) -> None:
    request = getattr(connection, what)(sender_context=b"mine")
    assert what in request.enip.CIP
    reply = harvested(connection)
    assert bytes(reply.enip.sender_context.input) == b"mine\0\0\0\0"
    items = reply[f"enip.CIP.{what}.CPF.count"]
    assert items == (0 if what == "list_interfaces" else 1)


def test_a_bare_client_registers_when_it_is_told_to(address: dict[str, Any]) -> None:
    bare = client.client(**address)
    assert bare.session == 0
    bare.register()
    assert harvested(bare).enip.CIP.register.protocol_version == 1
    bare.read(path=[{"symbolic": "Tag"}], elements=1)
    assert bare.session and "read_frag" in str(harvested(bare))
    bare.close()
    assert client.await_response(bare, timeout=0)[0] == {} and bare.conn is None


def test_a_class_3_connection_carries_requests(address: dict[str, Any]) -> None:
    with client.implicit(**address, O_T_RPI=3_000_000, T_O_NCP=0x43F4, O_vendor=7) as connected:
        connected.get_attribute_single("@0x99/1/1")
        data = harvested(connected).enip.CIP.send_data
        assert data["CPF.item[1].connection_data.request.get_attribute_single.data"] == [0] * 4
        assert connected.opening.asked.originator_vendor == 7
        assert connected.opening.asked.rpi_us == 3_000_000
    connected.close()


# Operations and results


def test_results_are_tuples_with_dotted_requests_and_replies(connection: Any) -> None:
    texts = ["Tag[0-1]=(DINT)1,2", "Tag[0-3]", "@0x22/1/1[99]", "Tag[0-3]+4"]
    results = list(connection.pipeline(client.parse_operations(texts), depth=2))
    shown = [(index, description, value) for index, description, _, _, _, value in results]
    assert shown == [
        (0, "Single Write Tag  Tag[0-1]", True),
        (1, "Single Read  Tag  Tag[0-3]", [1, 2, 0, 0]),
        (2, "Single Read  Tag  @0x0022/1/1[99]", None),
        (3, "Single Read  Frag Tag[0-3]", [2, 0, 0]),
    ]
    _, _, request, reply, status, _ = results[0]
    assert request.write_tag.data == [1, 2] and reply.write_tag is True and status == 0
    assert results[1][3].read_tag.data == [1, 2, 0, 0]
    assert results[2][4] == (5, [0]) and results[2][3].status_ext.data == [0]
    assert enip.enip_format(results[1][3]).startswith("{\n    'input':   ")


@pytest.mark.parametrize("how", [{}, {"depth": 3}, {"multiple": 250}, {"depth": 0, "index": 5}])
def test_every_way_to_carry_operations_out(connection: Any, how: dict[str, Any]) -> None:
    texts = ["Tag[0]=(DINT)5", "Tag[0]", "Nobody"]
    assert connection.process(texts, **how) == (1, [True, [5], None])
    assert list(connection.results(texts, validating=True, **how)) == [[5], [5], None]
    assert [item[-1] for item in connection.synchronous(texts)] == [True, [5], None]


def test_what_was_done_is_printed(connection: Any, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Tag[0-9]+16=(DINT)4,5,6,7,8,9", "Tag[3-5]", "Text", "Nobody[2]"]
    connection.process(client.parse_operations(texts), printing=True)
    list(connection.operate(attribute_operations(["@0x99/1/1"]), printing=True))
    assert capsys.readouterr().out.splitlines() == [
        "              Tag[0][  0--7 ]+ 16 <= [4, 5, 6, 7, 8, 9]: 'OK'",
        "              Tag[3][  3-5  ]+  0 == [0, 4, 5]: 'OK'",
        "                Text              == ['hello']: 'OK'",
        "           Nobody[2][  2-2  ]+  0 == None: 'Status 5 [0]'",
        "         @0x0099/1/1              ?? [0, 0, 0, 0]: 'OK'",
    ]


def test_a_host_of_the_configuration(
    address: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = configparser.ConfigParser()
    loader.read_dict({"Line 1": {"Address": f"127.0.0.1:{address['port']}"}})
    monkeypatch.setattr(device.Object, "config_loader", loader)
    with client.connector(None, timeout=PATIENCE_S, configuration="Line 1") as found:
        assert found.addr == ("127.0.0.1", address["port"])
    found.close()


# Dotted data as text, types


def test_dotted_data_as_text() -> None:
    data = enip.dotdict(a=b"A\xff", b=array.array("B", b"1"), c=list(range(12)), d=["x"] * 11)
    data.e = [enip.dotdict(f=number) for number in range(11)]
    text = enip.enip_format(data)
    lines = text.splitlines()
    assert lines[1:4] == [
        f"    'a': {' ' * 27}bytes(hexload(r'''",
        f"        00000000:  41 ff{' ' * 46}|A.|",
        "    ''')),",
    ]
    assert "array( 'B', hexload(r'''" in text
    assert "              0,      1,      2," in text and "    'e[ 3].f': " in text
    again = enip.enip_format(enip.dotdict(a=data.a, b=data.b))
    assert eval(again, {"hexload": parser.hexload, "array": array.array}) == {
        "a": data.a,
        "b": data.b,
    }
    assert data["e[ 3].f"] == 3


PRODUCED = [
    (enip.REAL, 1.5, "0000c03f"),
    (enip.BOOL, True, "ff"),
    (enip.UINT_network, 258, "0102"),
    (enip.SSTRING, "abc", "03616263"),
    (enip.SSTRING, {"string": "abc", "length": 5}, "056162630000"),
    (enip.STRING, "abc", "030061626300"),
    (parser.IPADDR, "10.0.0.5", "0500000a"),
    (parser.IPADDR_network, "10.0.0.5", "0a000005"),
    (enip.EPATH, {"segment": [{"class": 6}, {"instance": 1}]}, "0220062401"),
    (enip.route_path, {"segment": [{"port": 1, "link": 0}]}, "01000100"),
    (
        parser.EPATH_single,
        {"segment": [{"symbolic": "Tag"}, {"element": 3}]},
        "91035461670028" + "03",
    ),
    (enip.typed_data, {"data": [1, 2], "type": 0xC3}, "01000200"),
]


@pytest.mark.parametrize(("kind", "value", "octets"), PRODUCED)
def test_types_write_values(kind: Any, value: Any, octets: str) -> None:
    assert kind.produce(value).hex() == octets


def test_types_know_their_sizes() -> None:
    assert (enip.REAL.tag_type, enip.REAL.struct_calcsize, enip.REAL_network.struct_format) == (
        0xCA,
        4,
        ">f",
    )
    assert enip.typed_data.datasize(enip.DINT.tag_type, 3) == 12
    with pytest.raises(AssertionError):
        enip.SSTRING.produce("x" * 256)


@pytest.mark.parametrize("kind", [enip.SSTRING, parser.CIP, parser.CPF, enip.STRUCT_typed])
def test_types_are_no_machines(kind: Any) -> None:
    with pytest.raises(Replaced, match=r"cpppod\.protocols|browse"), kind() as machine:
        machine.run()
