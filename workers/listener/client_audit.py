"""Records of what a listener's clients try to write: here, of devices, and along routes.

answered here (local tags, refusals)   recorded; the reply leaves meanwhile
left for a device of ours              the reply waits for its record, `WAIT_S` at most
passed on along a route                recorded out of the bytes of request and reply
"""

import time
from collections.abc import Callable

from cpppod.protocols.cip.request import Tried
from cpppod.protocols.model.writing import Writer, WriteRefused, attempt, outcome_of
from cpppod.workers.audit.recorder import Recorder
from cpppod.workers.process.worker import Process


class ClientAudit:
    """The audit of one listener."""

    def __init__(self, process: Process) -> None:
        worker = process.worker
        options = worker.options.get("audit")
        self.recorder = Recorder(process.io, worker.state_dir, worker.name, options)

    def may_record(self) -> bool:
        """Whether a write may be done, as far as records are required."""
        try:
            self.recorder.check()
        except WriteRefused:
            return False
        return True

    def record(self, tried: Tried, then: Callable[[], None] | None = None) -> None:
        """Keep a record of a client's attempt; then do `then`."""
        record = attempt(
            Writer("cip", address=tried.address, session=tried.session),
            tried.tag,
            tried.first,
            tried.new,
            time_us=time.time_ns() // 1000,
            old=tried.old,
            outcome=outcome_of(tried.status, unknown=tried.unknown),
            status=tried.status,
            extended=list(tried.extended),
            why=tried.why,
        )
        self.recorder.record(record, then)
