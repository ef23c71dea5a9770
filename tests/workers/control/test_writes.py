"""The write contract as control carries it out: one outcome and one record of every attempt."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.messages import WriteOrder, WriteReply
from cpppod.protocols.model.writing import Writer
from cpppod.workers.audit.files import files_of
from cpppod.workers.audit.reading import verify
from cpppod.workers.audit.recorder import Recorder
from cpppod.workers.control.socket import Refusal
from cpppod.workers.control.writes import Writes
from cpppod.workers.process.io_thread import IoThread
from tests.known_gateway import KnownGateway, known_gateway

NOW_US = 1_700_000_000_000_000
ALICE = Writer("web", "alice", "10.0.0.7", "s1", "operator")

Work = Callable[[Writes, KnownGateway], Awaitable[Any]]


def carried_out(state: Path, work: Work) -> list[dict[str, Any]]:
    """The audit's records after `work`; the chain verifies."""

    async def run() -> None:
        known, io = known_gateway(), IoThread()
        recorder = Recorder(io, str(state), "control")
        writes = Writes(known.gateway, recorder, now_us=lambda: NOW_US)
        try:
            await work(writes, known)
        finally:
            await recorder.close()
            io.close()

    asyncio.run(run())
    return records(state)


def records(state: Path) -> list[dict[str, Any]]:
    folder = state / "audit" / "control"
    assert [report.findings for report in verify(state)] == [[]]
    return [
        json.loads(line) for path in files_of(folder) for line in path.read_bytes().splitlines()
    ]


def test_write_that_is_done_is_recorded_with_who_what_and_what_was(tmp_path: Path) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        done = await writes.perform(ALICE, [["boiler.setpoint", 6.5]])
        assert done["writes"][0]["outcome"] == "done"

    (record,) = carried_out(tmp_path, work)
    expected = {
        "n": 1,
        "writer": "control",
        "time_us": NOW_US,
        "way": "web",
        "user": "alice",
        "address": "10.0.0.7",
        "session": "s1",
        "tag": "boiler.setpoint",
        "first": 0,
        "old": [5.0],
        "new": [6.5],
        "outcome": "done",
        "status": 0,
        "extended": [],
        "why": "",
    }
    assert {key: record[key] for key in expected} == expected


def test_only_the_elements_that_are_written_are_told_as_what_was(tmp_path: Path) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        known.publish(recipe=([1, 2, 3, 4], 0))
        done = await writes.perform(ALICE, {"boiler.recipe[1]": [7, 8]})
        assert done["writes"][0]["was"] == [2, 3]

    (record,) = carried_out(tmp_path, work)
    assert (record["first"], record["old"], record["new"]) == (1, [2, 3], [7, 8])


@pytest.mark.parametrize(
    ("target", "value", "why", "status"),
    [
        ("boiler.kettle", 1, "no such tag", 0x05),
        ("a b", 1, "not a tag; expected TAG or TAG[ELEMENT]", 0x05),
        ("boiler.pressure", 1, "not writable", 0x0E),
        ("boiler.setpoint", "warm", "'warm' is no number", 0x09),
        ("boiler.recipe[3]", [1, 2], "elements 3 to 4 of 4", 0x20),
    ],
)
def test_refused_write_is_recorded_with_its_status(
    tmp_path: Path, target: str, value: Any, why: str, status: int
) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        with pytest.raises(Refusal, match=r"."):
            await writes.perform(ALICE, [[target, value], ["boiler.setpoint", 1.0]])
        assert known.writes_seen == []

    (record,) = carried_out(tmp_path, work)
    assert (record["outcome"], record["status"], record["why"]) == ("failed", status, why)
    assert record["new"] == (value if isinstance(value, list) else [value])
    assert record["tag"] in (target, target.partition("[")[0])


@pytest.mark.parametrize("role", ["viewer", "", "root"])
def test_whose_role_may_not_write_is_refused_and_recorded(tmp_path: Path, role: str) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        writer = Writer("mqtt", "bob", "10.0.0.8", role=role)
        with pytest.raises(Refusal, match="needs the right operator; bob is"):
            await writes.perform(writer, [["boiler.setpoint", 1.0]])
        assert known.writes_seen == []

    (record,) = carried_out(tmp_path, work)
    assert (record["way"], record["user"], record["status"]) == ("mqtt", "bob", 0x0F)


def test_write_that_waited_too_long_is_not_sent(tmp_path: Path) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        late = await writes.perform(ALICE, [["boiler.setpoint", 1.0]], expires_us=NOW_US - 500_000)
        assert late["writes"][0]["outcome"] == "failed"
        assert known.writes_seen == []
        await writes.perform(ALICE, [["boiler.setpoint", 1.0]], expires_us=NOW_US + 1)
        assert len(known.writes_seen) == 1

    late, done = carried_out(tmp_path, work)
    assert (late["outcome"], late["why"]) == ("failed", "not sent: expired 0.5 s ago")
    assert done["outcome"] == "done"


def test_outcome_that_nobody_knows_is_unknown_in_the_record_too(tmp_path: Path) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        known.write_reply = WriteReply(0, 1, [0x0204], "no reply", unknown=True)
        done = await writes.perform(ALICE, [["boiler.setpoint", 1.0], ["boiler.recipe", 1]])
        assert (done["writes"][0]["outcome"], done["not_tried"]) == ("unknown", 1)
        assert (
            done["writes"][0]["status_text"] == "connection failure: unconnected request timed out"
        )

    (record,) = carried_out(tmp_path, work)
    assert (record["outcome"], record["status"], record["extended"]) == ("unknown", 1, [0x0204])


def test_order_of_an_outlet_is_answered_with_outcomes_or_why_nothing_was_sent(
    tmp_path: Path,
) -> None:
    async def work(writes: Writes, known: KnownGateway) -> None:
        order = WriteOrder(
            7, "web", 2**52, [["boiler.setpoint", 2.5]], "alice", "10.0.0.7", "s1", "operator"
        )
        done = await writes.obey(order)
        assert (done.id, done.error, done.not_tried) == (7, {}, 0)
        assert done.writes[0]["outcome"] == "done"
        refused = await writes.obey(WriteOrder(8, "web", 2**52, [["boiler.x", 1]], role="operator"))
        assert (refused.id, refused.error["why"], refused.writes) == (8, "no such tag", [])
        assert (await writes.obey(WriteOrder(9, "web", 1, [["boiler.setpoint", 1]]))).error
        assert (await writes.obey(WriteOrder(9, "pigeon", 2**52, [["a", 1]]))).error

    assert [record["outcome"] for record in carried_out(tmp_path, work)] == ["done", "failed"]
