"""A reload in two phases: all workers say yes to the new settings, or nothing has happened.

    write     the configuration is read and validated; a settings file per worker is written
    prepare   every running worker that stays checks its own; one no: abort, discard
    switch    from here on whoever starts, starts from the new files
    add       programs of new workers are started
    commit    owners of devices, then outlets, then router and listeners, then control
    remove    programs of workers that are gone are stopped

A worker that does not commit is restarted, from the new files. Reading a configuration is the work
of a program of its own (`cpppod.generation`), for it takes more memory than all of control.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import Worker, from_plain, to_plain
from cpppod.workers.control.supervisor import Supervisor, SupervisorError
from cpppod.workers.control.worker_commands import OrderFailed, WorkerCommands
from cpppod.workers.outlets.roles import CommitPhase
from cpppod.workers.outlets.spec import OUTLETS, UNKNOWN, roles

PREPARE_S = 10.0  # a listener may have to lay out 10,000 tags
PROGRAM_S = 30.0  # reading and validating 100 devices takes one; a busy machine ten times that
PROGRAM = (sys.executable, "-m", "cpppod.generation")

log = logging.getLogger("cpppod")


class ReloadRefused(Exception):
    """Nothing has changed; `problems` says why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(slots=True)
class Plan:
    """What a reload changes, by kind: names added, changed and removed."""

    generation: int
    devices: dict[str, list[str]] = field(default_factory=dict)
    listeners: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    routes: dict[str, list[str]] = field(default_factory=dict)
    workers: dict[str, list[str]] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The plan as the control socket says it."""
        return {name: getattr(self, name) for name in self.__slots__}


def compare(old: Worker, new: Worker) -> Plan:
    """What differs between two settings of control, which name the whole plant."""
    old_roles, new_roles = old.options.get("workers", {}), new.options.get("workers", {})
    return Plan(
        generation=new.generation,
        devices=_difference(_by_name(old.devices), _by_name(new.devices)),
        listeners=_difference(_by_name(old.listeners), _by_name(new.listeners)),
        lines=_difference(_by_name(old.lines), _by_name(new.lines)),
        routes=_difference(
            {route.path: to_plain(route) for route in old.routes},
            {route.path: to_plain(route) for route in new.routes},
        ),
        workers=_difference(old_roles, new_roles),
        sections=[
            spec.section
            for spec in OUTLETS
            if (old.options.get(spec.section) or None) != (new.options.get(spec.section) or None)
        ],
    )


def _by_name(records: Iterable[Any]) -> dict[str, Any]:
    return {record.name: to_plain(record) for record in records}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[str]]:
    return {
        "added": sorted(new.keys() - old.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        "removed": sorted(old.keys() - new.keys()),
    }


RunStep = Callable[[list[str]], Awaitable[dict[str, Any]]]


async def run_step(arguments: list[str]) -> dict[str, Any]:
    """What a step of `cpppod.generation` answers; problems where it cannot be run."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), PROGRAM_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return {"problems": [f"reading the configuration took over {PROGRAM_S:g} s"]}
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        return {"problems": [f"reading the configuration failed: {''.join(last)[:400]}"]}
    return answer


def read_settings(path: Path) -> Worker:
    """The settings in a file; takes too long for the loop where there are 10,000 tags.

    Raises:
        ReloadRefused: they cannot be read.
    """
    try:
        return from_plain(Worker, json.loads(path.read_bytes()))
    except (OSError, ValueError, DecodeError) as error:
        raise ReloadRefused([f"{path}: {error}"]) from None


class Reload:
    """One reload of a gateway, from its running settings to the next."""

    def __init__(
        self,
        running: Worker,
        orders: WorkerCommands,
        supervisor: Supervisor,
        step: RunStep = run_step,
    ) -> None:
        self._running = running
        self._orders = orders
        self._supervisor = supervisor
        self._step = step

    async def plan(self) -> Plan:
        """Write the next generation and say what it changes; to be applied or discarded.

        Raises:
            ReloadRefused: the configuration has mistakes.
        """
        answer = await self._call("write", *self._running.options.get("files", []))
        generation = int(answer["generation"])
        path = self._path(generation, self._running.name)
        before = self._path(self._running.generation, self._running.name)
        self._new = await asyncio.to_thread(read_settings, path)
        return compare(await asyncio.to_thread(read_settings, before), self._new)

    async def discard(self, plan: Plan) -> None:
        """Forget a plan that is not applied."""
        await self._call("discard", str(plan.generation))

    async def apply(self, plan: Plan) -> list[str]:
        """Put the plan in force; names of the workers that had to be restarted for it.

        Raises:
            ReloadRefused: a worker said no, or could not be asked; nothing has changed.
        """
        old, new = self._roles(self._running), self._roles(self._new)
        staying = [name for name in new if name in old]
        await self._prepare(plan, staying)
        await self._call("switch", str(plan.generation))
        await self._add(plan.workers["added"])
        unwilling, known = [], roles()
        for phase in CommitPhase:
            names = [name for name in staying if known.get(new[name], UNKNOWN).phase is phase]
            unwilling += await self._commit(plan.generation, names)
        await self._remove(plan.workers["removed"])
        return unwilling

    async def _prepare(self, plan: Plan, names: list[str]) -> None:
        answers = await asyncio.gather(
            *(
                self._orders.ask(
                    name,
                    "prepare",
                    {"path": str(self._path(plan.generation, name))},
                    timeout_s=PREPARE_S,
                )
                for name in names
            ),
            return_exceptions=True,
        )
        problems = [
            f"{name}: {answer}"
            for name, answer in zip(names, answers, strict=True)
            if isinstance(answer, OrderFailed)
        ]
        if not problems:
            return
        await asyncio.gather(
            *(self._orders.ask(name, "abort", {"generation": plan.generation}) for name in names),
            return_exceptions=True,
        )
        await self.discard(plan)
        raise ReloadRefused(problems)

    async def _commit(self, generation: int, names: list[str]) -> list[str]:
        """Have `names` go over, at the same time; those that did not are restarted and returned."""
        answers = await asyncio.gather(
            *(self._orders.ask(name, "commit", {"generation": generation}) for name in names),
            return_exceptions=True,
        )
        unwilling = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, OrderFailed):
                log.error("commit failed worker=%s why=%r: restarting it", name, str(answer))
                unwilling.append(name)
                await self._try(self._supervisor.restart(name))
        return unwilling

    async def _add(self, names: list[str]) -> None:
        await self._try(self._supervisor.reread())
        for name in names:
            await self._try(self._supervisor.add(name))

    async def _remove(self, names: list[str]) -> None:
        for name in names:
            await self._try(self._supervisor.remove(name))

    async def _try(self, call: Awaitable[Any]) -> None:
        """Past the switch there is no way back: what fails is logged, and the rest goes on."""
        try:
            await call
        except SupervisorError as error:
            log.error("reload: supervisor refused why=%r", str(error))

    async def _call(self, step: str, *arguments: str) -> dict[str, Any]:
        running = self._running
        answer = await self._step([step, running.runtime_dir, running.state_dir, *arguments])
        if answer.get("problems"):
            raise ReloadRefused(list(answer["problems"]))
        return answer

    def _path(self, generation: int, worker: str) -> Path:
        return Path(self._running.runtime_dir) / "settings" / str(generation) / f"{worker}.json"

    @staticmethod
    def _roles(worker: Worker) -> dict[str, str]:
        return dict(worker.options.get("workers", {}))
