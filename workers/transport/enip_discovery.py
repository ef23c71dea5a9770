"""The UDP side of an EtherNet/IP target: ListIdentity, ListServices, ListInterfaces, legacy 0x0001.

    one socket on 0.0.0.0:port  for every target with that port: hears broadcasts; IP_PKTINFO tells
                                on which of our addresses, and so which target answers
    one socket on address:port  for each target bound to an address: gets what is sent there;
                                IPv6 has this one alone: it knows no broadcast, and the answers
                                have room for an IPv4 address only

Answers at a bounded rate, per source and in all: a small question with a forged source must not
make us a flood. Nothing else is ever answered over UDP.
"""

import asyncio
import logging
import socket
import struct
import sys
from typing import Any

from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.target.list_commands import answer_datagram
from cpppod.workers.transport.sockets import family_of, only_ipv6, words

log = logging.getLogger("cpppod.enip")

PER_SOURCE = 20.0  # answers a second to one source
IN_ALL = 200.0  # answers a second
MAX_SOURCES = 1_000  # sources remembered; the oldest is forgotten
BURST = 64  # datagrams taken in one turn of the loop
LARGEST = 2_048  # bytes of a datagram that is looked at
_PKTINFO = struct.Struct("=I4s4s")
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)


class Bucket:
    """A rate: so many tokens a second, twice as many saved up."""

    __slots__ = ("at", "rate", "tokens")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.tokens = 2 * rate
        self.at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed."""
        self.tokens = min(2 * self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RateLimit:
    """Who may have an answer now."""

    def __init__(self, now: float) -> None:
        self._all = Bucket(IN_ALL, now)
        self._sources: dict[str, Bucket] = {}

    def allows(self, source: str, now: float) -> bool:
        """Whether a datagram of this source is answered."""
        bucket = self._sources.get(source)
        if bucket is None:
            if len(self._sources) >= MAX_SOURCES:
                self._sources.pop(next(iter(self._sources)))
            bucket = self._sources[source] = Bucket(PER_SOURCE, now)
        return bucket.take(now) and self._all.take(now)


class Discovery:
    """All UDP sockets of one process.

    Attributes:
        answered, refused: datagrams, counted.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.answered = 0
        self.refused = 0
        self._limit = RateLimit(self.loop.time())
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._targets: dict[int, dict[str, Target]] = {}
        self._plain: dict[tuple[str, int], asyncio.DatagramTransport] = {}

    async def add(self, target: Target, host: str, port: int) -> tuple[str, int]:
        """Answer for a target bound to `host` ("" or 0.0.0.0: all interfaces); the address bound.

        Raises:
            OSError: the address is not to be had.
        """
        host = host or "0.0.0.0"
        if sys.platform != "linux" or ":" in host:
            return await self._add_plain(target, host, port)
        bound = self._open(host, port, target) if host != "0.0.0.0" else ("0.0.0.0", port)
        port = bound[1]
        try:
            bound_all = self._open("0.0.0.0", port, None)
        except OSError as error:
            if host == "0.0.0.0":
                raise
            log.warning("no broadcasts port=%d why=%s", port, words(error))
            bound_all = bound
        self._targets.setdefault(bound_all[1], {})[host] = target
        return (host, bound_all[1])

    def remove(self, host: str, port: int) -> None:
        """Stop answering for the target bound there."""
        host = host or "0.0.0.0"
        targets = self._targets.get(port, {})
        targets.pop(host, None)
        self._close((host, port))
        if plain := self._plain.pop((host, port), None):
            plain.close()
        if not targets:
            self._close(("0.0.0.0", port))

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._sockets):
            self._close(key)
        for transport in self._plain.values():
            transport.close()
        self._plain.clear()
        self._targets.clear()

    def _close(self, key: tuple[str, int]) -> None:
        sock = self._sockets.pop(key, None)
        if sock is not None:
            self.loop.remove_reader(sock.fileno())
            sock.close()

    def _open(self, host: str, port: int, target: Target | None) -> tuple[str, int]:
        if (host, port) in self._sockets:
            return host, port
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setblocking(False)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        bound: tuple[str, int] = sock.getsockname()
        self._sockets[bound] = sock
        self.loop.add_reader(sock.fileno(), self._readable, sock, target)
        return bound

    def _readable(self, sock: socket.socket, target: Target | None) -> None:
        for _ in range(BURST):
            try:
                data, ancillary, _flags, source = sock.recvmsg(LARGEST, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            self._answer(sock, target, data, ancillary, source)

    def _answer(
        self, sock: socket.socket, target: Target | None, data: bytes, ancillary: Any, source: Any
    ) -> None:
        local = _local_address(ancillary)
        port = sock.getsockname()[1]
        chosen = {local: target} if target is not None else self._hearing(port, local)
        for address, found in chosen.items():
            reply = answer_datagram(found, data, address, port)
            if reply is None:
                self.refused += 1
                return
            if not self._limit.allows(source[0], self.loop.time()):
                self.refused += 1
                return
            self.answered += 1
            try:
                sock.sendmsg([reply], [_from_address(address)], 0, source)
            except OSError:
                self.refused += 1

    def _hearing(self, port: int, local: str) -> dict[str, Target]:
        """Which target a datagram on the wildcard socket is for: that of the address it came to."""
        targets = self._targets.get(port, {})
        found = targets.get(local) or targets.get("0.0.0.0")
        return {local: found} if found is not None else {}

    async def _add_plain(self, target: Target, host: str, port: int) -> tuple[str, int]:
        discovery = self

        class Datagrams(asyncio.DatagramProtocol):
            transport: asyncio.DatagramTransport | None = None

            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, source: Any) -> None:
                reply = answer_datagram(target, data, *bound)
                now = discovery.loop.time()
                if reply and self.transport and discovery._limit.allows(source[0], now):
                    discovery.answered += 1
                    self.transport.sendto(reply, source)
                else:
                    discovery.refused += 1

        sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
        try:
            only_ipv6(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            sock.bind((host, port))
            bound = (host, sock.getsockname()[1])
            transport, _ = await self.loop.create_datagram_endpoint(Datagrams, sock=sock)
        except OSError:
            sock.close()
            raise
        self._plain[bound] = transport
        return bound


def _local_address(ancillary: Any) -> str:
    """Our own address on the interface that a datagram came in by."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _PKTINFO.size:
            _, ours, _destination = _PKTINFO.unpack_from(data)
            return socket.inet_ntoa(ours)
    return "0.0.0.0"


def _from_address(address: str) -> tuple[int, int, bytes]:
    """Ancillary data that has the reply leave from `address`."""
    info = _PKTINFO.pack(0, socket.inet_aton(address), bytes(4))
    return socket.IPPROTO_IP, _IP_PKTINFO, info
