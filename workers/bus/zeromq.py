"""The bus: the only module that speaks ZeroMQ.

    Bus ─ Socket   ROUTER  a long-lived party binds it: `router`, `control`, `ingest`, `feed.req`
                   DEALER  a worker connects it; its identity is the worker's name
                   XPUB    the feed's way out; SUB the way in to whoever listens

A socket's descriptor is edge-triggered: it says that something changed, once. So a socket is
drained until EAGAIN after every wake and after every send (a send may swallow the edge),
`MAX_A_TURN` messages a turn of the loop, and takes its next turn by itself. Nothing here ever
waits: what cannot be sent now is counted.

Frames go in and out as `bytes`; what they mean is `protocols.bus`.
"""

import asyncio
import os
import pathlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import (
    SHUT_RDWR,
    SO_RCVBUF,
    SO_SNDBUF,
    SOL_SOCKET,
)
from socket import socket as TcpSocket

import zmq
import zmq.utils.z85

from cpppod.protocols.bus.codec import MAX_MESSAGE
from cpppod.protocols.model.addresses import socket_address
from cpppod.workers.bus.access import AccessPolicy, CurveClient
from cpppod.workers.state import lock
from cpppod.workers.transport.sockets import listening

MAX_A_TURN = 256  # messages of one socket per turn of the loop: about 5 ms at 20 us each
MAX_FRAMES = 10  # of one message: ours have 3 at most, a ZAP request 9
MAX_IPC_PATH = 107  # bytes: sun_path (unix(7)) less its closing NUL
SEND_QUEUE = 4_000  # messages for one peer: what a reader may lag before it loses some
RECEIVE_QUEUE = 4_000
HANDSHAKE_MS = 5_000  # a peer that connects and says nothing is dropped
RECONNECT_MS = 10  # first wait, doubling ...
RECONNECT_MAX_MS = (
    250  # ... up to this: a restarted feed has its publishers back in a quarter second
)
HEARTBEAT_MS = 5_000  # on TCP only: finds the peer that vanished without a word
# 100,000 subscriptions at once cost 324 MB without these two (1 stalls libzmq 4.3.5 now and then)
SUBSCRIPTION_QUEUE = 4  # subscriptions that libzmq takes in before we can refuse the next ...
DOOR_BUFFER = 4_096  # ... and bytes before that
BACKLOG = 512  # connections waiting at bind: every worker connects at once after a start

# As numbers: pyzmq's enumerations cost microseconds at each use
_NO_WAIT, _SEND_MORE = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE)
_EVENTS, _POLLIN, _RECEIVE_MORE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.RCVMORE)

OnFrames = Callable[[list[bytes]], None]


HANDSHAKE_FAILURES = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake broken off",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "not ZeroMQ, or without CURVE",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "key not listed",
}
ZAP = "inproc://zeromq.zap.01"  # RFC 27: where libzmq asks
EVENT = struct.Struct("=HI")


class BusError(Exception):
    """A socket cannot be had; the text says which, and what to look at."""


@dataclass(slots=True)
class Counters:
    """What went through a socket, and what did not.

    Attributes:
        unsent: messages refused because the peer's queue is full, or nobody is connected.
        unroutable: messages for an identity that is not connected.
        malformed: messages of more than `MAX_FRAMES` frames, dropped on receipt.
    """

    received: int = 0
    sent: int = 0
    unsent: int = 0
    unroutable: int = 0
    malformed: int = 0


