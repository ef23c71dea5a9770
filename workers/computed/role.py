"""The role of computed tags: blocks from the feed in, blocks of the computed groups out.

    feed ──► FeedSubscription ──► Engine ──► PolledDevice (deadband, counters) ──► BlockPublisher
                                    │                                                 │
             state_dir/computed/<worker>.json                                 journal, feed

Nothing is polled: a group is evaluated when a block of a group that it reads arrives, and published
at once. To everybody else its device is one like others. What expressions remember is stored once a
second, and at the end: a restart goes on with it.
"""

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.feed import Block as FeedBlock
from cpppod.protocols.bus.feed import Kind
from cpppod.protocols.bus.feed_events import Event, Joined, Updated
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.bus.topics import split
from cpppod.protocols.computed.engine import Engine, Result, plan
from cpppod.protocols.computed.sources import add_definitions, definitions_of, known_names
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import COMPUTED, Device, Group, Worker
from cpppod.protocols.model.values import explain
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.devices.block_publisher import BlockPublisher
from cpppod.workers.devices.device import Block, PolledDevice, PollWork
from cpppod.workers.devices.driver import DeviceFrame, Sample, Write, WriteOutcome
from cpppod.workers.devices.jobs import clock
from cpppod.workers.journal.writer import Journal, JournalLimits
from cpppod.workers.process.worker import CommandError, Process, Report

KEEP_S = 1.0  # what expressions remember is stored at most so often

log = logging.getLogger("cpppod")


