"""The client against our simulated controller: every type, structure and file, there and back."""

import asyncio
import inspect
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod import client
from cpppod.client import core
from cpppod.client.discovery import discover
from cpppod.client.route import Route
from cpppod.protocols.cip.types import BY_NAME
from cpppod.protocols.model.errors import EncodeError
from cpppod.simulator import Settings, Simulator
from tests.client.shells import SHELLS, connect
from tests.patience import PATIENCE_S

PUMP = [
    {"name": "speed", "type": "REAL"},
    {"name": "run", "type": "BOOL"},
    {"name": "fault", "type": "BOOL"},
    {"name": "counts", "type": "DINT", "length": 4},
]
TYPED: list[tuple[str, list[Any]]] = [
    ("BOOL", [True, False, True]),
    ("SINT", [-128, 0, 127]),
    ("INT", [-32768, 0, 32767]),
    ("DINT", [-(2**31), 0, 2**31 - 1]),
    ("LINT", [-(2**63), 0, 2**63 - 1]),
    ("USINT", [0, 1, 255]),
    ("UINT", [0, 1, 65535]),
    ("UDINT", [0, 1, 2**32 - 1]),
    ("ULINT", [0, 1, 2**64 - 1]),
    ("REAL", [1.5, -0.25, 3.0e38]),
    ("LREAL", [0.1, -1e300, math.inf]),
    ("BYTE", [0, 170, 255]),
    ("WORD", [0, 170, 65535]),
    ("DWORD", [0, 170, 2**32 - 1]),
    ("LWORD", [0, 170, 2**64 - 1]),
    ("STRING", ["", "Hello, world!", "größer"]),
    ("SSTRING", ["", "Hello, world!", "x" * 80]),
    ("STRING82", ["", "Hello, world!", "x" * 82]),
]


@pytest.fixture
def plc() -> Iterator[Simulator]:
    tags = [f"T_{kind}={kind}[3]" for kind, _ in TYPED if kind not in ("BOOL",)]
    tags += ["T_BOOL=BOOL[3]", "Big=DINT[10000]", "SCADA=INT[1000]", "Word=DINT", "Flag=BOOL"]
    tags += ["P=Pump", "PA=Pump[3]", "Speed=REAL", "Drive@0x93/3/10=REAL"]
    with Simulator(tags, Settings(structures={"Pump": PUMP})) as running:
        yield running


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["unconnected", "connected"])
def connection(
    request: pytest.FixtureRequest, shell: str, plc: Simulator
) -> Iterator[client.Connector]:
    opened = connect(shell, plc.address, connected=request.param == "connected")
    yield opened
    opened.close()


def values_of(connection: client.Connector, *texts: str, **how: Any) -> list[Any]:
    failures, values = connection.process(client.parse_operations(texts), **how)
    assert not failures
    return values


TYPES = [(kind, values) for kind, values in TYPED if kind != "BOOL"]


@pytest.mark.parametrize(("kind", "values"), TYPES, ids=[kind for kind, _ in TYPES])
def test_every_type_goes_there_and_back(
    connection: client.Connector, kind: str, values: list[Any]
) -> None:
    code = {"STRING82": 0x02A0}.get(kind)
    (read,) = values_of(connection, f"T_{kind}[0-2]")
    operation: dict[str, Any] = {
        "method": "write",
        "path": f"T_{kind}[0]",
        "data": values,
        "tag_type": code or BY_NAME[kind].code,
    }
    if code:
        operation["handle"] = 0x0FCE
    (result,) = connection.synchronous([operation])
    assert result.value is True, result.text
    assert len(read) == 3
    (read,) = values_of(connection, f"T_{kind}[0-2]")
    assert read == pytest.approx(values) if kind in ("REAL", "LREAL") else read == values


