"""A session of Sparkplug's edge node: waits for the primary host, bears, delivers, dies.

Values go out at QoS 0, as Sparkplug has it. What the broker has taken is known by a fence: it
answers a subscription after all that was sent before it.
"""

import asyncio
import json
import logging

import aiomqtt

from cpppod.protocols.bus.feed_events import Event, Joined, Updated
from cpppod.protocols.bus.topics import split
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.plant import Worker
from cpppod.protocols.sparkplug import topics
from cpppod.protocols.sparkplug.edge import (
    LIMIT,
    EdgeNode,
    Message,
    PrimaryHost,
    Rebirth,
    WriteCommand,
)
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.journal.batch import Batch
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.mqtt.connection import BrokerClient, Outgoing, RefusedError, subscribe
from cpppod.workers.mqtt.plain import AROUND
from cpppod.workers.mqtt.sparkplug import SparkplugPlant, address_of
from cpppod.workers.outlets.commands import Commands
from cpppod.workers.outlets.delivery import LOOK_S, Delivery, wall_us
from cpppod.workers.outlets.reconfigured import either
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.state import StateDirectory

logger = logging.getLogger("cpppod.mqtt")

JOIN_S = 2.0  # for the feed to say the last values before the births
COMMAND_MS = 30_000  # after its own time a command is too old
REBIRTH_S = 1.0  # at most one in that time, however many ask


class HostIsGone(aiomqtt.MqttError):
    """The primary host said that it is offline: this session ends, another broker may have it."""


