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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import zmq

from cpppod.protocols.bus.codec import MAX_MESSAGE

MAX_A_TURN = 256  # messages of one socket per turn of the loop: about 5 ms at 20 us each
MAX_FRAMES = 8  # of one message: ours have 3 at most
MAX_IPC_PATH = 107  # bytes: sun_path (unix(7)) less its closing NUL
SEND_QUEUE = 4_000  # messages for one peer: what a reader may lag before it loses some
RECEIVE_QUEUE = 4_000
HANDSHAKE_MS = 5_000  # a peer that connects and says nothing is dropped
RECONNECT_MS = 10  # first wait, doubling ...
RECONNECT_MAX_MS = (
    250  # ... up to this: a restarted feed has its publishers back in a quarter second
)
HEARTBEAT_MS = 5_000  # on TCP only: finds the peer that vanished without a word
BACKLOG = 512  # connections waiting at bind: every worker connects at once after a start

OnFrames = Callable[[list[bytes]], None]


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

    __slots__ = ("_closed", "_loop", "_on_frames", "_scheduled", "_socket", "counters", "name")

    def __init__(self, name: str, socket: "zmq.Socket[bytes]", on_frames: OnFrames) -> None:
        self.name = name
        self.counters = Counters()
        self._socket = socket
        self._on_frames = on_frames
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._scheduled = False
        self._loop.add_reader(socket.fileno(), self._drain)
        self._schedule()

    def send(self, *frames: bytes) -> bool:
        """Whether the message was taken: False is counted, and the caller's to declare.

        To a ROUTER the first frame is the peer's identity.
        """
        send = self._socket.send
        last = len(frames) - 1
        try:
            for index, frame in enumerate(frames):
                send(frame, zmq.DONTWAIT | zmq.SNDMORE if index < last else zmq.DONTWAIT)
        except zmq.Again:
            self.counters.unsent += 1
            return False
        except zmq.ZMQError as error:
            if self._closed or error.errno != zmq.EHOSTUNREACH:
                raise
            self.counters.unroutable += 1
            return False
        finally:
            self._schedule()
        self.counters.sent += 1
        return True

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

    def close(self) -> None:
        """Drop what is queued and leave; further sends are an error of the caller's."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close(0)

    def _schedule(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Hand on what has arrived, at most `MAX_A_TURN` messages, then take another turn."""
        drained = False
        try:
            for _ in range(MAX_A_TURN):
                if self._closed:
                    return
                frames = self._receive()
                if frames is None:
                    drained = True
                    return
                self._on_frames(frames)
        finally:  # also when the receiver raised: the edge will not come again
            self._scheduled = False
            if not drained:
                self._schedule()

    def _receive(self) -> list[bytes] | None:
        """The next well-formed message, or None when there is none for now."""
        receive = self._socket.recv
        while True:
            try:
                frames = [receive(zmq.DONTWAIT)]
            except zmq.Again:
                return None
            count = 1
            while self._socket.getsockopt(zmq.RCVMORE):
                frame = receive(zmq.DONTWAIT)
                count += 1
                if count <= MAX_FRAMES:
                    frames.append(frame)
            if count <= MAX_FRAMES:
                self.counters.received += 1
                return frames
            self.counters.malformed += 1


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
        self.sockets: list[Socket] = []

    def router(self, name: str, on_frames: OnFrames, *, endpoints: Iterable[str] = ()) -> Socket:
        """A ROUTER bound to `name` in the folder and to `endpoints`; frames begin with an identity.

        A worker that starts again under the same name takes its predecessor's place.
        """
        socket = self._socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return self._bind(name, socket, on_frames, endpoints)

    def dealer(
        self,
        name: str,
        on_frames: OnFrames,
        *,
        endpoint: str = "",
        queue_while_away: bool = False,
        queue: int = SEND_QUEUE,
        named: bool = True,
    ) -> Socket:
        """A DEALER connected to `name` in the folder, or to `endpoint`.

        Args:
            queue_while_away: keep what is sent while nobody is there (values), rather than refuse
            it
                at once (requests, which have deadlines).
            named: show the ROUTER this process's identity; one such socket for each ROUTER.
        """
        socket = self._socket(zmq.DEALER, send_queue=queue)
        if named and self.identity:
            socket.setsockopt(zmq.ROUTING_ID, self.identity.encode())
        socket.setsockopt(zmq.IMMEDIATE, 0 if queue_while_away else 1)
        return self._connect(name, socket, on_frames, endpoint)

    def publisher(
        self,
        name: str,
        on_frames: OnFrames,
        *,
        endpoints: Iterable[str] = (),
        queue: int = SEND_QUEUE,
    ) -> Socket:
        """An XPUB; `on_frames` gets each new subscription: b"\\x01" or b"\\x00" and its prefix."""
        socket = self._socket(zmq.XPUB, send_queue=queue)
        return self._bind(name, socket, on_frames, endpoints)

    def subscriber(
        self,
        name: str,
        on_frames: OnFrames,
        *,
        prefixes: Sequence[bytes] = (b"",),
        endpoint: str = "",
        queue: int = RECEIVE_QUEUE,
    ) -> Socket:
        """A SUB connected to `name` in the folder, or to `endpoint`."""
        socket = self._socket(zmq.SUB, receive_queue=queue)
        for prefix in prefixes:
            socket.setsockopt(zmq.SUBSCRIBE, prefix)
        return self._connect(name, socket, on_frames, endpoint)

    def close(self) -> None:
        """Close every socket and give the ipc names back; takes no time (LINGER 0)."""
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()
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
        self, kind: int, *, send_queue: int = SEND_QUEUE, receive_queue: int = RECEIVE_QUEUE
    ) -> "zmq.Socket[bytes]":
        """A socket with every limit set; they must be there before it binds or connects."""
        if os.getpid() != self._process:
            raise BusError("the bus was made in another process: make one after the fork")
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, send_queue),
            (zmq.RCVHWM, receive_queue),
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
            (zmq.BACKLOG, BACKLOG),
        ):
            socket.setsockopt(option, value)
        return socket

    def _bind(
        self, name: str, socket: "zmq.Socket[bytes]", on_frames: OnFrames, endpoints: Iterable[str]
    ) -> Socket:
        wanted = list(endpoints) if self._folder is None else [self.path(name), *endpoints]
        for endpoint in wanted:
            if endpoint.startswith("ipc://"):
                self._lock(endpoint.removeprefix("ipc://"))
            else:
                _for_tcp(socket)
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                socket.close(0)
                raise BusError(f"{endpoint}: cannot be bound: {error.strerror}") from None
        return self._add(name, socket, on_frames)

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
        added = Socket(name, socket, on_frames)
        self.sockets.append(added)
        return added

    def _lock(self, path: str) -> None:
        """Hold `<path>.lock`: a second bind takes an ipc path from its owner without a word."""
        import fcntl  # here: who only connects runs on systems without it

        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise BusError(
                f"{path}: another process has bound it; is the gateway running?"
            ) from None
        self._locks.append(descriptor)


def _for_tcp(socket: "zmq.Socket[bytes]") -> None:
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * HEARTBEAT_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)


def libzmq_version() -> str:
    """The version of the libzmq in use, for the metrics."""
    return zmq.zmq_version()
