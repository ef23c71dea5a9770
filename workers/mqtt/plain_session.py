"""A session with plain JSON messages: status (kept by the broker), blocks or tags, gaps, writes."""

import asyncio
import json
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.mqtt.connection import BrokerClient, Outgoing, expiry, publish, subscribe
from cpppod.workers.mqtt.plain import PlainForm
from cpppod.workers.outlets.commands import Commands
from cpppod.workers.outlets.delivery import LOOK_S, Delivery, wall_us
from cpppod.workers.outlets.reconfigured import either

DROPPED = "$SYS/broker/publish/messages/dropped"  # where mosquitto tells what it dropped
MAX_COMMANDS = 64  # at work at once; more wait in the broker


class PlainSession:
    """One connection's session; see the module."""

    def __init__(
        self, outlet: Delivery, worker: Worker, source: JournalSource, commands: Commands
    ) -> None:
        self.counters = outlet.counters
        self._process = outlet.process
        self._source = source
        self._commands = commands
        inputs = {
            (device.name, tag): read
            for device in worker.devices
            for tag, read in device.options.get("inputs", {}).items()
        }
        self._form = PlainForm(worker.options, worker.gateway_name, worker.gateway, inputs)
        self._expiry = expiry(worker.options)
        self._writes = self._form.own_topic("write")
        self._takes_writes = bool(worker.options["commands"])
        self._at_work = asyncio.Semaphore(MAX_COMMANDS)

    async def prepare(self) -> None:
        """Nothing has to be known before the connection."""

    def close(self) -> None:
        """Nothing is held."""

    def will(self) -> Outgoing:
        """The status, offline."""
        return self._form.status(online=False, now_us=wall_us())

    async def run(self, client: BrokerClient) -> None:
        """Deliver until the connection ends.

        Raises:
            aiomqtt.MqttError: it did.
        """
        await either(self._listen(client), self._deliver(client))

    async def end(self, client: BrokerClient) -> None:
        """Say that the gateway is gone on purpose."""
        try:
            await publish(client, [self._form.status(online=False, now_us=wall_us())])
        except aiomqtt.MqttError:
            pass  # the will says so then

    async def _deliver(self, client: BrokerClient) -> None:
        io, source = self._process.io, self._source
        self._form.largest = client.largest
        await publish(client, [self._form.status(online=True, now_us=wall_us())])
        alone = 1  # where a broker refuses and closes, its answer to many at once may be lost
        while True:
            batch = await io.call(source.read)
            if not (batch.readings or batch.gaps or batch.cursors):
                await asyncio.sleep(LOOK_S)
                continue
            messages = list(self._form.messages(batch))
            for part in filter(None, (messages[:alone], messages[alone:])):
                await publish(client, part, self._expiry)
                alone = 0
            self.counters.sent += len(messages)
            await io.call(source.done, batch)

    async def _listen(self, client: BrokerClient) -> None:
        if self._takes_writes:
            await subscribe(client, [(self._writes, 1)])
        else:  # refused or not, nothing depends on it
            await client.subscribe(self._writes, 1)
        await client.subscribe(DROPPED, 0)
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload).encode()
            if str(message.topic) == self._writes:
                await self._at_work.acquire()
                self._process.spawn(self._obey(client, message, data))
            elif data.isdigit():
                self.counters.dropped_by_broker = int(data)

    async def _obey(self, client: BrokerClient, message: aiomqtt.Message, data: bytes) -> None:
        try:
            answer = await self._commands.obey(data, kept=message.retain)
            if answer["outcome"] == "failed":
                self.counters.refused += 1
            topic, properties = self._reply_to(message)
            await client.publish(topic, json.dumps(answer, default=repr), 1, properties=properties)
            client.refusals.pop(topic, None)  # of a topic that whoever asked named
        except aiomqtt.MqttError:
            pass  # whoever asked hears nothing: the audit has it
        finally:
            self._at_work.release()

    def _reply_to(self, message: aiomqtt.Message) -> tuple[str, Properties | None]:
        given: Any = message.properties
        topic = getattr(given, "ResponseTopic", "")
        if not topic:
            return self._form.own_topic("reply"), None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if (data := getattr(given, "CorrelationData", None)) is not None:
            properties.CorrelationData = data
        return topic, properties