def test_ten_thousand_elements_go_there_and_back(connection: client.Connector) -> None:
    values = list(range(10_000))
    text = ",".join(map(str, values))
    written, read = values_of(connection, f"Big[0-9999]=(DINT){text}", "Big[0-9999]", depth=10)
    assert written is True or written == values
    assert read == values


def test_a_part_of_an_array_is_written_at_an_offset(connection: client.Connector) -> None:
    values_of(connection, "Big[0-9]=(DINT)0,0,0,0,0,0,0,0,0,0")
    values_of(connection, "Big[0-9]+16=(DINT)4,5,6,7,8,9")
    assert values_of(connection, "Big[3-5]", "Big[0-9]+32") == [[0, 4, 5], [8, 9]]


def test_bits_are_read_and_written(connection: client.Connector) -> None:
    assert values_of(
        connection, "Word=(DINT)8", "Word.3", "Word.0", "Word.0=1", "Word.3=0", "Word", depth=20
    )[-1] == [1]


def test_structures_are_dicts_once_browsed(connection: client.Connector) -> None:
    tree = connection.browse()
    kinds = {tag.name: tag.type_name for tag in tree.tags}
    assert kinds["P"] == "Pump"
    assert kinds["PA"] == "Pump[3]"
    assert kinds["Big"] == "DINT[10000]"
    pump = {"speed": 2.5, "run": True, "fault": False, "counts": [1, 2, 3, 4]}
    operation = {"method": "write", "path": "PA[1]", "tag_type": 0x02A0, "data": [pump]}
    assert connection.process([operation])[0] == 0
    assert values_of(connection, "PA[1]", "PA[1].speed", "PA[1].counts[2]") == [[pump], [2.5], [3]]
    values_of(connection, 'P={"speed":1,"run":false,"fault":true,"counts":[0,0,0,9]}')
    (read,) = values_of(connection, "P")
    assert read == [{"speed": 1.0, "run": False, "fault": True, "counts": [0, 0, 0, 9]}]


def test_a_structure_with_a_member_left_out_is_not_written(connection: client.Connector) -> None:
    connection.browse()
    with pytest.raises(EncodeError, match="member run is missing"):
        connection.process(['P={"speed":1}'])


def test_unknown_tags_and_wrong_types_are_failures_with_their_text(
    connection: client.Connector,
) -> None:
    operations = ["Nowhere", "SCADA[1000]", "Word=(REAL)1.0", "SCADA[0]"]
    results = list(connection.pipeline(operations, depth=4))
    assert [result.ok for result in results] == [False, False, False, True]
    assert results[1].status == (0xFF, [0x2105])
    assert "type mismatch" in results[2].text
    assert connection.process(operations)[0] == 3
    assert connection.process(operations, printing=True)[0] == 3


def test_results_unpack_like_the_documented_tuple(plc: Simulator, shell: str) -> None:
    connection = connect(shell, plc.address)
    operations = client.parse_operations(["SCADA[1]=5", "SCADA[0-3]"])
    rows = [
        (idx, dsc, sts, val)
        for idx, dsc, _req, _rpy, sts, val in connection.pipeline(operations, depth=2)
    ]
    connection.close()
    assert rows == [
        (0, "Single Write Tag  SCADA[1-1]", 0, True),
        (1, "Single Read  Tag  SCADA[0-3]", 0, [0, 5, 0, 0]),
    ]


def test_operations_of_one_packet_share_its_index(connection: client.Connector) -> None:
    results = list(connection.pipeline([f"SCADA[{n}]" for n in range(5)], multiple=True))
    assert {result.idx for result in results} == {0}
    assert results[0].description.startswith("Multi. Read")


