"""A session with plain JSON messages: a status that the broker keeps, blocks or tags, gaps."""

import asyncio

import aiomqtt

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.mqtt.connection import Outgoing, expiry, publish
from cpppod.workers.mqtt.plain import PlainForm
from cpppod.workers.mqtt.session import COUNTERS, DROPPED, delivered, next_batch, now_us
from cpppod.workers.process.worker import Process


class PlainSession:
    """One connection's session; see the module.

    Attributes:
        state: what it is doing, in words.
    """

    def __init__(self, process: Process, worker: Worker, source: JournalSource) -> None:
        self.state = "connected"
        self.counters = COUNTERS
        self._io = process.io
        self._source = source
        self._form = PlainForm(worker.options, worker.gateway_name, worker.gateway)
        self._expiry = expiry(worker.options)

    async def prepare(self) -> None:
        """Nothing has to be known before the connection."""

    def close(self) -> None:
        """Nothing is held."""

    def will(self) -> Outgoing:
        """The status, offline."""
        return self._form.status(online=False, now_us=now_us())

    async def run(self, client: aiomqtt.Client) -> None:
        """Deliver until the connection ends.

        Raises:
            aiomqtt.MqttError: it did.
        """
        listening = asyncio.ensure_future(self._listen(client))
        work = asyncio.ensure_future(self._deliver(client))
        try:
            done, _ = await asyncio.wait((listening, work), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (listening, work):
                task.cancel()
            await asyncio.wait((listening, work))

    async def end(self, client: aiomqtt.Client) -> None:
        """Say that the gateway is gone on purpose."""
        try:
            await publish(client, [self._form.status(online=False, now_us=now_us())])
        except aiomqtt.MqttError:
            pass  # the will says so then

    async def _deliver(self, client: aiomqtt.Client) -> None:
        await publish(client, [self._form.status(online=True, now_us=now_us())])
        while True:
            batch = await next_batch(self._io, self._source)
            messages = list(self._form.messages(batch))
            await publish(client, messages, self._expiry)
            self.counters.sent += len(messages)
            await delivered(self._io, self._source, batch)

    async def _listen(self, client: aiomqtt.Client) -> None:
        await client.subscribe(DROPPED, qos=0)
        async for message in client.messages:
            if message.topic.matches(DROPPED):
                self._take_dropped(message.payload)

    def _take_dropped(self, payload: object) -> None:
        text = payload.decode(errors="replace") if isinstance(payload, bytes) else str(payload)
        if text.isdigit():
            self.counters.dropped_by_broker = int(text)
