"""The blocking shell around the originator: one TCP or UDP socket, requests out, replies in.

`Client` connects and moves bytes; `Connector` (in `cpppod.client.blocking`) registers a session
and runs operations. Threads may share one (`cpppod.client.sharing`); `with connection:` holds it.
"""

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from types import TracebackType
from typing import Any, ClassVar, Self

from cpppod.client.responses import LIST_INTERFACES, Response
from cpppod.client.sharing import Sharing, ring
from cpppod.protocols.enip.discovery import PORT
from cpppod.protocols.enip.encapsulation import Command, Frame, FrameReader
from cpppod.protocols.enip.originator.errors import CommunicationCeased, ReplyTimeout
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.session import (
    Answer,
    OriginatorSession,
    SessionViolated,
    State,
)
from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.transport.sockets import closing_of, family_of, words

RECEIVE_BYTES = (
    65_536  # of one read: a larger buffer is mapped and unmapped by the system each time
)
MAX_HARVEST = 65_536  # replies kept for a caller that does not take them
BROADCAST = "255.255.255.255"
Address = tuple[str, int]


class SingleRequest:
    """The owner of a request whose reply the caller harvests by hand."""

    __slots__ = ("client", "request")

    def __init__(self, client: "Client", request: Operation | None) -> None:
        self.client, self.request = client, request

    def receive(self, answer: Answer) -> None:
        """Keep the reply until it is asked for."""
        self.client.keep(self, answer)