class EdgeSession:
    """One connection's session; see the module."""

    def __init__(
        self, outlet: Delivery, worker: Worker, source: JournalSource, commands: Commands
    ) -> None:
        self.counters = outlet.counters
        self._outlet = outlet
        options = worker.options
        self._process = outlet.process
        self._source = source
        self._commands = commands
        self._host_topic = topics.state(options["primary_host"])
        self._wants_host = bool(options["primary_host"])
        self._host = PrimaryHost()
        self._host_changed = asyncio.Event()
        self._plant = SparkplugPlant(worker.devices, source.groups, arrays=bool(options["arrays"]))
        self._kept = f"readers/{worker.name}.bdseq"
        self._address = address_of(options, worker.gateway_name)
        self._node = EdgeNode(self._address, {}, 0)
        self._feed: FeedSubscription | None = None
        self._joined = asyncio.Event()
        self._rebirth = asyncio.Event()
        self._born_us = 0

    async def prepare(self) -> None:
        """The number of this connection, kept before it is used; the last values from the feed."""
        bd_seq = await self._process.io.call(_next_number, self._process.state, self._kept)
        self._node = EdgeNode(self._address, self._plant.definitions, bd_seq)
        self._feed = FeedSubscription(self._process.bus, self._on_event)

    def close(self) -> None:
        """Leave the feed."""
        if self._feed is not None:
            self._feed.close()

    def will(self) -> Outgoing:
        """The node's death."""
        return _outgoing(self._node.will(wall_us() // 1000))

    async def run(self, client: BrokerClient) -> None:
        """Deliver until the connection ends.

        Raises:
            aiomqtt.MqttError: it did, or the primary host went.
        """
        await either(self._listen(client), self._deliver(client))

    async def end(self, client: BrokerClient) -> None:
        """Say the node's death, on purpose, where it was born."""
        if not self._node.born:
            return
        try:
            await self._say(client, self._node.will(wall_us() // 1000))
        except aiomqtt.MqttError:
            pass  # the will says so then

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Updated):
            device, _ = split(event.topic)
            message = event.message
            self._plant.take(device, message.body, message.source_us)
        elif isinstance(event, Joined):
            self._joined.set()

    async def _listen(self, client: BrokerClient) -> None:
        subscriptions = [(topic, 1) for topic in self._node.subscriptions()]
        if self._wants_host:
            subscriptions.append((self._host_topic, 1))
        await subscribe(client, subscriptions)
        async for message in client.messages:
            topic, payload = str(message.topic), message.payload
            data = payload if isinstance(payload, bytes) else str(payload).encode()
            if self._wants_host and topic == self._host_topic:
                self._on_state(data)
            else:
                self._on_command(topic, data)

    def _on_state(self, data: bytes) -> None:
        try:
            changed = self._host.told(json.loads(data))
        except (ValueError, RecursionError, DecodeError) as error:
            strangers.warning(logger, "state of the primary host not understood error=%s", error)
            return
        if changed:
            self._host_changed.set()
        if changed and not self._host.online:
            raise HostIsGone("the primary host is offline")

    def _on_command(self, topic: str, data: bytes) -> None:
        for command in self._node.command(topic, data):
            if isinstance(command, Rebirth):
                self._rebirth.set()
            elif isinstance(command, WriteCommand):
                self._process.spawn(self._write(command))
            else:
                self._refuse(topic, command.reason)

    def _refuse(self, what: str, why: object) -> None:
        self.counters.refused += 1
        strangers.warning(logger, "command refused what=%.90s why=%.120s", what, why)

    async def _write(self, command: WriteCommand) -> None:
        target = f"{command.device}.{command.metric}"
        expires_us = (command.timestamp_ms + COMMAND_MS) * 1000 if command.timestamp_ms else 0
        answer = await self._commands.write(target, command.value, expires_us=expires_us)
        if answer["outcome"] != "done":
            self._refuse(target, answer["error"])

    async def _deliver(self, client: BrokerClient) -> None:
        try:
            await asyncio.wait_for(self._joined.wait(), JOIN_S)
        except TimeoutError:
            logger.warning("births without the last values: the feed says nothing")
        if self._wants_host:
            self._outlet.state = "waiting for the primary host"
            while not self._host.online:
                self._host_changed.clear()
                await self._host_changed.wait()
        self._outlet.state = "connected"
        self._node.room = max(client.largest - AROUND - len(self._node.longest_topic()), 0)
        await self._bear(client)
        while True:
            await self._bear_again(client)
            batch = await self._process.io.call(self._source.read)
            if not (batch.readings or batch.gaps or batch.cursors):
                await asyncio.sleep(LOOK_S)
                continue
            await self._send(client, batch)
            await self._fence(client)
            await self._process.io.call(self._source.done, batch)
            for message in self._plant.deaths(self._node, wall_us() // 1000):
                await self._say(client, message)

    async def _bear(self, client: BrokerClient) -> None:
        self._born_us = wall_us()
        for message in self._plant.births(self._node, self._born_us // 1000):
            await self._say(client, message)

    async def _bear_again(self, client: BrokerClient) -> None:
        """Births once more where they were asked for, not oftener than once in a while."""
        if self._rebirth.is_set() and wall_us() - self._born_us >= REBIRTH_S * 1e6:
            self._rebirth.clear()
            await self._bear(client)

    async def _send(self, client: BrokerClient, batch: Batch) -> None:
        for gap in batch.gaps:
            logger.warning(
                "gap device=%s samples=%d reason=%s", gap.device, gap.samples, gap.reason
            )
        for reading in batch.readings:
            now_ms = wall_us() // 1000
            try:
                for message in self._plant.messages(
                    self._node, reading, now_ms, born_us=self._born_us
                ):
                    await self._say(client, message)
            except EncodeError as error:
                self.counters.refused += 1
                text = "reading not said device=%s error=%s"
                strangers.error(logger, text, reading.device, error)

    async def _say(self, client: BrokerClient, message: Message) -> None:
        if self._node.room and len(message.payload) > self._node.room:
            told = f"{len(message.payload)} bytes on {message.topic}"
            raise RefusedError(f"{told}: the broker takes {client.largest} at most")
        await client.publish(message.topic, message.payload, message.qos)
        self.counters.sent += 1

    async def _fence(self, client: BrokerClient) -> None:
        """Wait until the broker has taken all that was sent."""
        await client.subscribe(self._node.subscriptions()[0], qos=1)


def _outgoing(message: Message) -> Outgoing:
    return Outgoing(message.topic, message.payload, qos=message.qos)


def _next_number(state: StateDirectory, name: str) -> int:
    """The number of the next connection, kept in its file, 0 of the first; blocks."""
    known = state.read(name, int)
    number = 0 if known is None else (known + 1) % LIMIT
    state.write(name, str(number).encode())
    return number
