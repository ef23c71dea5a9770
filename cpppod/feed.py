"""Subscribe to a gateway's values: `for update in subscribe("tcp://127.0.0.1:44880", "boiler/*")`.

    subscribe     for a plain program: blocks until the next update
    Subscriber    for asyncio: `async with Subscriber(url) as feed: async for update in feed`

Both begin with the last value of everything that matches, then bring every block in order. What was
lost on the way is fetched again; what cannot be had any more is said in `Update.lost`, and the
groups concerned come whole again, so that the values are right from there on. Values whose
publisher has gone silent come once more as stale. `docs/feed.md` has the format for other
languages.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cpppod.protocols.bus.feed import Kind, ValueMessage, gateway_of
from cpppod.protocols.bus.feed_events import (
    Counters,
    Event,
    Joined,
    Lost,
    PublisherChanged,
    Updated,
)
from cpppod.protocols.bus.topics import MAX_SUBSCRIPTIONS, prefix, split
from cpppod.protocols.model.addresses import AddressError, socket_address
from cpppod.protocols.model.values import Quality, explain, is_bad
from cpppod.workers.bus.access import CurveClient
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.zeromq import Bus, BusError, curve_public_key, new_curve_keys

__all__ = ["CurveClient", "FeedError", "Lost", "Sample", "Subscriber", "Update", "subscribe"]

JOIN_TIMEOUT_S = 10.0
MAX_WAITING = 10_000  # updates that the program has not taken yet; then the feed has to wait


class FeedError(Exception):
    """The feed cannot be joined; the text says why, and what to try."""


class Sample(NamedTuple):
    """One value and what it is worth; `value` is None where `quality` is bad."""

    value: Any
    quality: int = Quality.GOOD

    @property
    def good(self) -> bool:
        """Whether it is fresh and certain."""
        return self.quality & 0xFF == Quality.GOOD

    def __str__(self) -> str:
        return str(self.value) if self.good else f"{self.value} ({explain(self.quality)})"


@dataclass(frozen=True, slots=True)
class Update:
    """A group of a device was read.

    Attributes:
        values: tag -> sample of what changed; of all members where `whole`. What is not named was
            confirmed unchanged.
        source_us: when the device was read, microseconds since 1970; `gateway_us`: when published.
        repeat: not a new reading: what the group was worth as of `sequence`, with that time.
        replayed: it was lost on the way here, and fetched again.
        lost: what could not be had any more just before this.
        gateway: id of the gateway that read it; "" from one that does not say.
    """

    device: str
    group: str
    values: dict[str, Sample]
    source_us: int
    gateway_us: int
    publisher: str
    epoch: int
    sequence: int
    whole: bool = False
    repeat: bool = False
    replayed: bool = False
    lost: tuple[Lost, ...] = ()
    gateway: str = ""

    @property
    def time(self) -> datetime:
        """When the device was read, UTC."""
        return datetime.fromtimestamp(self.source_us / 1e6, UTC)


class Subscriber:
    """A subscription within asyncio; iterate over it, or await `batch`.

    Args:
        url: `tcp://host:port` of `[feed] publish`, or `ipc://` and the gateway's bus directory.
        patterns: `*`, `device`, `device/*` or `device/group`; none means everything.
        requests: URL of `[feed] request`; the port after the other by default.
        curve: this client's secret and the feed's public key, where the feed wants keys.

    Attributes:
        last: `device.tag` -> its last sample.
        silent: publishers whose heartbeats do not come: what they sent last is stale.
        counters: what was received, lost and repaired.
    """

    def __init__(
        self,
        url: str,
        *patterns: str,
        requests: str = "",
        curve: CurveClient | None = None,
        join_timeout_s: float = JOIN_TIMEOUT_S,
    ) -> None:
        self.last: dict[str, Sample] = {}
        self.silent: set[str] = set()
        self.counters = Counters()
        self._gateways: dict[str, tuple[int, str]] = {}  # publisher -> epoch, its gateway
        self._url = url
        self._publications, self._requests = _endpoints(url, requests)
        self._prefixes = tuple(dict.fromkeys(map(prefix, patterns))) or (b"",)
        self._curve = curve
        self._join_timeout_s = join_timeout_s
        self._bus: Bus | None = None
        self._subscription: FeedSubscription | None = None
        self._waiting: deque[Update] = deque()
        self._lost: list[Lost] = []
        self._groups: dict[bytes, tuple[ValueMessage, dict[str, Sample]]] = {}
        self._news = asyncio.Event()
        self._joined = asyncio.Event()

    async def __aenter__(self) -> "Subscriber":
        """Join the feed.

        Raises:
            FeedError: nobody answers there, or these are more patterns than a feed takes.
        """
        most = MAX_SUBSCRIPTIONS - 1  # one is for heartbeats
        if b"" not in self._prefixes and len(self._prefixes) > most:
            raise FeedError(
                f"{len(self._prefixes)} patterns: a feed takes at most {most} of one subscriber; "
                'name whole devices ("boiler/*"), or everything ("*")'
            )
        self._bus = Bus("", None)
        try:
            self._subscription = FeedSubscription(
                self._bus,
                self._on_event,
                prefixes=self._prefixes,
                publications=self._publications,
                requests=self._requests,
                curve=self._curve,
            )
            self.counters = self._subscription.joiner.counters
            await asyncio.wait_for(self._joined.wait(), self._join_timeout_s)
        except BusError as error:
            self._bus.close()
            raise FeedError(str(error)) from None
        except TimeoutError:
            self._bus.close()
            keys = "" if self._curve else ", or wants keys"
            raise FeedError(
                f"no answer from {self._requests} in {self._join_timeout_s:g} s: the gateway is "
                f"not running, has no [feed] addresses{keys}; try cpppoctl status"
            ) from None
        return self

    async def __aexit__(self, *unused: object) -> None:
        """Leave the feed."""
        if self._bus is not None and self._subscription is not None:
            self._subscription.close()
            self._bus.close()

    def __aiter__(self) -> AsyncIterator[Update]:
        return self._each()

    async def batch(self) -> list[Update]:
        """The updates that have come since the last call, at least one."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        updates = list(self._waiting)
        self._waiting.clear()
        if self._subscription is not None and len(updates) >= MAX_WAITING:
            self._subscription.resume()
        return updates

    async def _each(self) -> AsyncIterator[Update]:
        while True:
            for update in await self.batch():
                yield update

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._on_update(event)
        elif isinstance(event, Lost):
            self._lost.append(event)
        elif isinstance(event, Joined):
            self._joined.set()
        elif isinstance(event, PublisherChanged):
            self._on_publisher(event)

    def _on_update(self, event: Updated) -> None:
        message = event.message
        self._learn_gateway(message, event.payload)
        samples = {tag: Sample(value, quality) for tag, value, quality in message.body.samples()}
        repeat = message.kind == Kind.REPEAT
        whole = repeat or len(samples) == message.body.members
        known = self._groups.get(event.topic)
        held = samples if whole or known is None else known[1] | samples
        self._groups[event.topic] = (message, held)
        self._add(event.topic, message, samples, whole, repeat, event.replayed)

    def _learn_gateway(self, message: ValueMessage, payload: bytes) -> None:
        """Whose worker a publisher is: looked up once a life."""
        epoch, _ = self._gateways.get(message.publisher, (-1, ""))
        if epoch != message.epoch:
            self._gateways[message.publisher] = (message.epoch, gateway_of(payload))

    def _on_publisher(self, event: PublisherChanged) -> None:
        """Silent: what it sent is stale. Back in the same life: what it sent holds again."""
        if not event.alive:
            self.silent.add(event.publisher)
        elif event.publisher in self.silent:
            self.silent.discard(event.publisher)
        else:
            return
        for topic, (message, samples) in self._groups.items():
            if message.publisher == event.publisher and message.epoch == event.epoch:
                now = samples if event.alive else {tag: _stale(old) for tag, old in samples.items()}
                self._add(topic, message, now, True, True, False)

    def _add(
        self,
        topic: bytes,
        message: ValueMessage,
        samples: dict[str, Sample],
        whole: bool,
        repeat: bool,
        replayed: bool,
    ) -> None:
        device, group = split(topic)
        for tag, sample in samples.items():
            self.last[f"{device}.{tag}"] = sample
        lost, self._lost = tuple(self._lost), []
        self._waiting.append(
            Update(
                device,
                group,
                samples,
                message.source_us,
                message.gateway_us,
                message.publisher,
                message.epoch,
                message.sequence,
                whole,
                repeat,
                replayed,
                lost,
                self._gateways.get(message.publisher, (0, ""))[1],
            )
        )
        self._news.set()
        if len(self._waiting) >= MAX_WAITING and self._subscription is not None:
            self._subscription.pause()


