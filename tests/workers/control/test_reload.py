"""A reload in two phases: what it changes, in which order, and that a refusal changes nothing."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.messages import Command, CommandReply, decode
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Worker, to_plain
from cpppod.workers.control.reload import Reload, ReloadRefused, compare
from cpppod.workers.control.supervisor import Supervisor, SupervisorError
from cpppod.workers.control.worker_commands import OrderFailed, WorkerCommands

BOILER = Device("boiler", "modbus-tcp", "127.0.0.1:502")
PUMP = Device("pump", "modbus-tcp", "127.0.0.1:503")
ROLES = {"control": "control", "feed": "feed", "router": "router", "poller-boiler": "poller"}


def settings(tmp_path: Path, generation: int, *devices: Device, **roles: str) -> Worker:
    return Worker(
        "control",
        "control",
        str(tmp_path),
        str(tmp_path),
        str(tmp_path),
        generation=generation,
        devices=devices,
        options={"workers": {**ROLES, **roles}, "files": ["/etc/cpppod/cpppod.toml"]},
    )


class Plant:
    """Workers that answer orders, a supervisord that notes calls, a program that notes its steps.

    The supervisor's socket and the program are the process boundary here; both are real in the
    tests of the whole gateway.
    """

    def __init__(self, tmp_path: Path, old: Worker, new: Worker) -> None:
        self.log: list[str] = []
        self.refusing: dict[tuple[str, str], str] = {}
        self.orders = WorkerCommands(self._send)
        self.supervisor = NotedSupervisor(self.log)
        self._new = new
        for each in (old, new):
            folder = tmp_path / "settings" / str(each.generation)
            folder.mkdir(parents=True)
            (folder / "control.json").write_text(json.dumps(to_plain(each)))

    def _send(self, worker: bytes, frame: bytes) -> bool:
        order = decode(frame)
        assert isinstance(order, Command)
        name = worker.decode()
        self.log.append(f"{order.verb} {name}")
        error = self.refusing.get((order.verb, name), "")
        if error == "absent":
            return False
        reply = CommandReply(order.id, error, self._new.generation)
        asyncio.get_running_loop().call_soon(self.orders.receive, name, reply)
        return True

    async def step(self, arguments: list[str]) -> dict[str, Any]:
        self.log.append(arguments[0])
        return {"generation": self._new.generation}


class NotedSupervisor(Supervisor):
    """Notes what it is asked instead of asking a socket."""

    def __init__(self, log: list[str]) -> None:
        super().__init__("")
        self._log = log

    async def call(self, method: str, *arguments: Any) -> Any:
        self._log.append(" ".join([method.removeprefix("supervisor."), *map(str, arguments)]))
        if arguments == ("poller-stuck",):
            raise SupervisorError("BAD_NAME")
        return [[[], [], []]]


def reloaded(plant: Plant, old: Worker) -> list[str]:
    async def run() -> list[str]:
        reload = Reload(old, plant.orders, plant.supervisor, plant.step)
        return await reload.apply(await reload.plan())

    return asyncio.run(run())


def test_difference_names_what_is_added_changed_and_removed(tmp_path: Path) -> None:
    old = settings(tmp_path, 1, BOILER)
    new = settings(tmp_path, 2, dataclasses.replace(BOILER, unit=2), PUMP, poller_pump="poller")
    new.options["feed"] = {"publish": "127.0.0.1:44880"}
    plan = compare(old, new).plain()
    assert plan["devices"] == {"added": ["pump"], "changed": ["boiler"], "removed": []}
    assert plan["workers"] == {"added": ["poller_pump"], "changed": [], "removed": []}
    assert plan["sections"] == ["feed"]
    assert compare(new, new).plain()["devices"]["changed"] == []


def test_owners_are_added_and_committed_first_and_removed_last(tmp_path: Path) -> None:
    old = settings(tmp_path, 1, BOILER, poller_old="poller")
    new = settings(tmp_path, 2, BOILER, PUMP, poller_pump="poller")
    plant = Plant(tmp_path, old, new)
    assert reloaded(plant, old) == []
    steps = [line for line in plant.log if not line.startswith("prepare")]
    assert steps == [
        "write",
        "switch",
        "reloadConfig",
        "addProcessGroup poller_pump",
        "commit poller-boiler",
        "commit feed",
        "commit router",
        "commit control",
        "stopProcessGroup poller_old",
        "removeProcessGroup poller_old",
    ]
    prepared = {line for line in plant.log if line.startswith("prepare")}
    assert prepared == {f"prepare {name}" for name in ROLES}


@pytest.mark.parametrize("why", ["tag pressure: no such register", "absent"])
def test_one_no_and_nothing_has_happened(tmp_path: Path, why: str) -> None:
    old, new = settings(tmp_path, 1, BOILER), settings(tmp_path, 2, PUMP)
    plant = Plant(tmp_path, old, new)
    plant.refusing["prepare", "poller-boiler"] = why
    with pytest.raises(ReloadRefused, match="poller-boiler: "):
        reloaded(plant, old)
    assert not any(line.startswith(("commit", "switch", "add")) for line in plant.log)
    assert {line for line in plant.log if line.startswith("abort")} == {
        f"abort {name}" for name in ROLES
    }
    assert plant.log[-1] == "discard"


def test_worker_that_does_not_commit_is_restarted_from_the_new_files(tmp_path: Path) -> None:
    old, new = settings(tmp_path, 1, BOILER), settings(tmp_path, 2, PUMP)
    plant = Plant(tmp_path, old, new)
    plant.refusing["commit", "feed"] = "generation 2 is not prepared"
    assert reloaded(plant, old) == ["feed"]
    stop, start = plant.log.index("stopProcessGroup feed"), plant.log.index("commit router")
    assert stop < start


def test_supervisor_that_refuses_after_the_switch_does_not_stop_the_rest(tmp_path: Path) -> None:
    old = settings(tmp_path, 1, BOILER)
    new = settings(tmp_path, 2, BOILER, **{"poller-stuck": "poller"})
    plant = Plant(tmp_path, old, new)
    reloaded(plant, old)
    assert "commit control" in plant.log


def test_order_to_a_worker_that_is_away_fails_at_once() -> None:
    async def run() -> None:
        await WorkerCommands(lambda worker, frame: False).ask("feed", "log", {})

    with pytest.raises(OrderFailed, match="feed is not connected") as failed:
        asyncio.run(run())
    assert failed.value.failure is Failure.UNDELIVERED


def test_reply_counts_only_from_the_worker_that_was_asked() -> None:
    async def run() -> tuple[Any, int]:
        orders = WorkerCommands(lambda worker, frame: True)
        waiting = asyncio.ensure_future(orders.ask("feed", "log", {}))
        await asyncio.sleep(0)
        orders.receive("router", CommandReply(1, "", "forged"))
        orders.receive("feed", CommandReply(2, "", "another"))
        orders.receive("feed", CommandReply(1, "", "right"))
        return await waiting, orders.late

    assert asyncio.run(run()) == ("right", 2)


def test_orders_to_a_worker_that_ends_fail_at_once_and_not_by_time_out() -> None:
    async def run() -> None:
        orders = WorkerCommands(lambda worker, frame: True)
        waiting = asyncio.ensure_future(orders.ask("feed", "log", {}, timeout_s=60))
        await asyncio.sleep(0)
        orders.worker_left("feed")
        await waiting

    with pytest.raises(OrderFailed, match="ended before it answered") as failed:
        asyncio.run(run())
    assert failed.value.failure is Failure.LOST
