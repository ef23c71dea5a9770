"""Plain reads by the packet: the same results as one by one, also where a reply is unusual."""

import itertools
from collections.abc import Iterator

import pytest

from cpppod import client
from cpppod.protocols.enip.originator.operations import OperationError
from cpppod.simulator import Settings, Simulator
from tests.client.shells import SHELLS, connect
from tests.patience import PATIENCE_S

TAGS = [f"Tag{number:03d}" for number in range(150)]
MIXED = ["Tag001", "Text", "Many[0-9]", "Nowhere", "Tag002", "Big[0-2999]", "Many[3]", "Flag"]


@pytest.fixture
def plc() -> Iterator[Simulator]:
    tags = [f"{tag}=DINT" for tag in TAGS]
    tags += ["Text=SSTRING", "Many=INT[10]", "Big=REAL[3000]", "Flag=BOOL", "Float=REAL"]
    with Simulator(tags, Settings(lenient_types=True)) as target:
        yield target


@pytest.fixture(params=SHELLS)
def connection(request: pytest.FixtureRequest, plc: Simulator) -> Iterator[client.Connector]:
    opened = connect(request.param, plc.address)
    yield opened
    opened.close()


def outcome(results: Iterator[client.Result]) -> list[tuple[object, ...]]:
    return [(r.request, r.reply and r.reply.data, r.status, r.value) for r in results]


def test_repeated_packets_give_what_single_requests_give(connection: client.Connector) -> None:
    writes = [f"{tag}={number}" for number, tag in enumerate(TAGS)]
    assert connection.process(writes, depth=4, multiple=True)[0] == 0
    alone = outcome(connection.pipeline(TAGS, depth=4))
    for _ in range(3):
        assert outcome(connection.pipeline(TAGS, depth=4, multiple=True)) == alone
        assert outcome(connection.synchronous(TAGS, multiple=300)) == alone
        assert connection.process(TAGS, depth=4, multiple=True) == (
            0,
            [[number] for number in range(len(TAGS))],
        )


def test_strings_failures_and_long_values_between_them_come_out_alike(
    connection: client.Connector,
) -> None:
    alone = [(status, value) for *_, status, value in connection.pipeline(MIXED, depth=4)]
    for _ in range(3):
        packed = connection.pipeline(MIXED, depth=4, multiple=True)
        assert [(status, value) for *_, status, value in packed] == alone
        assert connection.process(MIXED, multiple=True)[0] == 1


def test_values_written_between_two_rounds_are_seen(connection: client.Connector) -> None:
    for value in (5, 6, 7):
        connection.process([f"Tag009={value}", "Many[3]=3", "Flag=(BOOL)true"])
        _, values = connection.process(["Tag009", "Many[2-4]", "Flag"], multiple=True)
        assert values == [[value], [0, 3, 0], [True]]


def test_an_operation_changed_by_its_owner_is_read_as_changed(
    connection: client.Connector,
) -> None:
    connection.process(["Tag010=10", "Tag011=11", "Tag012=12"])
    operations = list(client.parse_operations(["Tag010", "Tag011"]))
    assert connection.process(operations, multiple=True) == (0, [[10], [11]])
    operations[1]["path"][0]["symbolic"] = "Tag012"
    assert connection.process(operations, multiple=True) == (0, [[10], [12]])


def test_a_longer_list_after_a_shorter_one_fills_its_packet(connection: client.Connector) -> None:
    list(connection.pipeline(TAGS[:2], multiple=True))
    results = list(connection.pipeline(TAGS[:8], multiple=True))
    assert {result.idx for result in results} == {0}


def test_reads_between_writes_share_packets_with_them(connection: client.Connector) -> None:
    operations = [text for tag in TAGS[:6] for text in (tag, f"{tag}=1", tag)]
    results = list(connection.pipeline(operations, multiple=True))
    assert {result.idx for result in results} == {0}
    assert all(result.ok for result in results)
    assert [result.value for result in results[2::3]] == [[1]] * 6


def test_results_before_a_fault_in_the_same_packet_come_first(
    connection: client.Connector,
) -> None:
    for texts in (["Tag001", "Tag002", "Tag[3-1]", "Tag004"], ["Tag001=1", "Tag[3-1]"]):
        results = connection.pipeline(texts, multiple=True, depth=2, timeout=PATIENCE_S)
        assert all(next(results).ok for _ in texts[: texts.index("Tag[3-1]")])
        with pytest.raises(OperationError):
            next(results)


def test_an_endless_generator_is_taken_packet_by_packet(connection: client.Connector) -> None:
    taken = itertools.count()
    endless = (TAGS[next(taken) % len(TAGS)] for _ in itertools.count())
    results = connection.pipeline(endless, multiple=True, depth=2)
    assert all(result.ok for result in itertools.islice(results, 500))
    assert next(taken) < 800


@pytest.mark.parametrize("shell", SHELLS)
def test_a_target_without_packets_is_asked_one_by_one(shell: str) -> None:
    settings = Settings(address="127.0.0.1:0", plc="micro800")
    with Simulator(["A=DINT", "B=REAL", "C=INT[4]"], settings) as plc:
        with_packets = connect(shell, plc.address, send_path="", route_path=False)
        for _ in range(2):
            values = with_packets.process(["A", "B", "C[0-3]"], multiple=True, depth=2)
            assert values == (0, [[0], [0.0], [0, 0, 0, 0]])
        with_packets.close()


@pytest.mark.parametrize("depth", [1, 4])
def test_a_tag_that_fails_and_recovers_between_rounds_fails_and_recovers(
    plc: Simulator, connection: client.Connector, depth: int
) -> None:
    texts = ["Tag020", "Tag021", "Tag022"]
    assert connection.process(texts, depth=depth, multiple=True)[0] == 0
    variable = plc.target.image.variables["tag021"]
    plc.target.set_error(variable, 0x0C)
    try:
        results = list(connection.pipeline(texts, depth=depth, multiple=True))
        assert [result.status for result in results] == [0, 0x0C, 0]
        failures, values = connection.process(texts, depth=depth, multiple=True)
        assert (failures, values[1]) == (1, None)
    finally:
        plc.target.set_error(variable, 0)
    assert connection.process(texts, depth=depth, multiple=True)[0] == 0
