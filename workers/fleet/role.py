"""The uplink: journals to the site's stream, live values, answers, a lease; over one connection.

    journals ─► batches, all or nothing ─► H_<site>   the leader is asked what is there
    feed     ─► live                                     at most once, nothing stale
    ask      ─► control                                  questions; writes by their contract
    lease, told                                          who writes under this name; what it is

A batch names the last sequence that this worker's history has in the stream: who has an old one, a
twin or an answer that was lost, is refused whole. Then the leader is asked again, and what the
stream has is not sent twice. Where the stream has less than it acknowledged, the broker has lost
it: what the journals hold is sent again.
"""

import asyncio
import json
import logging
from importlib import metadata

from nats.aio.msg import Msg
from nats.errors import Error
from nats.js.client import JetStreamContext
from nats.js.errors import KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from cpppod.protocols.bus.feed import Kind
from cpppod.protocols.bus.feed_events import Event, Updated
from cpppod.protocols.bus.topics import split
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.fleet.records import Place
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import Worker
from cpppod.workers import identity
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.fleet.batches import Chain, cut, parts_of
from cpppod.workers.fleet.questions import Questions
from cpppod.workers.journal.batch import Batch
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.outlets.commands import Commands
from cpppod.workers.outlets.delivery import LOOK_S, Delivery, wall_us
from cpppod.workers.outlets.reconfigured import either
from cpppod.workers.process.worker import Process
from cpppod.workers.transport.nats_link import (
    KNOWN_ID,
    MAX_BATCH,
    WRONG_SEQUENCE,
    Link,
    LinkError,
    connect,
    read_tls,
    reason,
)

logger = logging.getLogger("cpppod.fleet")

LEASE_S, RENEW_S = 5, 1.0
TOLD_S, TELL_S = 30, 10.0
LIVE_QUEUE = 2_000  # blocks that wait for the connection; more are not live any more
CATCH_UP_S = 1.0
DOUBTS = 2  # refusals of ids that nobody can explain: it goes without them, the store knows
TWIN_AFTER = 4  # refusals in a row with nothing of ours in between


