"""Opening a class 3 connection: Large Forward Open first, the small one where that is refused.

    attempt 0  0x5B, 4000 bytes ──refused──► attempt 1  0x54, 500 bytes ──refused──► given up
                     │ 0x01/0x0109 with the target's own limit: the same service, that size, once

Source: CIP Networks Library Vol. 1, 3-5.5.
"""

from dataclasses import dataclass, replace

from cpppod.protocols.cip.connection_manager import (
    TRANSPORT_CLASS_3,
    ForwardClose,
    ForwardOpen,
    ForwardOpenReply,
    NetworkParameters,
)
from cpppod.protocols.cip.epath import class_path
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.errors import ForwardOpenRefused
from cpppod.protocols.enip.originator.session import Class3Connection, SessionViolated
from cpppod.protocols.model.errors import DecodeError

LARGE_SIZE = 4000  # bytes: what ControlLogix grants
SMALL_SIZE = 500  # bytes: the most that every target grants is 504; pycomm3 asks for this
MAX_SMALL_SIZE = 511  # a Forward Open's size has nine bits
MIN_SIZE = 64  # bytes: less carries no tag service worth the name
SEQUENCE_BYTES = 2  # of each message, counted in the connection's size
INVALID_CONNECTION_SIZE = 0x0109
MESSAGE_ROUTER = class_path(0x02, 1)


@dataclass(frozen=True, slots=True)
class ConnectionRequest:
    """What to ask for.

    Attributes:
        connection_path: padded EPATH, ports first: `1/0/@2/1`.
        size: bytes each way; above 511 a Large Forward Open is tried.
        rpi_us: how often the originator promises to speak; it lives rpi x 4 x 2**multiplier.
        connection_serial, originator_serial: with the vendor they identify the connection.
        t_o_id: the id that replies carry, chosen by us.
    """

    connection_path: bytes = MESSAGE_ROUTER
    size: int = LARGE_SIZE
    rpi_us: int = 2_000_000
    multiplier: int = 7
    connection_serial: int = 1
    originator_vendor: int = 0x1234
    originator_serial: int = 1
    o_t_id: int = 0
    t_o_id: int = 0xFFFF_FFFF
    priority_time_tick: int = 5
    timeout_ticks: int = 157


class ForwardOpenExchange:
    """The attempts to open one connection.

    Attributes:
        asked: what for.
        connection: what was opened, None until then.
        refused: the last refusal once every attempt has failed.
    """

    def __init__(self, asked: ConnectionRequest) -> None:
        self.asked = asked
        self.connection: Class3Connection | None = None
        self.refused: MessageRouterReply | None = None
        self._large = asked.size > MAX_SMALL_SIZE
        self._size = asked.size
        self._resized = False

    @property
    def done(self) -> bool:
        """Whether it is decided."""
        return self.connection is not None or self.refused is not None

    def request(self) -> bytes:
        """The next Forward Open, as a Message Router request for an unconnected message."""
        asked = self.asked
        parameters = NetworkParameters(self._size)
        return ForwardOpen(
            ot_id=asked.o_t_id,
            to_id=asked.t_o_id,
            connection_serial=asked.connection_serial,
            originator_vendor=asked.originator_vendor,
            originator_serial=asked.originator_serial,
            ot_rpi_us=asked.rpi_us,
            to_rpi_us=asked.rpi_us,
            ot=parameters,
            to=parameters,
            connection_path=asked.connection_path,
            transport=TRANSPORT_CLASS_3,
            multiplier=asked.multiplier,
            priority_tick=asked.priority_time_tick,
            timeout_ticks=asked.timeout_ticks,
            large=self._large,
        ).encode()

    def receive(self, reply: MessageRouterReply) -> None:
        """Take the reply.

        Raises:
            SessionViolated: a success that opens another connection than was asked for.
        """
        if reply.status == 0:
            self._opened(reply)
            return
        limit = reply.extended[1] if len(reply.extended) > 1 else 0
        size_refused = reply.status == 0x01 and reply.extended[:1] == (INVALID_CONNECTION_SIZE,)
        if size_refused and not self._resized and MIN_SIZE <= limit < self._size:
            self._size, self._resized = limit, True
            self._large = self._large and limit > MAX_SMALL_SIZE
        elif self._large:
            self._large, self._size = False, SMALL_SIZE
        else:
            self.refused = reply

    def _opened(self, reply: MessageRouterReply) -> None:
        try:
            granted = ForwardOpenReply.decode(reply.data)
        except DecodeError as error:
            raise SessionViolated(str(error)) from None
        if granted.to_id != self.asked.t_o_id:
            raise SessionViolated("Forward Open reply for another connection")
        usable = self._size - SEQUENCE_BYTES
        self.connection = Class3Connection(granted.ot_id, granted.to_id, usable, usable)

    def granted(self) -> Class3Connection:
        """The connection that was opened.

        Raises:
            ForwardOpenRefused: every attempt was refused.
        """
        if self.connection is None:
            assert self.refused is not None, "asked once it is done"
            raise ForwardOpenRefused(self.refused.status, self.refused.extended)
        return self.connection

    def closing(self) -> bytes:
        """The Forward Close of the connection."""
        asked = self.asked
        return ForwardClose(
            asked.connection_serial,
            asked.originator_vendor,
            asked.originator_serial,
            asked.connection_path,
        ).encode()


def numbered(
    request: ConnectionRequest, *, serial: int, originator_serial: int, t_o_id: int
) -> ConnectionRequest:
    """`request` under numbers of the caller's choice, which must not repeat while it lives."""
    return replace(
        request,
        connection_serial=serial & 0xFFFF,
        originator_serial=originator_serial & 0xFFFF_FFFF,
        t_o_id=t_o_id & 0xFFFF_FFFF,
    )
