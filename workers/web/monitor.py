"""How the gateway has been: a look at control's status every second, what changed, rates of late.

    status ── each second ──► rates    the last minute of each device, for the page's sparklines
                          └─► events   a device's or worker's state, a new configuration, losses

Events are numbered from 1 in each life of this worker; the last `MAX_EVENTS` are kept, and
`MAX_STRANGE` of what anybody can cause, who so pushes nothing else out.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from cpppod.protocols.bus.feed_events import Event, Lost
from cpppod.workers.web.answers import Problem
from cpppod.workers.web.control_link import Shared

LOOK_S = 1.0
MAX_EVENTS, MAX_STRANGE = 2_000, 200
RATES = 30  # samples of a device's rate, two seconds apart
RATE_EVERY = 2


class Monitor:
    """Follows `status`.

    Attributes:
        name: the gateway's.
        life: microseconds since 1970 at which the numbers of events began.
    """

    def __init__(self, status: Shared) -> None:
        self.name = "cpppod"
        self.life = time.time_ns() // 1000
        self._status = status
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._strange: deque[dict[str, Any]] = deque(maxlen=MAX_STRANGE)
        self._count = 0
        self._seen: dict[tuple[str, str], str] = {}
        self._rates: dict[str, deque[float | None]] = {}
        self._turn = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self.look(await self._status.get())
                self._became("control", "control", "answers", "")
            except Problem as problem:
                self._became("control", "control", "does not answer", problem.why)
            await asyncio.sleep(LOOK_S)

    def look(self, status: dict[str, Any]) -> None:
        """Take a status."""
        self._turn += 1
        self.name = status["name"]
        for row in status["devices"]:
            error = row["last_error"] if row["state"] != "online" else ""
            self._became("device", row["name"], row["state"], error)
            if self._turn % RATE_EVERY == 0:
                rates = self._rates.setdefault(row["name"], deque(maxlen=RATES))
                rates.append(row["rate_hz"])
        for row in status["workers"]:
            self._became("worker", row["name"], row["state"], "; ".join(row["overdue"]))
        self._became("gateway", status["name"], f"generation {status['generation']}", "")
        known = {row["name"] for row in status["devices"]}
        for name in self._rates.keys() - known:
            del self._rates[name]

    def rates(self, device: str) -> list[float | None]:
        """Polls per second of late, the oldest first."""
        return list(self._rates.get(device, ()))

    def on_feed(self, event: Event) -> None:
        """A loss is an event."""
        if isinstance(event, Lost):
            count = "some" if event.count is None else str(event.count)
            self.note("feed", event.publisher, f"lost {count} blocks", event.topic.decode())

    def note(
        self,
        kind: str,
        name: str,
        what: str,
        detail: str = "",
        who: str = "",
        *,
        by_anybody: bool = False,
    ) -> None:
        """Add an event."""
        self._count += 1
        (self._strange if by_anybody else self._events).append(
            {
                "number": self._count,
                "time_us": time.time_ns() // 1000,
                "kind": kind,
                "name": name,
                "what": what,
                "detail": detail,
                "who": who,
            }
        )

    def events(self, after: int, limit: int) -> Iterator[dict[str, Any]]:
        """Those with higher numbers, the newest first."""
        both = (reversed(self._events), reversed(self._strange))
        for event in heapq.merge(*both, key=lambda each: -each["number"]):
            if event["number"] <= after or limit <= 0:
                return
            limit -= 1
            yield event

    def _became(self, kind: str, name: str, state: str, detail: str) -> None:
        """Note a state that is another than it was."""
        before = self._seen.get((kind, name))
        self._seen[kind, name] = state
        if before is not None and before != state:
            self.note(kind, name, f"{before} → {state}", detail)