class Uplink(Delivery):
    """The role; see the module."""

    troubles = (LinkError, Error, OSError)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._commands = Commands(process, "fleet")
        self._live: asyncio.Queue[Updated] = asyncio.Queue(LIVE_QUEUE)
        self._chains: dict[str, Chain] = {}
        self.lost_by_broker = 0
        self.live_dropped = 0

    def problems(self, worker: Worker) -> list[str]:
        return []

    def addresses(self, worker: Worker) -> list[str]:
        found: list[str] = worker.options["servers"]
        return found

    def words(self, error: Exception) -> str:
        return reason(error)

    def is_away(self, error: Exception) -> bool:
        return error.away if isinstance(error, LinkError) else super().is_away(error)

    def hold_s(self, worker: Worker) -> float:
        hold: float = worker.options["hold"]
        return hold

    def metrics(self) -> list[list[object]]:
        return [
            ["cpppod_fleet_broker_lost_total", {}, self.lost_by_broker],
            ["cpppod_fleet_live_dropped_total", {}, self.live_dropped],
        ]

    async def connection(self, worker: Worker, source: JournalSource, address: str) -> None:
        options = worker.options
        tls = await self.process.io.call(read_tls, options)
        self._chains = {}
        name = f"{options['site']}/{worker.gateway_name} {worker.gateway}"
        async with connect(options, tls, address, name) as link:
            await self._have_stream(worker, link)
            stream = link.client.jetstream()
            lease = await self._take_lease(worker, link)
            self._commands.by(address, name, allowed=options["writes"])
            self.connected()
            await either(
                link.until_closed(),
                self._upload(worker, source, link),
                self._publish_live(worker, link),
                self._answer(worker, link),
                lease.keep(),
                self._tell(worker, stream),
            )

    async def _have_stream(self, worker: Worker, link: Link) -> None:
        options = worker.options
        if not options["make_stream"]:
            return
        settings = {
            "name": subjects.stream(options["site"]),
            "subjects": [subjects.of_site(options["site"])],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": options["replicas"],
            "max_bytes": options["stream_size"],
            "max_age": round(options["stream_age"] * 1e9),
            "duplicate_window": 120_000_000_000,
            "allow_direct": False,
            "allow_atomic": True,
        }
        if await link.ensure_stream(settings):
            logger.warning("stream made name=%s", settings["name"])

    # History

    async def _upload(self, worker: Worker, source: JournalSource, link: Link) -> None:
        while True:
            batch = await self.process.io.call(source.read)
            if not (batch.readings or batch.gaps or batch.cursors):
                await asyncio.sleep(LOOK_S)
                continue
            for publisher in _publishers(batch):
                if not await self._send(worker, source, link, publisher, batch):
                    break  # that journal is read again, from further back
            else:
                await self.process.io.call(source.done, batch)

    async def _send(
        self, worker: Worker, source: JournalSource, link: Link, publisher: str, batch: Batch
    ) -> bool:
        """Have a publisher's part of a batch in the stream; False where more must be sent first."""
        refused = 0
        while True:
            chain = self._chains.get(publisher)
            if chain is None:
                chain = self._chains[publisher] = await self._look_up(worker, link, publisher)
                if _is_behind(source, publisher, chain):  # a replica may be, for a moment
                    await asyncio.sleep(CATCH_UP_S)
                    chain = self._chains[publisher] = await self._look_up(worker, link, publisher)
                chain.ids = refused < DOUBTS
                if not await self._agrees(source, publisher, chain):
                    return False
            try:
                await self._send_parts(worker, link, chain, publisher, batch)
                return True
            except LinkError as error:
                refused += 1
                if error.code not in (WRONG_SEQUENCE, KNOWN_ID) or refused >= TWIN_AFTER:
                    raise
                del self._chains[publisher]  # an answer was lost, or a twin writes: look

    async def _send_parts(
        self, worker: Worker, link: Link, chain: Chain, publisher: str, batch: Batch
    ) -> None:
        parts = parts_of(worker, publisher, batch, chain, count=MAX_BATCH, size=link.room)
        for part in parts:
            chain.sequence = await link.batch(part.messages, after=chain.sequence, of=chain.subject)
            chain.place = chain.known = part.place
            chain.ids = True
            self.counters.sent += len(part.messages)

    async def _look_up(self, worker: Worker, link: Link, publisher: str) -> Chain:
        """How far the stream has a worker's history; the leader is asked."""
        site = worker.options["site"]
        subject = subjects.of_worker(site, worker.gateway_name, publisher)
        last = await link.last(subjects.stream(site), subject, _reader(worker))
        if last is None:
            return Chain(subject)
        owner = last.headers.get(records.GATEWAY, "")
        if owner != worker.gateway:
            logger.warning(
                "history of another gateway under this name publisher=%s gateway=%s",
                publisher,
                owner,
            )
            return Chain(subject, last.sequence)
        try:
            place = records.place_of(last.headers)
        except DecodeError as error:
            raise LinkError(f"{subject}: {error}") from None
        return Chain(subject, last.sequence, place, place)

    async def _agrees(self, source: JournalSource, publisher: str, chain: Chain) -> bool:
        """Whether the stream is where the journal's position is; else reading begins elsewhere.

        It has less where it lost what it acknowledged, or was made anew: all that is held is sent
        again. It has something else where the journals are not what they were: replaced, or an old
        copy. What was on its way when an answer was lost, it has besides.
        """
        delivered = source.position(publisher)
        place = chain.place
        if place[:2] == (delivered.epoch, delivered.sequence):
            return True
        if _is_behind(source, publisher, chain):
            self.lost_by_broker += 1
            logger.error(
                "the stream has lost what it acknowledged publisher=%s has=%d/%d"
                " acknowledged=%d/%d: what the journals hold is sent again",
                *(publisher, place.epoch, place.sequence),
                *(delivered.epoch, delivered.sequence),
            )
        life = await self.process.io.call(source.resume, publisher, *place)
        if 0 < life < place.epoch:  # begun anew under an older clock: nothing of it is there
            chain.known = Place(life, 0)
        return source.position(publisher) == delivered

    # Live values and answers

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, Updated) or event.message.kind != Kind.BLOCK or event.replayed:
            return
        if self._live.full():
            self.live_dropped += 1
            return
        self._live.put_nowait(event)

    async def _publish_live(self, worker: Worker, link: Link) -> None:
        if not worker.options["live"]:
            await asyncio.get_running_loop().create_future()
        site, name = worker.options["site"], worker.gateway_name
        while not self._live.empty():
            self._live.get_nowait()  # of before this connection: stale
        feed = FeedSubscription(self.process.bus, self._on_event)
        try:
            while True:
                event = await self._live.get()
                subject = subjects.live(site, name, *split(event.topic))
                for part in cut(subject, {}, event.payload, link.room):
                    await link.client.publish(subject, part.payload, headers=part.headers or None)
        finally:
            feed.close()

    async def _answer(self, worker: Worker, link: Link) -> None:
        questions = Questions(worker.runtime_dir, reloads=worker.options["reloads"])

        async def obey(message: Msg) -> None:
            verb = message.subject.rpartition(".")[2]
            if verb == "write":
                told = await self._commands.obey(message.data)
                if told["outcome"] == "failed":
                    self.counters.refused += 1
                answer = json.dumps(told, default=repr).encode()
            else:
                answer = await questions.answer(verb, message.data, "fleet", link.room)
            if message.reply:
                await message.respond(answer)

        async def on_message(message: Msg) -> None:
            self.process.spawn(obey(message))

        subject = subjects.ask(worker.options["site"], worker.gateway_name, "*")
        await link.client.subscribe(subject, cb=on_message)
        await asyncio.get_running_loop().create_future()

    # Who this is

    async def _take_lease(self, worker: Worker, link: Link) -> "Lease":
        bucket = await _bucket(link.client.jetstream(), subjects.LEASES, LEASE_S)
        key = f"{worker.options['site']}.{worker.gateway_name}"
        instance = await self.process.io.call(identity.instance, worker.state_dir)
        who = f"{worker.gateway} {instance}".encode()
        lease = Lease(link, bucket, key, who, _reader(worker))
        await lease.take()
        return lease

    async def _tell(self, worker: Worker, stream: JetStreamContext) -> None:
        bucket = await _bucket(stream, subjects.TOLD, TOLD_S)
        key = f"{worker.options['site']}.{worker.gateway_name}"
        while True:
            told = {
                "gateway": worker.gateway,
                "version": metadata.version("cpppod"),
                "generation": self.process.worker.generation,
                "time_us": wall_us(),
            }
            await bucket.put(key, json.dumps(told).encode())
            await asyncio.sleep(TELL_S)


