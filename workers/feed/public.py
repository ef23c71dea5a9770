"""The feed on TCP: a second pair of sockets for subscribers from outside the gateway.

    [feed] publish  ──► XPUB   subscriptions decided one by one (`workers.feed_access`)
    [feed] request  ──► ROUTER snapshot and replay, so many a second for each connection

Both are opened together, and tried again at every tick while a port is taken: the gateway's own
sockets do not depend on them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.bus.feed_requests import Refused
from cpppod.protocols.model.addresses import is_loopback
from cpppod.workers.bus.zeromq import Bus, BusError, Socket
from cpppod.workers.feed.access import (
    FeedAccess,
    KeyFileError,
    RequestRate,
    read_client_keys,
    read_secret_key,
)
from cpppod.workers.process.limited_log import strangers

PUBLISH_QUEUE = 1_000  # blocks that a slow subscriber may lag; 1.5 MB of blocks of 100 values
REQUEST_QUEUE = 32  # pages of 256 KB on their way to one peer: 8 MB

log = logging.getLogger("cpppod")


@dataclass(frozen=True, slots=True)
class PublicSettings:
    """What of `[feed]` is about TCP, with the files read."""

    publish: str
    request: str
    secret_key: bytes
    clients: tuple[tuple[str, str], ...]


def read_settings(options: dict[str, Any]) -> PublicSettings | None:
    """The settings in the feed's options; None if it is not to be had on TCP.

    Raises:
        KeyFileError: a key file cannot be used, or there is none and an address is not loopback.
    """
    publish, request = str(options.get("publish", "")), str(options.get("request", ""))
    if not publish or not request:
        return None
    secret_file, clients_file = options.get("secret_key_file"), options.get("client_keys_file")
    if secret_file and clients_file:
        clients = tuple(sorted(read_client_keys(clients_file).items()))
        return PublicSettings(publish, request, read_secret_key(secret_file), clients)
    for address in (publish, request):
        if not is_loopback(address):
            raise KeyFileError(
                f"feed on {address}: reachable from other machines; set secret_key_file and "
                "client_keys_file, or use 127.0.0.1"
            )
    return PublicSettings(publish, request, b"", ())


class PublicFeed:
    """The pair of sockets, who may use them, and the trouble with opening them.

    Attributes:
        trouble: why it is not open, "" if it is.
    """

    def __init__(
        self, bus: Bus, settings: PublicSettings, answer: Callable[[bytes], bytes]
    ) -> None:
        self.settings = settings
        self.trouble = "not open yet"
        self._said = ""
        self.publish_access = FeedAccess(settings.secret_key, dict(settings.clients))
        self.request_access = FeedAccess(settings.secret_key, dict(settings.clients))
        self._bus = bus
        self._answer = answer
        self._rate = RequestRate()
        self._publications: Socket | None = None
        self._requests: Socket | None = None
        self._now = 0.0
        self._turned_away = 0

    def tick(self, now: float) -> None:
        """Open what is not open; tell the log who was turned away."""
        self._now = now
        if self._requests is None:
            self._open()
        reasons = self.turned_away()
        if sum(reasons.values()) > self._turned_away:
            self._turned_away = sum(reasons.values())
            strangers.warning(log, "feed turned peers away totals=%s", reasons)

    def send(self, topic: bytes, payload: bytes) -> None:
        """Publish to whoever has subscribed; who lags too far behind loses it."""
        if self._publications is not None:
            self._publications.send(topic, payload)

    def turned_away(self) -> dict[str, int]:
        """Reason -> how many peers, or their subscriptions and requests, were refused."""
        reasons = dict(self.publish_access.turned_away)
        for reason, count in self.request_access.turned_away.items():
            reasons[reason] = reasons.get(reason, 0) + count
        return reasons

    def endpoints(self) -> tuple[str, str]:
        """Where the two are bound; "" where they are not."""
        return (
            self._publications.endpoint if self._publications else "",
            self._requests.endpoint if self._requests else "",
        )

    def close(self) -> None:
        """Close both."""
        for socket in (self._publications, self._requests):
            if socket is not None:
                socket.close()
        self._publications = self._requests = None

    def _open(self) -> None:
        try:
            if self._publications is None:
                self._publications = self._bus.public_publisher(
                    "feed.pub tcp",
                    self.publish_access,
                    endpoint=f"tcp://{self.settings.publish}",
                    queue=PUBLISH_QUEUE,
                )
            self._requests = self._bus.public_router(
                "feed.req tcp",
                self._on_request,
                self.request_access,
                endpoint=f"tcp://{self.settings.request}",
                queue=REQUEST_QUEUE,
            )
        except BusError as error:
            if str(error) == self.trouble != self._said:  # one closed just now holds it for a turn
                self._said = self.trouble
                log.error("feed not on TCP: %s", error)
            self.trouble = str(error)
            return
        self.trouble = self._said = ""
        curve = "with CURVE" if self.settings.secret_key else "without CURVE"
        log.info("feed on TCP %s publish=%s request=%s", curve, *self.endpoints())

    def _on_request(self, frames: list[bytes]) -> None:
        if self._requests is None or len(frames) != 2:
            self.request_access.refused("request of wrong parts")
            return
        identity, request = frames
        if self._rate.allows(identity, self._now):
            self._requests.send(identity, self._answer(request))
        else:
            self.request_access.refused("too many requests")
            self._requests.send(identity, Refused(0, "too many requests").encode())
