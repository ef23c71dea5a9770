"""What the feed decides: which messages pass, who must repeat, what is lost, who gets which answer.

    publisher ── value message ──► Exchange.ingest ──► pass it on, or drop and count it
                                       │ last values, replay ring, numbers of each publisher
    subscriber ── request ───────► Exchange.answer ──► a page, or why not

Per publisher the numbers must go up by one. A jump is counted as lost and makes the feed ask for
the last blocks again (`Resend`), since what was lost may have changed a member that the next block
does not name.
"""

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.feed import Kind, ValueMessage
from cpppod.protocols.bus.feed_requests import (
    Refused,
    ReplayRequest,
    SnapshotPage,
    decode_request,
)
from cpppod.protocols.bus.last_values import LastValues
from cpppod.protocols.bus.replay import ReplayRing
from cpppod.protocols.bus.topics import HEARTBEATS, heartbeat_topic, split
from cpppod.protocols.model.errors import DecodeError, EncodeError

FEED = "feed"  # the publisher of the feed's own heartbeats, whose topic is `$/feed/`
SILENT_AFTER_S = 2.5  # two heartbeats missed
RESEND_EVERY_S = 1.0  # to one publisher, until it has repeated
FORGET_S = 60.0  # after so long in a new life, what a publisher has not repeated is no more
MAX_PUBLISHERS = 1_000  # workers of one gateway


class Publisher:
    """What is known of one publisher's numbers."""

    __slots__ = ("alive", "began", "epoch", "heard", "identity", "lost", "resend_at", "sequence")

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.epoch = 0
        self.sequence = 0
        self.began = 0.0
        self.heard = 0.0
        self.alive = True
        self.lost = 0
        self.resend_at: float | None = None  # when to ask (again) for its last blocks


