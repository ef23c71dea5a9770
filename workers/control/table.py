"""The table of workers that control keeps: who beats, who is silent, who must be killed.

    starting ──beat──> running | backing off | preparing ──no beat for 5 s──> killed
        ^                                  │ pidfd fires                        │
        └──────────── restarting <─────────┴────────────────────────────────────┘

Decisions only: every method takes `now` (seconds of the monotonic clock), and what is to be done
comes back as a value. A beat from a name that the topology does not know changes nothing.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.bus.messages import Beat

SILENT_S = 5.0  # without a beat for so long a worker hangs: it is killed
FIRST_BEAT_S = (
    15.0  # a started process that never beat: imports on a busy machine take a few seconds
)
OWN_STALL_S = 2.0  # control itself stood still: beats may be waiting unread, nobody is judged by it
STORM_EXITS = 5  # so many exits ...
STORM_WINDOW_S = 60.0  # ... within so many seconds are a restart storm (Erlang's intensity)

LATE_S = 2.0  # four beats missed: whether it works is not known

RUNNING = "running"
BACKING_OFF = "backing off"
RESTARTING = "restarting"
STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that must be killed, and why."""

    worker: str
    pid: int
    reason: str


@dataclass(slots=True)
class WorkerRecord:
    """What is known of one worker; `pid` 0 while no process of it is known."""

    name: str
    role: str
    since: float
    pid: int = 0
    beat: Beat | None = None
    frame: bytes = b""  # of the beat, if that came without its metrics
    beat_at: float | None = None
    started_at: float | None = None
    down: str = STARTING
    reason: str = ""
    restarts: dict[str, int] = field(default_factory=dict)
    exits: deque[float] = field(default_factory=lambda: deque(maxlen=STORM_EXITS))

    @property
    def alive(self) -> bool:
        """Whether its process has beaten and is not known to be gone."""
        return self.beat is not None and not self.down

    @property
    def state(self) -> str:
        """`starting`, `restarting`, or what its last beat said."""
        return self.down or (self.beat.state if self.beat else STARTING)

    def in_storm(self, now: float) -> bool:
        """Whether it exited so often lately that something is wrong with it."""
        return len(self.exits) == STORM_EXITS and now - self.exits[0] < STORM_WINDOW_S


