"""The blocking shell around the originator: one TCP or UDP socket, requests out, replies in.

`Client` connects and moves bytes; `Connector` (in `cpppod.client.connector`) registers a session
and runs operations. A connection is used by one thread at a time: `with connection:` holds it.
"""

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from cpppod.client.responses import LIST_INTERFACES, Response
from cpppod.protocols.enip.discovery import PORT
from cpppod.protocols.enip.encapsulation import Command, Frame, FrameReader
from cpppod.protocols.enip.originator.errors import CommunicationCeased, ReplyTimeout
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.pipeline import trouble_of
from cpppod.protocols.enip.originator.session import (
    Answer,
    OriginatorSession,
    SessionViolated,
    State,
)
from cpppod.protocols.model.errors import DecodeError

RECEIVE_BYTES = 262_144
MAX_HARVEST = 65_536  # replies kept for a caller that does not take them
BROADCAST = "255.255.255.255"
Address = tuple[str, int]


class SingleRequest:
    """The owner of a request whose reply the caller harvests by hand."""

    __slots__ = ("client", "command", "context", "request")

    def __init__(
        self, client: "Client", command: int, context: bytes, request: Operation | None
    ) -> None:
        self.client, self.command, self.context, self.request = client, command, context, request

    def receive(self, answer: Answer) -> None:
        """Keep the reply until it is asked for."""
        self.client.keep(self, answer)


class Client:
    """A socket to one target, or to everybody on a network.

    Args:
        host, port: the target; for a broadcast the network's broadcast address.
        timeout: seconds to connect, and the default for replies; None waits for ever.
        udp, broadcast: datagrams instead of a connection; from whoever answers.
        source_address: local address (and port) to send from: `"10.0.0.5"`, `"10.0.0.5:0"`,
            or (address, port).

    Raises:
        CommunicationCeased: the target is not there.
        ReplyTimeout: it did not answer in `timeout`.
    """

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
        self.protocol = OriginatorSession()
        self._lock = threading.RLock()
        self._harvest: deque[Response] = deque(maxlen=MAX_HARVEST)
        self._error: Exception | None = None
        self._socket = self._open(_source(source_address))

    def _open(self, source: Address | None) -> socket.socket:
        if not self.udp:
            return self._open_tcp(source)
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            if source is not None:
                found.bind(source)
            if not self.broadcast:
                found.connect(self.addr)
        except OSError as error:
            found.close()
            raise CommunicationCeased(f"{self.addr[0]}:{self.addr[1]}: {error}") from error
        self.protocol.state = State.REGISTERED  # datagrams have no session
        return found

    def _open_tcp(self, source: Address | None) -> socket.socket:
        where = f"{self.addr[0]}:{self.addr[1]}"
        try:
            found = socket.create_connection(self.addr, self.timeout, source)
        except TimeoutError:
            raise ReplyTimeout(f"{where}: no connection in {self.timeout} s") from None
        except OSError as error:
            raise CommunicationCeased(error.errno, error.strerror or str(error)) from error
        found.settimeout(None)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return found

    # -- one user at a time -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __str__(self) -> str:
        return f"{self.addr[0]}:{self.addr[1]}[{self.session or None}]"

    @property
    def session(self) -> int:
        """The session handle, 0 without one."""
        return self.protocol.session

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""
        return self.protocol.state is State.CLOSED

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
        if self.udp:
            self._transmit(Frame(command, data, 0, context=context).encode())
            return
        owner = SingleRequest(self, command, context, None)
        self.protocol.send_command(
            command, owner, deadline=float("inf"), data=data, context=context
        )
        self.flush()

    def keep(self, owner: SingleRequest, answer: Answer) -> None:
        """Keep a reply for `next` (called by the owner of its request)."""
        if answer.trouble is not None and not answer.status:
            self._error = self._error or trouble_of(answer, self.protocol.violation)
            return
        self._harvest.append(
            Response(
                (str(self.addr[0]), self.addr[1]),
                owner.command,
                self.session,
                answer.status,
                owner.context,
                answer.data,
                owner.request,
                answer.reply,
            )
        )

    def readable(self, timeout: float | None = 0) -> bool:
        """Whether `next` would return a reply or raise, within `timeout` seconds."""
        if self._harvest or self.closed:
            return True
        wait = None if timeout is None else max(0.0, timeout)
        return bool(select.select([self._socket], [], [], wait)[0])

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
        """
        if not self._harvest and not self.closed and self.readable(0):
            self.pump(0)
        if self._harvest:
            return self._harvest.popleft()
        if self.closed:
            raise StopIteration
        return None

    # -- moving bytes -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the session has to say.

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
            else:
                self._socket.sendall(data)
        except OSError as error:
            self.abort(str(error))
            raise CommunicationCeased(error.errno, error.strerror or str(error)) from error

    def pump(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds for bytes, and hand the answers in them to their owners.

        Raises:
            CommunicationCeased: the socket is gone, or the target broke the protocol.
        """
        due = self.protocol.deadline()
        if due is not None and due != float("inf"):
            left = max(0.0, due - time.monotonic())
            timeout = left if timeout is None else min(left, timeout)
        try:
            if timeout is None or select.select([self._socket], [], [], timeout)[0]:
                self._receive()
            else:
                self.protocol.expire(time.monotonic())
            self._dispatch()
        except (OSError, ValueError) as error:
            if isinstance(error, CommunicationCeased):
                raise
            self.abort(str(error))
        except SessionViolated as error:
            self.abort(str(error))

    def _receive(self) -> None:
        data, peer = self._socket.recvfrom(RECEIVE_BYTES)
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
            self._harvest.append(
                Response(
                    peer, frame.command, frame.session, frame.status, frame.context, frame.data
                )
            )

    def _dispatch(self) -> None:
        while (answer := self.protocol.next_answer()) is not None:
            answer.owner.receive(answer)

    def abort(self, reason: str) -> None:
        """The connection is of no further use: tell everybody who waits."""
        self.protocol.close(reason)
        with contextlib.suppress(SessionViolated):
            self._dispatch()
        self._socket.close()

    def shutdown(self) -> None:
        """Tell the target that nothing more will be sent; replies may still come."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the session and close the socket."""
        if not self.closed and not self.udp:
            self.protocol.unregister()
            with contextlib.suppress(CommunicationCeased):
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


def _source(source: str | Address | None) -> Address | None:
    """(address, port) of `"10.0.0.5"`, `"10.0.0.5:4000"` or (address, port)."""
    if source is None or source == "":
        return None
    if not isinstance(source, str):
        return source
    host, _, port = source.partition(":")
    return host, int(port or 0)


def harvest(connection: Client, timeout: float) -> Iterable[Response]:
    """Every reply that comes within `timeout` seconds in all."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        response, _ = await_response(connection, left)
        if not response:
            return
        assert isinstance(response, Response)
        yield response