def subscribe(
    url: str,
    *patterns: str,
    requests: str = "",
    curve: CurveClient | None = None,
    timeout_s: float | None = None,
    join_timeout_s: float = JOIN_TIMEOUT_S,
) -> Iterator[Update]:
    """Every update, as it comes; the arguments are those of `Subscriber`.

    Raises:
        FeedError: nobody answers there.
        TimeoutError: no update for `timeout_s` (None: no limit).
    """
    loop = asyncio.SelectorEventLoop()
    try:
        subscriber = Subscriber(
            url, *patterns, requests=requests, curve=curve, join_timeout_s=join_timeout_s
        )
        loop.run_until_complete(subscriber.__aenter__())
        try:
            while True:
                yield from loop.run_until_complete(asyncio.wait_for(subscriber.batch(), timeout_s))
        finally:
            loop.run_until_complete(subscriber.__aexit__())
    finally:
        loop.close()


def _stale(sample: Sample) -> Sample:
    return sample if is_bad(sample.quality) else Sample(sample.value, Quality.STALE)


def _endpoints(url: str, requests: str) -> tuple[str, str]:
    """Where blocks are published, and where snapshots are asked for."""
    if url.startswith("ipc://"):
        return f"{url.rstrip('/')}/feed.pub", f"{url.rstrip('/')}/feed.req"
    try:
        if not url.startswith("tcp://"):
            raise AddressError(url)
        publish = socket_address(url.removeprefix("tcp://"))
    except AddressError:
        raise FeedError(f"{url!r}: expected tcp://host:port or ipc:///run/cpppod/bus") from None
    return url, requests or f"tcp://{publish._replace(port=publish.port + 1)}"


def main(argv: list[str]) -> int:
    """`python -m cpppod.feed new-key FILE`: make a CURVE key pair."""
    if len(argv) != 2 or argv[0] != "new-key":
        print("usage: python -m cpppod.feed new-key FILE", file=sys.stderr)
        return 2
    public, secret = new_curve_keys()
    try:
        descriptor = os.open(argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret + b"\n")
    except OSError as error:
        print(f"cpppod.feed: {argv[1]}: {error.strerror}; try another name", file=sys.stderr)
        return 1
    print(f"secret key in {argv[1]}; public key:")
    print(curve_public_key(secret).decode())
    return 0 if public else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
