"""A process's audit on its loop: who waits for a record, floods of refusals, disks that refuse."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.writing import Outcome, Writer, WriteRefused, attempt
from cpppod.workers.audit.files import AuditFile, files_of
from cpppod.workers.audit.reading import verify
from cpppod.workers.audit.recorder import MAX_FOLDED, REFUSED_BURST, Recorder
from cpppod.workers.process.io_thread import IoThread
from tests.patience import PATIENCE_S

Work = Callable[[Recorder], Awaitable[None]]


def tried(number: int = 0, *, outcome: Outcome = Outcome.DONE, address: str = "10.0.0.7") -> Any:
    writer = Writer("cip", address=address)
    return attempt(writer, f"tag{number}", 0, [number], time_us=number, outcome=outcome, status=5)


def recorded(state: Path, work: Work, **options: Any) -> list[dict[str, Any]]:
    """The records after `work`."""

    async def run() -> None:
        io = IoThread()
        recorder = Recorder(io, str(state), "listener-main", options, now=lambda: 0.0)
        try:
            await asyncio.wait_for(work(recorder), PATIENCE_S)
        finally:
            await recorder.close()
            io.close()

    asyncio.run(run())
    (report,) = verify(state)
    assert report.ok, report.findings
    paths = files_of(state / "audit" / "listener-main")
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def test_who_waits_goes_on_once_the_record_is_written(tmp_path: Path) -> None:
    async def work(recorder: Recorder) -> None:
        await recorder.recorded(tried(1))
        (path,) = files_of(tmp_path / "audit" / "listener-main")
        assert b'"tag1"' in path.read_bytes()
        assert recorder.newest[0] == recorder.told()["number"] == 1
        assert recorder.metrics()[0][2] == 1

    assert [each["n"] for each in recorded(tmp_path, work)] == [1]


def test_flood_of_refusals_is_folded_and_counted(tmp_path: Path) -> None:
    async def work(recorder: Recorder) -> None:
        for number in range(5_000):
            recorder.record(tried(number, outcome=Outcome.FAILED))

    found = recorded(tmp_path, work)
    assert len(found) == REFUSED_BURST + 1
    assert sum(each.get("times", 1) for each in found) == 5_000
    assert found[-1]["tag"] == "tag4999"


def test_flood_from_many_addresses_is_folded_too(tmp_path: Path) -> None:
    async def work(recorder: Recorder) -> None:
        for number in range(5_000):
            recorder.record(tried(number, outcome=Outcome.FAILED, address=str(number)))

    found = recorded(tmp_path, work)
    assert len(found) == REFUSED_BURST + MAX_FOLDED + 1
    assert sum(each.get("times", 1) for each in found) == 5_000


def test_writes_that_are_done_have_a_record_each(tmp_path: Path) -> None:
    async def work(recorder: Recorder) -> None:
        for number in range(500):
            recorder.record(tried(number))

    assert [each["tag"] for each in recorded(tmp_path, work)] == [f"tag{n}" for n in range(500)]


@pytest.mark.parametrize("required", [False, True])
def test_disk_that_refuses_holds_writes_up_only_where_records_are_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    real = AuditFile._write

    def full(self: AuditFile, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def work(recorder: Recorder) -> None:
        recorder.check()
        monkeypatch.setattr(AuditFile, "_write", full)
        await recorder.recorded(tried(1))
        assert recorder.overdue() == ["audit: [Errno 28] No space left on device"]
        assert recorder.lost == 1
        if required:
            with pytest.raises(WriteRefused, match="the audit cannot be written") as refused:
                recorder.check()
            assert refused.value.failure is Failure.NO_AUDIT
        else:
            recorder.check()
        monkeypatch.setattr(AuditFile, "_write", real)
        await recorder.recorded(tried(2))
        recorder.check()
        assert recorder.overdue() == []

    (record,) = recorded(tmp_path, work, required=required)
    assert (record["tag"], record["missed"]) == ("tag2", 1)


def test_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    goes_on = threading.Event()
    real = AuditFile._write

    def hung(self: AuditFile, data: bytes) -> None:
        assert goes_on.wait(PATIENCE_S)
        real(self, data)

    async def work(recorder: Recorder) -> None:
        monkeypatch.setattr(AuditFile, "_write", hung)
        await recorder.recorded(tried(1))
        assert recorder.newest[0] == 0
        goes_on.set()

    assert [each["tag"] for each in recorded(tmp_path, work)] == ["tag1"]


def test_state_directory_that_cannot_be_used_is_said_and_costs_records(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def run() -> None:
        io = IoThread()
        recorder = Recorder(io, str(tmp_path / "file" / "state"), "control")
        await recorder.recorded(tried(1))
        assert recorder.lost == 1
        assert len(recorder.overdue()) == 1
        await recorder.close()
        io.close()

    asyncio.run(run())
