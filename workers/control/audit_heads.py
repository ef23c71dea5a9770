"""How far every chain of the audit is, told to the feed: a chain that is put back or cut is found.

    beats: extra["audit"] {number, hash, lost} of each worker ──► block `cpppod/audit/`, on a change
    members: control_record, control_hash, listener_main_record, listener_main_hash ...

Whoever keeps the feed's messages has what `cpppoctl audit verify --newest` wants. Nothing is said
before the first record.
"""

import time
from collections.abc import Iterator
from typing import Any

from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.values import Quality
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.process.worker import Process

DEVICE, GROUP = "cpppod", "audit"


class AuditHeads:
    """Publishes the heads; made once an epoch is there."""

    def __init__(self, process: Process, epoch: int) -> None:
        worker = process.worker
        publisher = Publisher(worker.name, epoch, worker.gateway)
        self._publishing = Publishing(process, publisher)
        self._told: dict[str, Any] = {}

    def tell(self, table: WorkerTable, own: tuple[str, dict[str, Any]]) -> None:
        """Publish what has changed since the last time; every beat does.

        Args:
            own: control's name, and what its own beat says.
        """
        heads = dict(_members(dict(_heads(table)) | dict([own])))
        changed = {name: each for name, each in heads.items() if self._told.get(name) != each}
        if not changed:
            return
        if heads.keys() != self._told.keys():  # a first block of these members names them all
            self._publishing.publisher.forget(DEVICE, GROUP)
            changed = heads
        self._told = heads
        samples = {name: (each, int(Quality.GOOD)) for name, each in changed.items()}
        now_us = time.time_ns() // 1000
        self._publishing.block(DEVICE, GROUP, len(heads), samples, source_us=now_us)


def _heads(table: WorkerTable) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, record in table.workers.items():
        told = record.beat.extra.get("audit") if record.beat is not None else None
        if isinstance(told, dict):
            yield name, told


def _members(heads: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for worker, told in sorted(heads.items()):
        number, mac = told.get("number"), told.get("hash")
        if isinstance(number, int) and number > 0 and isinstance(mac, str):
            name = worker.replace("-", "_")
            yield f"{name}_record", number
            yield f"{name}_hash", mac