class Client:
    """A socket to one target, or to everybody on a network.

    Args:
        host, port: the target; for a broadcast the network's broadcast address.
        timeout: seconds to connect, and the default for replies; None waits without limit.
        udp, broadcast: datagrams instead of a connection; from whoever answers.
        source_address: local address (and port) to send from: `"10.0.0.5"`, `"10.0.0.5:0"`,
            or (address, port).

    Raises:
        CommunicationCeased: the target is not there.
        ReplyTimeout: it did not answer in `timeout`.
    """

    session_type: ClassVar[type[OriginatorSession]] = OriginatorSession

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        udp: bool = False,
        broadcast: bool = False,
        source_address: str | Address | None = None,
    ) -> None:
        self.addr: Address = (host or (BROADCAST if broadcast else "localhost"), port or PORT)
        self.timeout = timeout
        self.udp = udp or broadcast
        self.broadcast = broadcast
        self.protocol = self.session_type()
        self.sharing = Sharing()
        self._unsent = bytearray()
        self._harvest: deque[Response] = deque(maxlen=MAX_HARVEST)
        self._source = source_of(source_address)
        self._socket = self._open(self._source)
        self._closing = closing_of(self._socket.fileno())

    def _reconnect(self) -> None:
        """Another connection in the place of one that the target has closed while it was idle.

        Raises:
            CommunicationCeased, ReplyTimeout: the target is not there.
        """
        self._socket.close()
        self._unsent.clear()
        self._socket = self._open(self._source)
        self._closing = closing_of(self._socket.fileno())
        self.protocol.restart()

    def _open(self, source: Address | None) -> socket.socket:
        if not self.udp:
            return self._open_tcp(source)
        found = socket.socket(family_of(self.addr[0]), socket.SOCK_DGRAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            if source is not None:
                found.bind(source)
            if not self.broadcast:
                found.connect(self.addr)
        except OSError as error:
            found.close()
            where = str(SocketAddress(*self.addr))
            raise CommunicationCeased(f"{where}: {words(error)}") from error
        found.setblocking(False)
        self.protocol.state = State.REGISTERED  # datagrams have no session
        return found

    def _open_tcp(self, source: Address | None) -> socket.socket:
        where = str(SocketAddress(*self.addr))
        try:
            found = socket.create_connection(self.addr, self.timeout, source)
        except TimeoutError:
            raise ReplyTimeout(f"no connection to {where} in {self.timeout} s") from None
        except OSError as error:
            raise CommunicationCeased(error.errno, words(error)) from error
        found.setblocking(False)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return found

    # -- one user at a time -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.sharing.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sharing.__exit__(kind, error, traceback)

    def __str__(self) -> str:
        return f"{SocketAddress(*self.addr)}[{self.session or None}]"

    @property
    def session(self) -> int:
        """The session handle, 0 without one."""
        return self.protocol.session

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""
        return self.protocol.state is State.CLOSED

    @property
    def reason(self) -> str:
        """Why it is closed."""
        return self.protocol.violation

    # -- harvesting by hand -----------------------------------------------------------------------

    def list_services(self, timeout: float | None = None, sender_context: bytes = b"") -> None:
        """Ask for List Services; harvest the reply with `next`."""
        self._command(Command.LIST_SERVICES, sender_context)

    def list_identity(self, timeout: float | None = None, sender_context: bytes = b"") -> None:
        """Ask for List Identity; harvest the reply with `next`, of a broadcast all of them."""
        self._command(Command.LIST_IDENTITY, sender_context)

    def list_interfaces(self, timeout: float | None = None, sender_context: bytes = b"") -> None:
        """Ask for List Interfaces; harvest the reply with `next`."""
        self._command(LIST_INTERFACES, sender_context)

    def legacy(
        self,
        command: int,
        cip: bytes | None = None,
        timeout: float | None = None,
        sender_context: bytes = b"",
    ) -> None:
        """Send an undocumented command (0x0001 is known), with `cip` as its data."""
        self._command(command, sender_context, cip or b"")

    def _command(self, command: int, context: bytes, data: bytes = b"") -> None:
        context = bytes(context[:8]).ljust(8, b"\0")

        def send() -> None:
            if self.udp:
                self._transmit(Frame(command, data, 0, context=context).encode())
                return
            owner = SingleRequest(self, None)
            self.protocol.send_command(command, owner, deadline=inf, data=data, context=context)

        self.send(send, self.timeout)

    def send(
        self,
        issue: Callable[[], None],
        timeout: float | None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Call `issue`, which has the session say something, and write that.

        Args:
            has_room: whether that may be said beside what is outstanding; else it waits.

        Raises:
            CommunicationCeased: the socket is gone, or another process' (`ReplyTimeout`: another
                thread held the connection, or its request was not answered, for `timeout` seconds).
        """
        self.sharing.check()
        due = inf if timeout is None else time.monotonic() + timeout
        while True:
            with self.sharing.lock:
                held = bool(self.sharing.holder and self.sharing.held)
                if not held and has_room():
                    return self._send(issue)
                seen = self.sharing.arrivals
            if held:
                self.sharing.admit(timeout)
            elif time.monotonic() >= due:
                raise ReplyTimeout("no reply to the request before in time")
            else:
                self.pump(None if due == inf else due - time.monotonic(), seen)

    def _send(self, issue: Callable[[], None]) -> None:
        try:
            issue()
            self.flush()
        except BaseException as error:
            self.end_if_interrupted(error)
            raise

    def end_if_interrupted(self, error: BaseException) -> None:
        """Something was interrupted that must be done whole: nobody knows what has been sent."""
        if not isinstance(error, Exception):
            self.abort("interrupted")

    def forget(self, owner: object) -> None:
        """Nobody waits for the reply to the requests of `owner` any more."""
        if not self.sharing.inherited:
            with self.sharing.lock:
                self.protocol.forget(owner)

    def keep(self, owner: SingleRequest, answer: Answer) -> None:
        """Keep a reply for `next` (called by the owner of its request)."""
        if answer.failure is not None and not answer.status:
            return
        frame = answer.frame
        assert frame is not None, "what came has come in a frame"
        self._harvest.append(
            Response.of(frame, (str(self.addr[0]), self.addr[1]), owner.request, answer.reply)
        )

    def readable(self, timeout: float | None = 0) -> bool:
        """Whether `next` would return a reply or raise, within `timeout` seconds.

        Raises:
            CommunicationCeased: this process did not open the connection.
        """
        due = inf if timeout is None else time.monotonic() + max(0.0, timeout)
        while True:
            seen = self.sharing.arrivals
            if self._harvest or self.closed:
                return True
            left = max(0.0, due - time.monotonic())
            self.pump(None if left == inf else left, seen)  # or another thread takes the reply
            if not left:
                return bool(self._harvest or self.closed)

    def writable(self, timeout: float | None = 0) -> bool:
        """Whether the socket takes more, within `timeout` seconds."""
        wait = None if timeout is None else max(0.0, timeout)
        return bool(select.select([], [self._socket], [], wait)[1])

    def __iter__(self) -> Iterator[Response | None]:
        return self

    def __next__(self) -> Response | None:
        """The next reply, or None if none has come.

        Raises:
            StopIteration: the target closed the connection.
            CommunicationCeased: this process did not open the connection.
        """
        if not self.readable(0):
            return None
        with self.sharing.lock:
            if self._harvest:
                return self._harvest.popleft()
        if self.closed:
            raise StopIteration
        return None

    # -- moving bytes -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the session has to say, as far as the socket takes it now.

        Raises:
            CommunicationCeased: the socket is gone.
        """
        data = self.protocol.data_to_send()
        if data:
            self._transmit(data)

    def _transmit(self, data: bytes) -> None:
        try:
            if self.broadcast:
                self._socket.sendto(data, self.addr)
            elif self.udp:
                self._socket.send(data)
            else:
                self._unsent += data
                self._write()
        except OSError as error:
            self.abort(words(error))
            raise CommunicationCeased(error.errno, words(error)) from error

    def _write(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                del unsent[: self._socket.send(unsent)]
        except BlockingIOError:
            return

    def pump(self, timeout: float | None, seen: int | None = None) -> None:
        """Wait up to `timeout` seconds for bytes, and hand the answers in them to their owners.

        Args:
            seen: `sharing.arrivals` when the caller last looked for its answer; nothing is waited
                for where another thread has handed out answers since.

        Raises:
            CommunicationCeased: this process did not open the connection.
        """
        sharing = self.sharing
        sharing.check()
        reads = False
        try:
            with sharing.lock:
                if self.closed or (seen is not None and seen != sharing.arrivals):
                    return
                timeout = self._until_due(timeout)
                reads = not sharing.reading
                writes = bool(self._unsent)
                bell = None if reads or writes else sharing.bell()
                sharing.reading = True
            if bell is None:
                readable = self._wait(timeout, reads=reads, writes=writes)
            elif ring(bell, timeout):
                return
            with sharing.lock:
                sharing.reading = sharing.reading and not reads
                self._take(readable=bell is None and readable)
                sharing.tell()
        except BaseException:  # Ctrl-C may come anywhere in here: another thread reads on
            with sharing.lock:
                sharing.reading = sharing.reading and not reads
                sharing.tell()
            raise

    def _wait(self, timeout: float | None, *, reads: bool, writes: bool) -> bool:
        """Wait up to `timeout` seconds for the socket; whether it is to be read."""
        own = [self._socket]
        try:
            return bool(select.select(own if reads else (), own if writes else (), (), timeout)[0])
        except (OSError, ValueError):
            return reads  # closed meanwhile: reading will say so

    def _until_due(self, timeout: float | None) -> float | None:
        """`timeout`, or less where a reply is due earlier."""
        due = self.protocol.deadline()
        if due is None or due == inf:
            return timeout
        left = max(0.0, due - time.monotonic())
        return left if timeout is None else min(left, timeout)

    def _take(self, *, readable: bool) -> None:
        """Read what is there, write what is left, give up what is overdue, hand out the answers."""
        try:
            if readable:
                self._receive()
            else:
                self.protocol.expire(time.monotonic())
            if self._unsent:
                self._write()
            self._dispatch()
        except (OSError, ValueError, SessionViolated) as error:
            self.abort(words(error) if isinstance(error, OSError) else str(error))
        except BaseException:
            self.abort("interrupted")
            raise

    def _receive(self) -> None:
        try:
            data, peer = self._socket.recvfrom(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not self.udp:
            self.protocol.receive_data(data)
            return
        reader = FrameReader()
        reader.receive_data(data)
        with contextlib.suppress(DecodeError):
            frame = reader.next_frame()
            if frame is None:
                return
            if frame.command in (Command.SEND_RR_DATA, Command.SEND_UNIT_DATA):
                self.protocol.receive_data(data)
                return
            self._harvest.append(Response.of(frame, peer[:2]))

    def _dispatch(self) -> None:
        while (answer := self.protocol.next_answer()) is not None:
            answer.owner.receive(answer)

    def abort(self, reason: str) -> None:
        """The connection is of no further use: tell everybody who waits."""
        if self.sharing.inherited:
            self._socket.close()
            return
        with self.sharing.lock:
            self.protocol.close(reason)
            with contextlib.suppress(SessionViolated):
                self._dispatch()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            self._socket.close()
            self.sharing.tell()

    def shutdown(self) -> None:
        """Tell the target that nothing more will be sent; replies may still come."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the session and close the socket."""
        if not self.sharing.inherited and not self.closed and not self.udp:
            with self.sharing.lock, contextlib.suppress(CommunicationCeased):
                self.protocol.unregister()
                self.flush()
        self.abort("closed")


def await_response(
    connection: Client, timeout: float | None = None
) -> tuple[Response | dict[str, Any] | None, float]:
    """(reply, seconds waited): None if none came in `timeout`, {} if the connection ended."""
    start = time.monotonic()
    while True:
        try:
            response = next(connection)
        except StopIteration:
            return {}, time.monotonic() - start
        elapsed = time.monotonic() - start
        if response is not None or (timeout is not None and elapsed >= timeout):
            return response, elapsed
        connection.readable(None if timeout is None else timeout - elapsed)


def source_of(source: str | Address | None) -> Address | None:
    """(address, port) of `"10.0.0.5"`, `"10.0.0.5:4000"` or (address, port)."""
    if source is None or source == "":
        return None
    if not isinstance(source, str):
        return source
    return socket_address(source, port=0, any_port=True)


def harvest(connection: Client, timeout: float) -> Iterable[Response]:
    """Every reply that comes within `timeout` seconds in all."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        response, _ = await_response(connection, left)
        if not response:
            return
        assert isinstance(response, Response)
        yield response
