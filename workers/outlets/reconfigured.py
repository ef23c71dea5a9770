"""A role that begins anew with each new settings: what it works on ends first."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from cpppod.protocols.model.plant import Worker
from cpppod.workers.process.worker import Process


class Reconfigured(ABC):
    """The role's half that the frame calls; its work is the other half's.

    Attributes:
        worker: the settings in force.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.worker = process.worker
        self._prepared: Worker | None = None
        self._changed = asyncio.Event()

    @abstractmethod
    def problems(self, worker: Worker) -> list[str]:
        """What is wrong with these settings on this machine."""

    @abstractmethod
    async def work(self, worker: Worker) -> None:
        """Work by these settings until cancelled."""

    def prepare(self, worker: Worker) -> list[str]:
        if not (found := self.problems(worker)):
            self._prepared = worker
        return [f"{worker.name}: {each}" for each in found]

    def commit(self) -> None:
        assert self._prepared is not None  # the frame prepares before it commits
        self.worker, self._prepared = self._prepared, None
        self._changed.set()

    def abort(self) -> None:
        self._prepared = None

    async def run(self) -> None:
        """Work until cancelled; with new settings, anew."""
        while True:
            self._changed.clear()
            await either(self.work(self.worker), self._settings_changed())

    async def _settings_changed(self) -> None:
        await self._changed.wait()


async def either(*works: Coroutine[Any, Any, None]) -> None:
    """Run some work until one of it ends; what that raises is raised, the rest is cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
