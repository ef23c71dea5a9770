"""A gateway as control knows it: beats, values and verbs, served at a real control socket.

The plant is three devices with a worker each, one of them demoted, and a listener with a local
tag. Its workers are this module's: they answer orders and writes as the real ones would.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.feed import decode
from cpppod.protocols.bus.messages import Beat, Command, CommandReply, WriteReply
from cpppod.protocols.bus.messages import decode as decode_message
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Route, Tag, Worker
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.audit.recorder import Recorder
from cpppod.workers.control.access import NameService
from cpppod.workers.control.actions import Actions
from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.queries import Queries
from cpppod.workers.control.socket import ControlSocket, LookUp
from cpppod.workers.control.supervisor import Supervisor
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.control.worker_commands import WorkerCommands
from cpppod.workers.control.writes import Writes
from cpppod.workers.process.io_thread import IoThread
from cpppod.workers.values import ValueCache
from tests.patience import PATIENCE_S

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "127.0.0.1:1502",
    description="the old one",
    groups=(
        Group(
            "fast",
            0.5,
            (
                Tag("pressure", "40001", "REAL", unit="bar"),
                Tag("setpoint", "40003", "REAL", unit="bar", writable=True, minimum=0, maximum=10),
                Tag("recipe", "40010", "INT", length=4, writable=True),
            ),
        ),
    ),
)
PUMP = Device(
    "pump", "modbus-rtu", "hall", unit=7, groups=(Group("slow", 2.0, (Tag("speed", "1"),)),)
)
PRESS = Device("press", "enip", "127.0.0.1:44819")
ROLES = {
    "control": "control",
    "feed": "feed",
    "router": "router",
    "poller-boiler": "poller",
    "poller-press": "poller",
    "serial-hall": "serial",
    "listener-main": "listener",
    "historian": "historian",
}
OWNERS = {"boiler": "poller-boiler", "pump": "serial-hall", "press": "poller-press"}
SETTINGS = Worker(
    "control",
    "control",
    "bus",
    "state",
    "runtime",
    generation=3,
    devices=(BOILER, PUMP, PRESS),
    routes=(Route("1/1", device="press", read_only=True, sources=("10.0.0.0/8",)),),
    listeners=(Listener("main", tags=(LocalTag("SCADA", "DINT", (10,)),)),),
    owners=OWNERS,
    options={"workers": ROLES, "name": "hall 7", "files": ["/etc/cpppod/cpppod.toml"]},
)


def told(state: str, **given: Any) -> dict[str, Any]:
    """A device's state map as its worker's beat carries it."""
    group = {
        "period_s": 0.5,
        "tags": 2,
        "age_s": 0.2,
        "quality": "good",
        "bad": [],
        "cycles": 10,
        "cycles_good": 10,
        "cycles_answered": 10,
        "overruns": 0,
        "cycle": {"last_s": 0.01, "mean_s": 0.011, "longest_s": 0.02},
        "lateness": {"last_s": 0.0, "mean_s": 0.0, "longest_s": 0.0},
    }
    return {
        "state": state,
        "connection": {"connected": True},
        "failures": 0,
        "next_probe_s": None,
        "last_error": "",
        "last_error_us": 0,
        "last_success_us": 1_700_000_000_000_000,
        "tags": 3,
        "tags_bad": 0,
        "groups": {"fast": group},
        "counters": {"read ok": 20},
        "writes": {},
        "transactions": [[1_700_000_000_000_000, "read", "unit 1 FC3 0 x 2", "ok", 0.01, ""]],
        "quarantined": [],
        "details": {},
        **given,
    }


@dataclass
class KnownGateway:
    """The gateway and what its workers were told.

    Attributes:
        orders_seen: (worker, verb, arguments); `answers`: verb -> result, an error's
            text, or a function that gives one.
        writes_seen: (device, writes); `write_reply` is what the owner says next.
    """

    gateway: Gateway
    publisher: Publisher = field(default_factory=lambda: Publisher("poller-boiler", 1))
    orders_seen: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    writes_seen: list[tuple[str, list[Any]]] = field(default_factory=list)
    write_reply: WriteReply | None = None
    loop: asyncio.AbstractEventLoop | None = None
    audit: Recorder | None = None

    def block(self, **samples: tuple[Any, int]) -> tuple[bytes, bytes]:
        """A block of the boiler's group, read now."""
        now_us = time.monotonic_ns() // 1000
        return self.publisher.block(
            "boiler", "fast", 3, samples, source_us=1, gateway_us=2, mono_us=now_us
        )

    def publish(self, **samples: tuple[Any, int]) -> None:
        """Have the boiler's group read now, with these changes."""
        topic, payload = self.block(**samples)
        self.gateway.read_backs.apply(topic, decode(payload))

    def publish_soon(self, **samples: tuple[Any, int]) -> None:
        """The same, from a test that runs beside the gateway's thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(lambda: self.publish(**samples))

    def receive_order(self, worker: bytes, frame: bytes) -> bool:
        """What the `control` ROUTER would send: the workers answer on the next turn."""
        order = decode_message(frame)
        assert isinstance(order, Command)
        name = worker.decode()
        self.orders_seen.append((name, order.verb, order.arguments))
        answer = self.answers.get(order.verb)
        answer = answer() if callable(answer) else answer
        error = answer if isinstance(answer, str) else ""
        reply = CommandReply(order.id, error, None if error else answer)
        asyncio.get_running_loop().call_soon(self.gateway.orders.receive, name, reply)
        return name != "poller-press"  # the one that is not connected

    async def write_tags(self, device: str, source: str, writes: list[Any]) -> WriteReply:
        """What the owner answers to a write that came through the router."""
        self.writes_seen.append((device, writes))
        if self.write_reply is not None:
            return self.write_reply
        member, first, values = writes[0]
        value = values if first or len(values) > 1 else values[0]
        topic, payload = self.block(**{member: (value, 0)})
        return WriteReply(0, topic=topic, payload=payload)


def known_gateway() -> KnownGateway:
    """A gateway of which every worker has beaten a moment ago, but `poller-press`."""
    now = time.monotonic()
    values = ValueCache()
    values.configure(SETTINGS)
    table = WorkerTable()
    table.expect(ROLES, now)

    async def not_yet(device: str, source: str, writes: list[Any]) -> WriteReply:
        raise AssertionError

    gateway = Gateway(
        settings=SETTINGS,
        table=table,
        values=values,
        orders=WorkerCommands(lambda worker, frame: known.receive_order(worker, frame)),
        supervisor=Supervisor("/nowhere/supervisor.sock"),
        write_tags=not_yet,
        version="1.2.3",
        libzmq="4.3.5",
        started_at=now,
    )
    known = KnownGateway(gateway)
    gateway.write_tags = known.write_tags
    devices = {
        "poller-boiler": {"boiler": told("online")},
        "serial-hall": {
            "pump": told(
                "demoted",
                failures=3,
                next_probe_s=2.5,
                last_error="unit 7 did not answer within 1 s",
                last_error_us=time.time_ns() // 1000,
                tags=1,
                tags_bad=1,
            )
        },
    }
    for pid, name in enumerate(ROLES, start=1000):
        if name != "poller-press":
            beat = Beat(name, pid, 3, 0, "running", devices=devices.get(name, {}))
            table.receive_beat(name, beat, now)
    bad = quality(Quality.DEVICE_STATUS, status=2)
    known.publish(pressure=(4.25, 0), setpoint=(5.0, 0), recipe=(None, bad))
    return known


@contextlib.contextmanager
def served(
    known: KnownGateway, path: Path, look_up: LookUp | None = None
) -> Iterator[KnownGateway]:
    """`known` at the control socket `path`, on a loop in a thread of its own.

    Args:
        look_up: who may do what; by default as the machine's groups have it.
    """
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    known.loop = loop

    async def run() -> None:
        io, state = IoThread(), str(path.parent / "state")
        known.gateway.settings = replace(known.gateway.settings, state_dir=state)
        audit = known.audit = Recorder(io, state, "control")
        writes = Writes(known.gateway, audit)
        actions = Actions(known.gateway, writes, loop.create_task)
        verbs = Queries(known.gateway).verbs() | actions.verbs()
        server = ControlSocket(str(path), verbs, look_up or NameService(io.call, dict).look_up)
        await server.start()
        started.set()
        await stop.wait()
        await server.stop()
        await audit.close()
        io.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        yield known
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        loop.close()