class Lease:
    """That one living gateway writes under a name: renewed, and gone soon after its owner."""

    def __init__(self, link: Link, bucket: KeyValue, key: str, value: bytes, name: str) -> None:
        self._link = link
        self._bucket = bucket
        self._name = name
        self._key = key
        self._value = value
        self._revision = 0

    async def take(self) -> None:
        """Have the lease.

        Raises:
            LinkError: another living gateway has it.
        """
        try:
            self._revision = await self._bucket.update(self._key, self._value, last=0)
        except KeyWrongLastSequenceError:
            subject = f"$KV.{subjects.LEASES}.{self._key}"
            entry = await self._link.last(f"KV_{subjects.LEASES}", subject, self._name)
            if entry is None or entry.data != self._value:
                other = entry.data if entry else b"it is going"
                told = other.decode(errors="replace").partition(" ")[0]
                raise LinkError(f"another living gateway has this name: {told}") from None
            self._revision = entry.sequence

    async def keep(self) -> None:
        """Renew it as long as this is wanted.

        Raises:
            LinkError: somebody else has it.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                self._revision = await self._bucket.update(
                    self._key, self._value, last=self._revision
                )
            except KeyWrongLastSequenceError:
                await self.take()


async def _bucket(stream: JetStreamContext, name: str, ttl_s: int) -> KeyValue:
    """The key-value bucket, made where there is none."""
    try:
        return await stream.key_value(name)
    except NotFoundError:
        return await stream.create_key_value(bucket=name, ttl=ttl_s)


def _reader(worker: Worker) -> str:
    """The consumer that looks up what the stream has; "" where its leader may be asked."""
    return worker.gateway_name if worker.options["own_reads"] else ""


def _is_behind(source: JournalSource, publisher: str, chain: Chain) -> bool:
    """Whether the stream has less than was delivered."""
    delivered = source.position(publisher)
    return chain.place[:2] < (delivered.epoch, delivered.sequence)


def _publishers(batch: Batch) -> list[str]:
    found = [reading.publisher for reading in batch.readings]
    return list(dict.fromkeys(found + [gap.publisher for gap in batch.gaps]))