class Socket:
    """A ZeroMQ socket on the running loop; made by `Bus`, closed with it or by `close`.

    Attributes:
        name: what it is called in metrics and logs.
        counters: see `Counters`.
    """

    __slots__ = (
        "_closed",
        "_loop",
        "_paused",
        "_scheduled",
        "_siblings",
        "_socket",
        "counters",
        "name",
        "on_frames",
        "receive",
        "watcher",
    )

    def __init__(
        self,
        name: str,
        socket: "zmq.Socket[bytes]",
        on_frames: OnFrames,
        siblings: "list[Socket]",
    ) -> None:
        self.name = name
        self._siblings = siblings
        self._paused = False
        siblings.append(self)
        self.counters = Counters()
        self._socket = socket
        self.on_frames = on_frames
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._scheduled = False
        self.receive: Callable[[], list[bytes] | None] = self._receive
        self.watcher: Socket | None = None
        self._loop.add_reader(socket.fileno(), self._wake)
        self._schedule()

    def send(self, *frames: bytes) -> bool:
        """Whether the message was taken: False is counted, and the caller's to declare.

        To a ROUTER the first frame is the peer's identity.
        """
        send = self._socket.send
        last = len(frames) - 1
        try:
            for index, frame in enumerate(frames):
                send(frame, _SEND_MORE if index < last else _NO_WAIT)
        except zmq.Again:
            self.counters.unsent += 1
            return False
        except zmq.ZMQError as error:
            if self._closed or error.errno != zmq.EHOSTUNREACH:
                raise
            self.counters.unroutable += 1
            return False
        finally:
            self._schedule()  # sending can take the edge of what has come
        self.counters.sent += 1
        return True

    def _has_come(self) -> bool:
        """Whether there is something to receive; the descriptor tells of what comes from now on."""
        return bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)

    def subscribe(self, prefix: bytes) -> None:
        """Let messages whose topic begins with `prefix` through (SUB only)."""
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        self._schedule()

    def unsubscribe(self, prefix: bytes) -> None:
        """Undo one `subscribe` of `prefix` (SUB only)."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, prefix)
        self._schedule()

    @property
    def endpoint(self) -> str:
        """Where it is bound last; a port that was asked for as 0 is the real one here."""
        return self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def pause(self) -> None:
        """Receive nothing until `resume`: what arrives meanwhile queues up, then is lost."""
        self._paused = True

    def resume(self) -> None:
        """Receive again."""
        self._paused = False
        self._schedule()

    def close(self) -> None:
        """Drop what is queued and leave; further sends are an error of the caller's."""
        if not self._closed:
            self._closed = True
            self._siblings.remove(self)
            self._loop.remove_reader(self._socket.fileno())
            if self.watcher is not None:
                self._socket.disable_monitor()
                self.watcher.close()
            self._socket.close(0)

    def monitor(self) -> "zmq.Socket[bytes]":
        """A PAIR on which libzmq tells of connections that come, go, and fail (binding side)."""
        events = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | sum(HANDSHAKE_FAILURES)
        return self._socket.get_monitor_socket(events)

    def _wake(self) -> None:
        if not self._scheduled:  # else its turn comes by itself: one a turn of the loop
            self._drain()

    def _schedule(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Hand on what has arrived, at most `MAX_A_TURN` messages, then take another turn."""
        drained = False
        try:
            for _ in range(MAX_A_TURN):
                if self._closed or self._paused:
                    drained = True
                    if not self._closed:
                        self._has_come()  # takes the edge, which would wake the loop without end
                    return
                frames = self.receive()
                if frames is None:
                    drained = True
                    return
                self.on_frames(frames)
        finally:  # also when the receiver raised: the edge will not come again
            self._scheduled = False
            if not drained:
                self._schedule()

    def _receive(self) -> list[bytes] | None:
        """The next well-formed message, or None when there is none for now."""
        receive = self._socket.recv
        while self._has_come():
            try:
                frames = [receive(_NO_WAIT)]
            except zmq.Again:
                return None
            count = 1
            while self._socket.getsockopt(_RECEIVE_MORE):
                frame = receive(_NO_WAIT)
                count += 1
                if count <= MAX_FRAMES:
                    frames.append(frame)
            if count <= MAX_FRAMES:
                self.counters.received += 1
                return frames
            self.counters.malformed += 1
        return None


class Bus:
    """One process's sockets, and the folder in which the gateway's processes meet.

    Args:
        identity: the worker's name: what a ROUTER sees, and replies to.
        folder: where the ipc sockets lie (mode 0700); may be None where only TCP is used.
    """

    def __init__(self, identity: str, folder: str | os.PathLike[str] | None) -> None:
        self.identity = identity
        self._folder = None if folder is None else pathlib.Path(folder)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._process = os.getpid()
        self._locks: list[int] = []
        self._zap: Socket | None = None
        self._keeper: AccessPolicy | None = None
        self.sockets: list[Socket] = []
        _open.append(self)

    def router(self, name: str, on_frames: OnFrames) -> Socket:
        """A ROUTER bound to `name` in the folder; frames begin with the peer's identity.

        A worker that starts again under the same name takes its predecessor's place.
        """
        socket = self._socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return self._bind(name, socket, on_frames, self.path(name))

    def public_router(
        self, name: str, on_frames: OnFrames, access: AccessPolicy, *, endpoint: str, queue: int
    ) -> Socket:
        """A ROUTER for strangers, bound to a TCP endpoint, with what `access` decides."""
        socket = self._socket(zmq.ROUTER, send_queue=queue, largest=access.largest)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        return self._guard(self._bind(name, socket, on_frames, endpoint, access=access), access)

    def dealer(
        self,
        name: str,
        on_frames: OnFrames,
        *,
        endpoint: str = "",
        queue_while_away: bool = False,
        queue: int = SEND_QUEUE,
        named: bool = True,
        curve: CurveClient | None = None,
    ) -> Socket:
        """A DEALER connected to `name` in the folder, or to `endpoint`.

        Args:
            queue_while_away: keep what is sent while nobody is there (values), instead of refusing
                it at once (requests, which have deadlines).
            named: show the ROUTER this process's identity; one such socket for each ROUTER.
        """
        socket = self._socket(zmq.DEALER, send_queue=queue)
        if named and self.identity:
            socket.setsockopt(zmq.ROUTING_ID, self.identity.encode())
        socket.setsockopt(zmq.IMMEDIATE, 0 if queue_while_away else 1)
        if curve is not None:
            _set_client(socket, curve)
        return self._connect(name, socket, on_frames, endpoint)

    def publisher(self, name: str, on_frames: OnFrames, *, queue: int = SEND_QUEUE) -> Socket:
        """An XPUB; `on_frames` gets each new subscription: b"\\x01" or b"\\x00" and its prefix."""
        socket = self._socket(zmq.XPUB, send_queue=queue)
        return self._bind(name, socket, on_frames, self.path(name))

    def public_publisher(
        self, name: str, access: AccessPolicy, *, endpoint: str, queue: int
    ) -> Socket:
        """An XPUB for strangers, bound to a TCP endpoint; `access` decides on subscriptions."""
        socket = self._socket(
            zmq.XPUB, send_queue=queue, receive_queue=SUBSCRIPTION_QUEUE, largest=access.largest
        )
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        socket.setsockopt(zmq.RCVBUF, DOOR_BUFFER)
        added = self._bind(name, socket, _ignore, endpoint, access=access)
        added.receive = _manual_subscriptions(socket, access)
        return self._guard(added, access)

    def subscriber(
        self,
        name: str,
        on_frames: OnFrames,
        *,
        prefixes: Sequence[bytes] = (b"",),
        endpoint: str = "",
        queue: int = RECEIVE_QUEUE,
        curve: CurveClient | None = None,
    ) -> Socket:
        """A SUB connected to `name` in the folder, or to `endpoint`."""
        socket = self._socket(zmq.SUB, receive_queue=queue)
        if curve is not None:
            _set_client(socket, curve)
        for prefix in prefixes:
            socket.setsockopt(zmq.SUBSCRIBE, prefix)
        return self._connect(name, socket, on_frames, endpoint)

    def close(self) -> None:
        """Close every socket and give the ipc names back; takes no time (LINGER 0)."""
        if self not in _open:
            return
        _open.remove(self)
        for socket in list(self.sockets):
            socket.close()
        self._context.term()
        for descriptor in self._locks:
            os.close(descriptor)
        self._locks.clear()

    def path(self, name: str) -> str:
        """The ipc endpoint of `name`.

        Raises:
            BusError: there is no folder, or the path is too long for a Unix socket.
        """
        if self._folder is None:
            raise BusError(f"{name}: no folder for ipc sockets; pass one")
        path = str(self._folder / name)
        if len(path.encode()) > MAX_IPC_PATH:
            raise BusError(
                f"{path}: longer than the {MAX_IPC_PATH} bytes of a Unix socket's path; "
                "choose a shorter runtime directory"
            )
        return f"ipc://{path}"

    def _socket(
        self,
        kind: int,
        *,
        send_queue: int = SEND_QUEUE,
        receive_queue: int = RECEIVE_QUEUE,
        largest: int = MAX_MESSAGE,
    ) -> "zmq.Socket[bytes]":
        """A socket with every limit set; they must be there before it binds or connects."""
        if os.getpid() != self._process:
            raise BusError("the bus was made in another process: make one after the fork")
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, send_queue),
            (zmq.RCVHWM, receive_queue),
            (zmq.MAXMSGSIZE, largest),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
            (zmq.BACKLOG, BACKLOG),
        ):
            socket.setsockopt(option, value)
        return socket

    def _bind(
        self,
        name: str,
        socket: "zmq.Socket[bytes]",
        on_frames: OnFrames,
        endpoint: str,
        *,
        access: AccessPolicy | None = None,
    ) -> Socket:
        try:
            if endpoint.startswith("ipc://"):
                self._lock(endpoint.removeprefix("ipc://"))
            else:
                _for_tcp(socket)
                socket.setsockopt(zmq.USE_FD, _listening(socket, endpoint))
            if access is not None and access.secret_key:
                socket.setsockopt(zmq.CURVE_SECRETKEY, access.secret_key)
                socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(0)
            raise BusError(f"{endpoint}: cannot be bound: {error.strerror}") from None
        except OSError as error:
            socket.close(0)
            raise BusError(f"{endpoint}: cannot be bound: {error.strerror}") from None
        except BusError:
            socket.close(0)
            raise
        return self._add(name, socket, on_frames)

    def _guard(self, socket: Socket, access: AccessPolicy) -> Socket:
        """Tell `access` of every connection; with CURVE, ask it whose keys may come in."""
        if access.secret_key:
            self._keeper = access
            if self._zap is None:
                zap = self._socket(zmq.ROUTER)
                zap.bind(ZAP)
                self._zap = self._add("zap", zap, self._authenticate)
        monitor = socket.monitor()
        watcher = self._add(f"{socket.name} monitor", monitor, _ignore)
        watcher.on_frames = lambda frames: _connection_event(access, frames)
        socket.watcher = watcher
        return socket

    def _authenticate(self, frames: list[bytes]) -> None:
        """Answer a ZAP request (RFC 27): is this public key on the list?"""
        zap, keeper = self._zap, self._keeper
        if zap is None or keeper is None or len(frames) != 9 or frames[2] != b"1.0":
            return
        identity, _, version, request, _domain, _address, _routing_id, mechanism, key = frames
        user = keeper.user(zmq.utils.z85.encode(key)) if mechanism == b"CURVE" else ""
        verdict = (b"200", b"OK") if user else (b"400", b"key not listed")
        zap.send(identity, b"", version, request, *verdict, user.encode(), b"")

    def _connect(
        self, name: str, socket: "zmq.Socket[bytes]", on_frames: OnFrames, endpoint: str
    ) -> Socket:
        endpoint = endpoint or self.path(name)
        if endpoint.startswith("tcp://"):
            _for_tcp(socket)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            socket.close(0)
            raise BusError(f"{endpoint}: cannot be connected: {error.strerror}") from None
        return self._add(name, socket, on_frames)

    def _add(self, name: str, socket: "zmq.Socket[bytes]", on_frames: OnFrames) -> Socket:
        return Socket(name, socket, on_frames, self.sockets)

    def _lock(self, path: str) -> None:
        """Hold `<path>.lock`: a second bind takes an ipc path from its owner without a word."""
        try:
            descriptor = lock(pathlib.Path(f"{path}.lock"))
        except OSError:
            raise BusError(
                f"{path}: another process has bound it; is the gateway running?"
            ) from None
        self._locks.append(descriptor)


# A bus that nobody closed: its context, collected as garbage, would wait for its sockets.
_open: list[Bus] = []


def new_curve_keys() -> tuple[bytes, bytes]:
    """A CURVE key pair, public and secret, in Z85: 40 printable characters each."""
    return zmq.curve_keypair()


def curve_public_key(secret_key: bytes) -> bytes:
    """The public key that belongs to a secret one, both in Z85.

    Raises:
        BusError: not a key.
    """
    try:
        return zmq.curve_public(secret_key)
    except (zmq.ZMQError, ValueError):
        raise BusError("not a CURVE secret key: expected 40 characters of Z85") from None


def cut(peer: int) -> None:
    """End the connection with this descriptor, if it is one still; its peer may come again."""
    try:
        with TcpSocket(fileno=os.dup(peer)) as connection:
            connection.getpeername()
            connection.shutdown(SHUT_RDWR)
    except OSError:
        pass


def _ignore(frames: list[bytes]) -> None:
    """For sockets whose messages are dealt with before they get here."""


def _set_client(socket: "zmq.Socket[bytes]", curve: CurveClient) -> None:
    try:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve_public_key(curve.secret_key))
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key)
    except (zmq.ZMQError, BusError):
        socket.close(0)
        raise BusError("not CURVE keys: expected 40 characters of Z85 each") from None


def _manual_subscriptions(
    publisher: "zmq.Socket[bytes]", access: AccessPolicy
) -> Callable[[], list[bytes] | None]:
    """How an XPUB with XPUB_MANUAL receives: a subscription counts only once it is confirmed."""

    def receive() -> list[bytes] | None:
        try:
            frame = publisher.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        message = frame.bytes
        prefix = message[1:]
        try:
            peer = int(frame.get("__fd"))
        except zmq.ZMQError:  # of a peer that has gone: libzmq takes its subscriptions back
            publisher.setsockopt(zmq.UNSUBSCRIBE, prefix)
            return [message]
        if message[:1] == b"\x01":
            if access.may_subscribe(peer, prefix):
                publisher.setsockopt(zmq.SUBSCRIBE, prefix)
            else:
                cut(peer)
        elif message[:1] == b"\x00":
            access.unsubscribed(peer, prefix)
            publisher.setsockopt(zmq.UNSUBSCRIBE, prefix)
        else:
            cut(peer)  # a publisher takes nothing but subscriptions
        return [message]

    return receive


def _connection_event(access: AccessPolicy, frames: list[bytes]) -> None:
    """One of libzmq's socket events: UINT16 event, UINT32 value; then the endpoint."""
    event, value = EVENT.unpack(frames[0])
    if event == zmq.EVENT_ACCEPTED:
        if not access.opened(value):
            cut(value)
    elif event == zmq.EVENT_DISCONNECTED:
        access.closed(value)
    elif event in HANDSHAKE_FAILURES:
        access.refused(HANDSHAKE_FAILURES[event])


def _for_tcp(socket: "zmq.Socket[bytes]") -> None:
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * HEARTBEAT_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.IPV6, 1)  # reaches IPv4 as well


def _listening(socket: "zmq.Socket[bytes]", endpoint: str) -> int:
    """A descriptor that listens at a TCP `endpoint`, for libzmq to take over in `socket`.

    Its own bind first asks for the names of all interfaces, over netlink, and aborts the process
    where a unit's RestrictAddressFamilies= refuses that.
    """
    text = endpoint.removeprefix("tcp://").replace("*:", ":").replace(":*", ":0")
    host, port = socket_address(text, host="", any_port=True)
    with listening(host, port) as bound:
        for ours, option in ((SO_RCVBUF, zmq.RCVBUF), (SO_SNDBUF, zmq.SNDBUF)):
            if (size := int(socket.getsockopt(option))) >= 0:
                bound.setsockopt(SOL_SOCKET, ours, size)
        bound.listen(BACKLOG)
        return bound.detach()


def libzmq_version() -> str:
    """The version of the libzmq in use, for the metrics."""
    return zmq.zmq_version()
