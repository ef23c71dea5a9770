"""What control knows and can reach, in one record: handed to every verb, owned by the role.

settings ─ table ─ rates     from the settings file and the beats
values                       from the feed
orders ─ router ─ supervisor ways to act: on workers, on devices' tags, on processes
"""

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.bus.messages import WriteReply
from cpppod.protocols.model.plant import Device, Worker
from cpppod.workers.bus.subscription import ReadBacks
from cpppod.workers.control.supervisor import Supervisor
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.control.worker_commands import WorkerCommands
from cpppod.workers.values import Reading, ValueCache

RATE_WINDOW_S = 10.0  # polls per second are an average over so long

WriteTags = Callable[[str, str, list[Any]], Awaitable[WriteReply]]


class Rates:
    """Finished polls per second of each device, from the cycle counts in its beats."""

    def __init__(self) -> None:
        self._counts: dict[str, deque[tuple[float, int]]] = {}

    def count(self, device: str, cycles: int, now: float) -> None:
        """The device's polls finished so far are `cycles`; fewer than before is a new process."""
        counts = self._counts.setdefault(device, deque())
        if counts and cycles < counts[-1][1]:
            counts.clear()
        counts.append((now, cycles))
        while len(counts) > 2 and now - counts[1][0] >= RATE_WINDOW_S:
            counts.popleft()

    def rate(self, device: str) -> float | None:
        """Polls per second; None until two counts are known."""
        counts = self._counts.get(device)
        if not counts or len(counts) < 2:
            return None
        (first_s, first), (last_s, last) = counts[0], counts[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None

    def keep(self, devices: set[str]) -> None:
        """Forget every device but these."""
        for name in self._counts.keys() - devices:
            del self._counts[name]


@dataclass(slots=True)
class Gateway:
    """Control's view of the whole gateway.

    Attributes:
        write_tags: (device, source, writes) -> the owner's reply, through the router.
        reloads: what came of the reloads asked for, by result.
        reloaded_at: wall time in seconds at which the present generation came into force.
        put_aside: paths in the state directory of what was damaged and is kept there.
        read_backs: through which all blocks go into `values`.
    """

    settings: Worker
    table: WorkerTable
    values: ValueCache
    orders: WorkerCommands
    supervisor: Supervisor
    write_tags: WriteTags
    version: str
    libzmq: str
    started_at: float
    rates: Rates = field(default_factory=Rates)
    reloads: Counter[str] = field(default_factory=Counter)
    reloaded_at: float = field(default_factory=time.time)
    socket_counts: Counter[str] = field(default_factory=Counter)
    put_aside: list[str] = field(default_factory=list)
    read_backs: ReadBacks = field(init=False)

    def __post_init__(self) -> None:
        self.read_backs = ReadBacks(self.values.order_of, self.values.apply)

    @property
    def generation(self) -> int:
        """Number of the configuration in force."""
        return self.settings.generation

    @property
    def drivers(self) -> dict[str, str]:
        """Device -> driver."""
        return {device.name: device.driver for device in self.settings.devices}

    def damaged(self) -> list[str]:
        """Paths of what was damaged and put aside: in the state, and where workers say."""
        found = set(self.put_aside)
        for record in self.table.workers.values():
            if record.beat is not None:
                found.update(map(str, record.beat.extra.get("damaged", ())))
        return sorted(found)

    def exposed(self) -> list[Reading]:
        """What the tags are worth that the metrics page has."""
        now_us = time.monotonic_ns() // 1000
        values = self.values
        return [values.reading(info, now_us) for info in values.tags.values() if info.prometheus]

    def device(self, name: str) -> Device | None:
        """The configured device called `name`, in any case of letters."""
        folded = name.lower()
        return next((each for each in self.settings.devices if each.name.lower() == folded), None)

    def worker_of(self, role: str) -> str:
        """The worker with `role`, "" if there is none."""
        return next((name for name, each in self.roles.items() if each == role), "")

    @property
    def roles(self) -> dict[str, str]:
        """Worker -> role, as the topology has them."""
        return dict(self.settings.options.get("workers", {}))