def test_many_tags_are_read_by_prepared_packets(connection: client.Connector) -> None:
    tags = [f"SCADA[{number}]" for number in range(300)] + ["Nowhere", "Speed", "T_STRING[1]"]
    expected = [*range(300), None, 2.5, "two"]
    values_of(connection, f"SCADA[0-299]={','.join(map(str, range(300)))}", "Speed=2.5")
    values_of(connection, 'T_STRING[1]=(STRING)"two"')
    for _ in range(3):
        assert connection.read_tags(tags) == expected
    values_of(connection, "SCADA[7]=-1", "Speed=3.5")
    expected[7], expected[301] = -1, 3.5
    assert connection.read_tags(tags) == expected


def test_arrays_and_bits_in_a_plan(connection: client.Connector) -> None:
    values_of(connection, "SCADA[0-3]=1,2,3,4", "Word=(DINT)2")
    for _ in range(2):
        read = connection.read_tags(["SCADA[0-3]", "Word.1", "Big[0-1999]", "Word"])
        assert read[0] == [1, 2, 3, 4]
        assert len(read[2]) == 2000
        assert read[3] == 2


def test_requests_are_issued_now_and_harvested_later(plc: Simulator) -> None:
    with client.connector(*plc.address, timeout=PATIENCE_S) as connection:
        request = connection.read("SCADA[0-1]", sender_context=b"later")
        assert request["elements"] == 2
        assert connection.readable(timeout=PATIENCE_S)
        response = next(connection)
        assert response is not None
        assert response.peer == plc.address
        assert response.reply is not None
        assert response.reply.data[:2] == b"\xc3\0"
        assert response["enip.command"] == 0x6F
        assert next(connection) is None
        connection.list_identity()
        listed, _ = client.await_response(connection, timeout=PATIENCE_S)
        assert listed
        assert listed["enip.CIP.list_identity.CPF.item[0].identity_object.vendor_id"] == 1
        connection.close()
        with pytest.raises(StopIteration):
            next(connection)


def test_a_request_made_without_sending_can_be_sent(plc: Simulator) -> None:
    with client.connector(*plc.address, timeout=PATIENCE_S) as connection:
        requests = [connection.read(f"SCADA[{n}]", send=False) for n in range(2)]
        connection.multiple(requests)
        response, _ = client.await_response(connection, timeout=PATIENCE_S)
        assert isinstance(response, client.Response)
        assert response.reply is not None
        assert response.reply.service == 0x8A
        connection.close()


def test_attributes_are_read_whole_and_one_by_one(connection: client.Connector) -> None:
    operations = client.attribute_operations(
        ["@1/1/7", "@1/1", "@0x93/3/10=(REAL)1.0", "@0x93/3/10"]
    )
    name, identity, written, read = connection.process(operations)[1]
    assert bytes(name[1:]).decode() == "1756-L61/B LOGIX5561"
    assert identity[:2] == [1, 0]
    assert written is True
    assert read == [0, 0, 128, 63]
    listed = {"method": "get_attribute_list", "path": "@1/1", "attributes": [1, 2]}
    (result,) = connection.synchronous([listed])
    assert result.value[:2] == [2, 0]


def test_one_connection_serves_several_routes(connection: client.Connector) -> None:
    simple: dict[str, Any] = {"route_path": False, "send_path": ""}
    operations = [
        *client.parse_operations(["SCADA[0]"]),
        *client.parse_operations(["SCADA[1]"], **simple),
    ]
    assert connection.process(operations, depth=2, multiple=500)[0] == 0


def test_udp_lists_who_is_there(plc: Simulator) -> None:
    with client.client(*plc.address, udp=True) as connection:
        connection.list_services()
        response, _ = client.await_response(connection, timeout=PATIENCE_S)
        assert isinstance(response, client.Response)
        assert "Communications" in response.content.values()
        connection.close()


def test_a_connection_leaves_from_the_address_that_it_is_told(plc: Simulator, shell: str) -> None:
    for source in ("127.0.0.1", "127.0.0.1:0", ("127.0.0.1", 0)):
        connection = connect(shell, plc.address, source_address=source)
        assert connection.process(["SCADA[0]"])[0] == 0
        connection.close()