class WorkerTable:
    """Every worker of the topology; control's only memory of them."""

    def __init__(self) -> None:
        self.workers: dict[str, WorkerRecord] = {}
        self.unknown_beats = 0
        self._checked_at: float | None = None
        self._no_kill_before = 0.0

    def expect(self, roles: dict[str, str], now: float) -> None:
        """The topology is `roles` (worker -> role) from now on; other records are dropped."""
        for name, role in roles.items():
            if name not in self.workers:
                self.workers[name] = WorkerRecord(name, role, since=now)
        for name in self.workers.keys() - roles.keys():
            del self.workers[name]

    def receive_beat(self, identity: str, beat: Beat, now: float, *, frame: bytes = b"") -> int:
        """Note `beat` that came from `identity`; the pid if it is one not seen before, else 0.

        Args:
            frame: what it was decoded from, kept for its metrics if it came without them.
        """
        record = self.workers.get(beat.worker)
        if record is None or identity != beat.worker:
            self.unknown_beats += 1
            return 0
        known = record.pid == beat.pid and not record.down
        if not known:
            record.pid, record.started_at = beat.pid, now
        record.beat, record.beat_at, record.down = beat, now, ""
        record.frame = frame
        return 0 if known else beat.pid

    def process_seen(self, name: str, pid: int, now: float) -> None:
        """supervisord says that `name` runs as `pid`; it may never have beaten."""
        record = self.workers.get(name)
        if record is not None and pid and record.pid != pid:
            record.pid, record.started_at, record.beat_at = pid, now, None
            record.down = record.down or STARTING

    def process_exited(self, name: str, pid: int, now: float) -> bool:
        """The process `pid` of `name` has ended; whether this was news."""
        record = self.workers.get(name)
        if record is None or record.pid != pid or record.down == RESTARTING:
            return False
        reason = record.reason or "exit"
        record.restarts[reason] = record.restarts.get(reason, 0) + 1
        record.exits.append(now)
        record.down, record.reason, record.beat_at = RESTARTING, "", None
        return True

    def silent(self, now: float) -> list[Kill]:
        """The workers to kill now; to be asked about once a second.

        A worker whose beats say that it waits (`blocking_us`, `backing off`) does beat, and so is
        not here, however long it waits.
        """
        if self._checked_at is not None and now - self._checked_at > OWN_STALL_S:
            self._no_kill_before = now + SILENT_S
        self._checked_at = now
        if now < self._no_kill_before:
            return []
        kills = []
        for record in self.workers.values():
            reason = self._silence(record, now)
            if reason:
                record.reason = "watchdog"
                kills.append(Kill(record.name, record.pid, reason))
        return kills

    def _silence(self, record: WorkerRecord, now: float) -> str:
        if not record.pid or record.down == RESTARTING:
            return ""
        if record.beat_at is not None:
            age = now - record.beat_at
            return f"no beat for {age:.1f} s" if age >= SILENT_S else ""
        started = record.started_at if record.started_at is not None else now
        age = now - started
        return f"no first beat within {age:.1f} s" if age >= FIRST_BEAT_S else ""

    def started(self) -> bool:
        """Whether every worker has beaten once or is in back-off, and the listeners are bound.

        systemd is told so: it would end a gateway that waits for one worker of many.
        """
        return bool(self.workers) and all(
            record.beat is not None and _is_bound(record) for record in self.workers.values()
        )

    def not_ready(self, now: float) -> dict[str, str]:
        """The workers that do not do their work now: why. None of them: the gateway is ready."""
        found = {name: _trouble(record, now) for name, record in sorted(self.workers.items())}
        return {name: why for name, why in found.items() if why}

    def backing_off(self, now: float) -> list[str]:
        """Names of the workers in back-off or in a restart storm, for STATUS=."""
        return sorted(
            record.name
            for record in self.workers.values()
            if record.state == BACKING_OFF or record.in_storm(now)
        )

    def devices(self) -> dict[str, dict[str, Any]]:
        """Every device that a worker has told of.

        What a worker calls online is `offline` or `connecting` here while its connection is not
        open; devices of a worker that is down are `unknown`.
        """
        states: dict[str, dict[str, Any]] = {}
        for record in self.workers.values():
            if record.beat is None:
                continue
            for name, state in record.beat.devices.items():
                states[name] = {**state, "worker": record.name, "state": _state_of(state)}
                if not record.alive:
                    states[name]["state"] = "unknown"
                    states[name]["last_error"] = f"worker {record.name} is {record.state}"
        return states

    def rows(self, now: float) -> list[dict[str, Any]]:
        """One row per worker, as `status` shows it."""
        return [_row(self.workers[name], now) for name in sorted(self.workers)]


def _is_bound(record: WorkerRecord) -> bool:
    """Whether a listener's beat names the address that it is bound to, or it is in back-off."""
    if record.role != "listener" or record.beat is None or record.state == BACKING_OFF:
        return True
    return bool(record.beat.extra.get("address"))


def _trouble(record: WorkerRecord, now: float) -> str:
    """Why a worker does not do its work; "" where it does."""
    beat = record.beat
    if record.state != RUNNING or beat is None:
        reasons = "; ".join(beat.overdue) if beat and not record.down else ""
        return f"{record.state}: {reasons}" if reasons else record.state
    if record.beat_at is not None and now - record.beat_at >= LATE_S:
        return f"silent for {now - record.beat_at:.1f} s"
    if not _is_bound(record):
        return "not bound"
    return str(beat.extra.get("not_ready", ""))


def _state_of(told: dict[str, Any]) -> str:
    """A device's state, its connection and what a gateway before it says taken into account."""
    state, connection = str(told.get("state", "unknown")), told.get("connection", {})
    if told.get("absent") and state != "disabled":
        return "offline"
    if state not in ("online", "degraded") or connection.get("state", "open") == "open":
        return state
    return "offline" if connection.get("attempts_failed") else "connecting"


def _row(record: WorkerRecord, now: float) -> dict[str, Any]:
    beat = record.beat
    return {
        "name": record.name,
        "role": record.role,
        "pid": 0 if record.down == RESTARTING else record.pid,
        "state": record.state,
        "beat_age_s": None if record.beat_at is None else round(now - record.beat_at, 3),
        "up_s": None if record.started_at is None else round(now - record.started_at, 1),
        "generation": beat.generation if beat else None,
        "blocking_s": round(beat.blocking_us / 1e6, 3) if beat and not record.down else 0.0,
        "overdue": list(beat.overdue) if beat else [],
        "restarts": sum(record.restarts.values()),
        "restart_storm": record.in_storm(now),
        "extra": dict(beat.extra) if beat else {},
    }