class Exchange:
    """The feed's decisions.

    Attributes:
        epoch: this feed's own.
        values: samples in blocks passed on; `blocks`: those blocks.
        publishers: by id, with what each has `lost`: messages that never came.
        dropped: reason -> messages not passed on.
        due: some publisher has to repeat: `tick` now, do not wait for the next.
    """

    def __init__(self, epoch: int, ring: ReplayRing, gateway: str = "") -> None:
        self.epoch = epoch
        self.gateway = gateway
        self.ring = ring
        self.last_values = LastValues(gateway)
        self.publishers: dict[str, Publisher] = {}
        self.blocks = 0
        self.values = 0
        self.dropped: dict[str, int] = {}
        self.snapshots = 0
        self.replayed = 0
        self.due = False
        self._forget_at = 0.0

    def ingest(self, identity: bytes, topic: bytes, payload: bytes, now: float) -> bool:
        """Whether the message passes; what does not is counted under its reason."""
        try:
            message = feed.decode(payload)
            if message.kind == Kind.HEARTBEAT:
                if topic != heartbeat_topic(message.publisher):
                    return self._drop("topic")
            elif topic.startswith(HEARTBEATS):
                return self._drop("topic")
            elif topic not in self.last_values:
                split(topic)
        except DecodeError:
            return self._drop("malformed")
        if message.publisher.encode() != identity:
            return self._drop("forged")
        publisher = self.publishers.get(message.publisher)
        if publisher is None:
            if len(self.publishers) >= MAX_PUBLISHERS or message.publisher == FEED:
                return self._drop("publishers")
            publisher = self.publishers[message.publisher] = Publisher(identity)
        if message.epoch < publisher.epoch:
            return self._drop("old epoch")
        if message.epoch > publisher.epoch:
            self._begin(publisher, message, now)
        publisher.heard = now
        publisher.alive = True
        if message.kind == Kind.BLOCK:
            return self._block(publisher, topic, payload, message, now)
        if message.kind == Kind.HEARTBEAT:
            return self._heartbeat(publisher, message, now)
        if message.kind == Kind.REPEAT:
            return self._repeat(publisher, topic, message)
        return True  # a kind of a later version: for those who know it

    def answer(self, frame: bytes) -> bytes:
        """The reply to a request."""
        try:
            request = decode_request(frame)
        except DecodeError as error:
            self._drop("bad request")
            return Refused(error.status, str(error)).encode()
        try:
            if isinstance(request, ReplayRequest):
                replay = self.ring.page(request, self.epoch)
                self.replayed += len(replay.messages)
                return replay.encode()
            self.snapshots += not request.after
            messages, following = self.last_values.page(request.prefixes, request.after)
            publishers = {
                name: [known.epoch, known.sequence, int(known.alive)]
                for name, known in self.publishers.items()
            }
            page = SnapshotPage(request.id, self.epoch, publishers, messages, following)
            return page.encode()
        except EncodeError as error:
            return Refused(request.id, str(error)).encode()

    def tick(self, now: float) -> list[bytes]:
        """Identities of the publishers to send a `Resend`; silent ones are no longer alive."""
        self.ring.expire(now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_S
            self._forget_past_lives(now)
        self.due = False
        asked = []
        for publisher in self.publishers.values():
            if now - publisher.heard > SILENT_AFTER_S:
                publisher.alive = False
            elif publisher.resend_at is not None and publisher.resend_at <= now:
                publisher.resend_at = now + RESEND_EVERY_S
                asked.append(publisher.identity)
        return asked

    def heartbeat(self, *, gateway_us: int, mono_us: int) -> tuple[bytes, bytes]:
        """The feed's own: its epoch tells subscribers of a restart."""
        times = (0, 0, 0, gateway_us, mono_us)
        message = ValueMessage(FEED, self.epoch, *times, Kind.HEARTBEAT, {})
        return heartbeat_topic(FEED), message.encode(self.gateway)

    def keep_only(self, devices: set[str]) -> None:
        """Forget the values of devices that are not configured any more; local tags stay."""
        gone = {name for name in self.last_values.topics() if split(name)[0] not in devices}
        self.last_values.forget({name for name in gone if split(name)[0] != "local"})

    def _begin(self, publisher: Publisher, message: ValueMessage, now: float) -> None:
        """A publisher's new life, or the first that this feed hears of it."""
        first_heard = publisher.epoch == 0 and message.epoch < self.epoch
        publisher.epoch = message.epoch
        publisher.began = now
        publisher.sequence = 0
        if first_heard and message.kind == Kind.BLOCK:
            publisher.sequence = message.sequence - 1  # what was before is not this feed's loss
        elif first_heard:
            publisher.sequence = message.sequence
        publisher.resend_at = None
        if message.sequence > 1 or first_heard:
            self._want(publisher)
        self.ring.reached(message.publisher, message.epoch, publisher.sequence)

    def _block(
        self,
        publisher: Publisher,
        topic: bytes,
        payload: bytes,
        message: ValueMessage,
        now: float,
    ) -> bool:
        if message.sequence <= publisher.sequence:
            return self._drop("repeated sequence")
        self._advance(publisher, message.sequence - 1)
        publisher.sequence = message.sequence
        self.last_values.apply(topic, message)
        self.ring.append(
            message.publisher, message.epoch, message.sequence, (topic, payload), now=now
        )
        self.blocks += 1
        self.values += len(message.body.tags)
        return True

    def _heartbeat(self, publisher: Publisher, message: ValueMessage, now: float) -> bool:
        if message.sequence > publisher.sequence:
            self._advance(publisher, message.sequence)
            publisher.sequence = message.sequence
            self.ring.reached(message.publisher, message.epoch, message.sequence)
        name, epoch = message.publisher, message.epoch
        if publisher.resend_at is None and any(
            self.last_values.sequence(topic.encode(), name, epoch) < sequence
            for topic, sequence in message.body.items()
        ):
            self._want(publisher)
        return True

    def _repeat(self, publisher: Publisher, topic: bytes, message: ValueMessage) -> bool:
        publisher.resend_at = None
        if message.sequence > publisher.sequence:
            return self._drop("repeat ahead of its block")
        if not self.last_values.apply(topic, message):
            return self._drop("repeat out of date")
        return True

    def _advance(self, publisher: Publisher, reached: int) -> None:
        """The numbers up to `reached` have been given out; those that did not come are lost."""
        missing = reached - publisher.sequence
        if missing > 0:
            publisher.lost += missing
            self._want(publisher)

    def _forget_past_lives(self, now: float) -> None:
        """Drop topics that their publisher, alive for long in another epoch, has not said again."""
        gone = set()
        for topic in self.last_values.topics():
            name, epoch = self.last_values.source(topic)
            publisher = self.publishers.get(name)
            if publisher and epoch < publisher.epoch and now - publisher.began > FORGET_S:
                gone.add(topic)
        self.last_values.forget(gone)

    def _want(self, publisher: Publisher) -> None:
        publisher.resend_at = 0.0
        self.due = True

    def _drop(self, reason: str) -> bool:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return False