def test_one_thread_at_a_time_holds_a_connection_and_may_nest(plc: Simulator) -> None:
    connection = client.connector(*plc.address, timeout=PATIENCE_S)
    entered: list[str] = []

    def other() -> None:
        with connection:
            entered.append("other")

    with connection, connection:
        thread = threading.Thread(target=other)
        thread.start()
        assert connection.process(["SCADA[0]"])[0] == 0
        entered.append("first")
    thread.join(PATIENCE_S)
    assert entered == ["first", "other"]
    connection.close()


def test_operations_of_an_endless_generator_are_taken_as_needed(
    connection: client.Connector,
) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "SCADA[0]"

    results = connection.pipeline(endless(), depth=3)
    for _ in range(10):
        assert next(results).ok
    results.close()  # type: ignore[attr-defined]
    assert taken <= 20  # ten taken, and what was in flight or had arrived
    assert connection.process(["SCADA[0]"])[0] == 0


def test_discovery_lists_each_device_once(plc: Simulator) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (devices := discover(*plc.address, timeout_s=0.5)):  # it hears all for so long
        assert time.monotonic() < deadline
    (found,) = devices
    assert found.identity.product_name == "1756-L61/B LOGIX5561"
    assert found.plain()["vendor"] == 1


def test_a_missing_target_is_said(shell: str) -> None:
    with pytest.raises(client.CommunicationCeased, match="refused"):
        connect(shell, ("127.0.0.1", 1), timeout=1.0)


def test_slc_data_files_go_there_and_back(shell: str) -> None:
    with Simulator([], Settings(plc="slc500")) as slc:
        connection = connect(shell, slc.address, route_path=False, send_path="")
        texts = ["N7:0=5", "N7:0", "N7:0/3=1", "N7:0", "N7:0/3", "F8:1=2.5", "F8:1"]
        failures, values = connection.process(client.pccc_operations(texts))
        assert failures == 0
        assert [value for value in values if value is not True] == [
            [5],
            [13],
            [True],
            [2.5],
        ]
        connection.close()


def test_a_target_says_who_it_is_and_what_it_can(connection: client.Connector) -> None:
    identity = connection.identity()
    assert identity is not None
    assert identity.product_name == "1756-L61/B LOGIX5561"
    (service,) = connection.services(timeout=PATIENCE_S)
    assert service["communications_service.service_name"] == "Communications"
    assert connection.interfaces() == []
    assert connection.list_command(0x04) == [service]


def test_a_plan_is_read_again_and_again(connection: client.Connector) -> None:
    values_of(connection, "SCADA[1]=6", "Speed=2.5")
    plan = connection.prepare(["SCADA[1]", "Speed"])
    assert [connection.read_plan(plan) for _ in range(3)] == [[6, 2.5]] * 3
    with pytest.raises(EncodeError, match="only reads"):
        connection.prepare(["SCADA[1]=6"])


@pytest.mark.parametrize("eager", [False, True])
def test_what_was_written_is_given_where_it_is_asked_for(
    connection: client.Connector, eager: bool
) -> None:
    texts = ["SCADA[1]=6", "SCADA[1]"]
    plain = connection.pipeline(texts, depth=2, eager=eager)
    assert [result.value for result in plain] == [True, [6]]
    filled = connection.pipeline(texts, depth=2, validating=True, eager=eager)
    assert [result.value for result in filled] == [[6], [6]]
    assert [r.value for r in connection.synchronous(texts, validating=True)] == [[6], [6]]


def test_a_line_is_printed_for_each_operation(
    connection: client.Connector, capsys: pytest.CaptureFixture[str]
) -> None:
    list(connection.operate(["SCADA[1]=6", "SCADA[1]"], printing=True))
    printed = capsys.readouterr().out
    connection.process(["SCADA[1]=6", "SCADA[1]"], depth=2, printing=True)
    assert capsys.readouterr().out == printed
    assert printed.splitlines()[1].endswith("== [6]: 'OK'")