class NoDriver:
    """In the place of a driver: nobody asks it anything."""

    concurrency = 1
    cip = None

    def __init__(self) -> None:
        self.frame = DeviceFrame()

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Nothing is polled."""
        return {}

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """Nothing is written."""
        return WriteOutcome()

    def describe(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}


@dataclass(slots=True)
class Prepared:
    """Settings that were checked."""

    worker: Worker
    engine: Engine


class ComputedTags:
    """Evaluates the computed tags of the gateway; a `Role`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._prepared: Prepared | None = None
        self._engine = Engine(())
        self._devices: dict[str, PolledDevice] = {}
        self._file = f"computed/{process.worker.name}.json"
        self._subscription: FeedSubscription | None = None
        self._publisher: Publisher | None = None
        self._outlet: BlockPublisher | None = None
        self._journal: Journal | None = None
        self._joined = False
        self._since_us = clock().wall_us
        self._kept = ""

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings: the configuration has seen to it that there are none."""
        definitions = definitions_of(worker.devices)
        names = known_names(worker.devices, worker.listeners)
        add_definitions(names, definitions)
        tags, problems = plan(definitions, names)
        if problems:
            return [f"{device}.{tag}: {why}" for (device, tag), why in problems.items()]
        self._prepared = Prepared(worker, Engine(tags))
        return []

    def commit(self) -> None:
        """Go over to what was prepared; before `run` it waits for `run`."""
        if self._outlet is not None:
            self._apply()
            self._subscribe()

    def abort(self) -> None:
        """Forget what was prepared."""
        self._prepared = None

    def _apply(self) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None and self._publisher is not None
        before, self._engine = self._engine, prepared.engine
        self._engine.continue_from(before)
        computed = [each for each in prepared.worker.devices if each.driver == COMPUTED]
        for name, device in self._devices.items():
            for group in device.images:
                if not any(group == own.name for each in computed for own in each.groups):
                    self._publisher.forget(name, group)
        self._devices = {device.name: self._polled(device) for device in computed}

    def _polled(self, device: Device) -> PolledDevice:
        known = self._devices.get(device.name)
        if known is not None and known.device == device:
            return known
        return PolledDevice(device, NoDriver(), alone=True, now=clock())

    async def run(self) -> None:
        """Evaluate until cancelled."""
        process = self._process
        worker = process.worker
        self._publisher = Publisher(worker.name, await process.new_epoch(), worker.gateway)
        limits = JournalLimits.from_options(
            {key.removeprefix("journal_"): value for key, value in worker.options.items()}
        )
        folder = Path(worker.state_dir) / "journal" / worker.name
        epoch, gateway = self._publisher.epoch, worker.gateway
        self._journal = Journal(folder, epoch, process.io, limits=limits, gateway=gateway)
        self._outlet = BlockPublisher(
            self._publisher,
            Publishing(process, self._publisher).send,
            journal=self._journal,
            historised=self._is_historised,
        )
        self._apply()
        kept = await process.io.call(process.state.read, self._file, _kept_of)
        self._engine.load(kept or {})
        self._subscribe()
        try:
            while True:
                await asyncio.sleep(KEEP_S)
                await self._keep()
        finally:
            if self._subscription is not None:
                self._subscription.close()
            await self._outlet.flush()
            await self._keep()
            await self._journal.close(sequence=self._publisher.sequence)

    def _subscribe(self) -> None:
        """Hear the feed; nothing is evaluated before all that it knows has come once."""
        if self._subscription is not None:
            self._subscription.close()
        self._joined = False
        self._subscription = FeedSubscription(self._process.bus, self._on_feed)

    def _is_historised(self, device: str, group: str) -> bool:
        known = self._devices.get(device)
        image = known.images.get(group) if known is not None else None
        if image is None:
            return False
        journalled = self._process.worker.options.get("journalled", ())
        return image.group.history or f"{device}/{group}" in journalled

    async def _keep(self) -> None:
        """Store what expressions remember, where it has changed."""
        text = json.dumps({"version": 1, "windows": self._engine.dump()})
        if text != self._kept:
            self._kept = text
            await self._process.io.call(self._process.state.write, self._file, text.encode())

    # Work

    def _on_feed(self, event: Event) -> None:
        if isinstance(event, Joined):
            self._joined = True
            self._publish(self._engine.evaluate_all())
        if not isinstance(event, Updated) or event.message.kind not in (Kind.BLOCK, Kind.REPEAT):
            return
        try:
            place = split(event.topic)
        except DecodeError:
            return
        message, block = event.message, event.message.body
        if place[0] in self._devices or not isinstance(block, FeedBlock):
            return
        taken = self._engine.take(
            *place, block.samples(), source_us=message.source_us, mono_us=message.mono_us
        )
        if taken and self._joined:
            self._publish(self._engine.evaluate(place))

    def _publish(self, results: Iterable[Result]) -> None:
        assert self._outlet is not None
        now = clock()
        for result in results:
            device = self._devices[result.device]
            image = device.images[result.group]
            work = PollWork(result.group, image.group, now.mono_s, started_s=now.mono_s)
            work.collected.update(result.samples)
            (made,), _ = device.polled(work, {}, now)
            block = Block(
                made.device,
                made.group,
                made.count,
                made.samples,
                result.source_us,
                now.wall_us,
                result.mono_us,
            )
            image.read_us = (result.source_us, now.wall_us, result.mono_us)
            self._outlet.publish(block)

    # What is said of it

    def beat(self) -> Report:
        """State, devices and metrics."""
        if self._outlet is None or self._journal is None:
            return Report("preparing")
        now = clock()
        devices: dict[str, Any] = {}
        metrics: list[Any] = [["cpppod_computed_evaluations_total", {}, self._engine.evaluations]]
        for name, device in self._devices.items():
            devices[name] = self._map_of(device)
            metrics += device.metrics(up=True, now=now)
        metrics += self._journal.metrics()
        return Report("running", self._journal.overdue(), devices, metrics)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """`device`: its map.

        Raises:
            CommandError: another verb, or no such device.
        """
        name = str(arguments.get("name") or arguments.get("device") or "")
        device = self._devices.get(name)
        if verb != "device" or device is None:
            raise CommandError(f"{verb}: computed tags follow their inputs: pause those")
        return self._map_of(device)

    def _map_of(self, device: PolledDevice) -> dict[str, Any]:
        """As of any device; what is bad is told with the input to blame."""
        connection = {"state": "open", "wire": "feed", "since_us": self._since_us}
        plain = device.state_map(clock(), connection)
        inputs = device.device.options.get("inputs", {})
        for name, group in plain["groups"].items():
            last = device.images[name].last
            group["bad"] = [
                [tag, explain(last[tag][1], inputs.get(tag, ()))] for tag, _ in group["bad"]
            ]
        return plain


def _kept_of(data: bytes) -> dict[str, Any]:
    plain = json.loads(data)
    if plain["version"] != 1 or not isinstance(plain["windows"], dict):
        raise ValueError("nothing kept of version 1")
    return dict(plain["windows"])