def test_types_are_remembered_up_to_a_bound(
    connection: client.Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "LEARNED_TYPES", 2)
    connection.browse()
    assert len(connection.types) == 2
    values_of(connection, "T_STRING[0-2]", "T_STRING82[0-2]", "PA[0-2]")
    assert len(connection.types) == 2


def test_plans_are_remembered_by_carrier_and_up_to_a_bound(connection: client.Connector) -> None:
    connection.read_tags(["Speed"])
    travels = connection.carrier
    target: Any = getattr(connection, "connector", connection)
    target.carrier = Route(False, "").carrier
    connection.read_tags(["Speed"])
    assert [key[2] for key in connection._plans] == [travels, target.carrier]
    for number in range(2 * core.CACHED_PLANS):
        connection.read_tags([f"SCADA[{number}]"])
    assert len(connection._plans) == core.CACHED_PLANS
    target.carrier = travels


def test_a_class_3_connection_is_asked_for_as_told_and_closed(plc: Simulator, shell: str) -> None:
    connection: Any = connect(shell, plc.address, connected=True, T_O={"size": 500})
    assert connection.carrier.connection.o_t_size == 498
    connection.forward_close(timeout=PATIENCE_S)
    assert connection.carrier.connection is None
    assert connection.process(["SCADA[0]"])[0] == 0
    connection.close()
    assert connection.closed


def test_a_closed_connection_says_so(plc: Simulator, shell: str) -> None:
    connection: Any = connect(shell, plc.address)
    end = connection.close if shell == "blocking" else connection.connection.close
    loop = getattr(connection, "runner", None)
    loop.run(end()) if loop else end()
    for call in (
        lambda: connection.process(["SCADA[0]"]),
        lambda: connection.request(b"\x01\x02\x20\x01\x24\x01"),
        connection.identity,
        lambda: connection.read_tags(["SCADA[0]"]),
    ):
        with pytest.raises(client.CommunicationCeased, match=r"ended|closed"):
            call()
    connection.close()


SAME = (
    "synchronous pipeline operate results process prepare read_plan read_tags request command "
    "browse identity services interfaces list_command exchange close forward_open forward_close"
).split()


@pytest.mark.parametrize("name", SAME)
def test_both_shells_have_the_same_calls(name: str) -> None:
    one, other = getattr(client.Implicit, name), getattr(client.AsyncConnector, name)
    assert inspect.signature(one).parameters == inspect.signature(other).parameters


def test_the_async_shell_keeps_its_earlier_names(plc: Simulator) -> None:
    connection: Any = connect("asyncio", plc.address)
    assert connection.list_identity().vendor == 1
    assert len(connection.list_services()) == 1
    assert connection.list_interfaces() == []
    connection.close()


def test_several_tasks_share_one_async_connection(plc: Simulator) -> None:
    async def work() -> None:
        async with await client.AsyncConnector.open(*plc.address, timeout=PATIENCE_S) as connection:

            async def read(number: int) -> Any:
                return (await connection.process([f"Big[{number}]"] * 20, depth=3))[1]

            everything = await asyncio.gather(*(read(number) for number in range(10)))
            assert all(len(values) == 20 for values in everything)

    asyncio.run(work())


def test_more_tasks_than_a_session_has_places_wait_for_one(plc: Simulator) -> None:
    async def work() -> None:
        async with await client.AsyncConnector.open(*plc.address, timeout=20.0) as connection:
            both = [connection.process([f"Big[{n}]"] * 4, depth=4) for n in range(80)]
            plans = [connection.read_tags([f"Big[{n}]"]) for n in range(300)]
            assert {failures for failures, _ in await asyncio.gather(*both)} == {0}
            assert len(await asyncio.gather(*plans)) == 300
            assert connection.protocol.outstanding == 0

    asyncio.run(work())
