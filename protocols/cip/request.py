"""What travels with a request, and what must leave before it can be answered.

    executed -> bytes      the Message Router reply
             -> Reply      a reply that may be remembered (`image`)
             -> Pending    a command for the outside; its result makes the reply, or another Pending

Commands say what to do; who does it (a router, a thread) is the shell's matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from cpppod.protocols.cip.image import Image

UNCONNECTED_CAPACITY = 494  # bytes of a reply without connection: 488 of data, as cpppo cuts them


@dataclass(slots=True)
class Origin:
    """Where a request came from and how long its reply may be.

    Attributes:
        address: the peer's address as text.
        capacity: bytes of the Message Router reply.
        slack: bytes that a Read Tag reply may have beyond those, for a client that miscounts.
        connected: whether it came over a class 3 connection.
        may_write: whether the peer may write at all.
        wrapped, packed: whether it came in an Unconnected Send, in a Multiple Service Packet.
        session: whose connections it may open and close.
    """

    image: Image
    address: str = ""
    capacity: int = UNCONNECTED_CAPACITY
    connected: bool = False
    may_write: bool = True
    wrapped: bool = False
    packed: bool = False
    session: Any = None
    slack: int = 0

    @property
    def session_name(self) -> str:
        """The session as the audit names it: its handle, "" where there is none."""
        return session_name(getattr(self.session, "handle", self.session))


def session_name(handle: Any) -> str:
    """A session's handle in words; a name stays what it is."""
    return f"0x{handle:08x}" if isinstance(handle, int) else str(handle or "")


class Carriage(IntEnum):
    """How a request travels to the device at the end of its route."""

    UNCONNECTED = 0
    CONNECTED = 1  # on a class 3 connection of its own; it begins with the sequence count
    OPEN = 2  # a Forward Open, whose path is that from the device on: opens `connection`
    CLOSE = 3  # closes `connection`; the request says nothing


@dataclass(frozen=True, slots=True)
class ForwardNeeded:
    """Send `request` on along `route_path`, whose first segment chooses the way.

    Attributes:
        capacity: bytes of the longest Message Router reply that the client can be given.
        connection: which connection at the device, as the target numbers them; 0 for none.
        hops: gateways that it has passed before this one.
    """

    route_path: bytes
    request: bytes
    priority_tick: int
    timeout_ticks: int
    source: str
    capacity: int = UNCONNECTED_CAPACITY
    carriage: Carriage = Carriage.UNCONNECTED
    connection: int = 0
    hops: int = 0

    @property
    def message(self) -> bytes:
        """The Message Router request alone."""
        return message_of(self.carriage, self.request)


def message_of(carriage: int, body: bytes) -> bytes:
    """The Message Router request in what travels so: without a sequence count before it."""
    return body[2:] if carriage == Carriage.CONNECTED else body


@dataclass(slots=True)
class Tried:
    """An attempt to write, for the audit; filled in as it goes, for every write makes one.

    Attributes:
        tag: its full name, or the path that it was asked for by.
        first: element that `old` and `new`, lists of elements, begin with; None where not known.
        unknown: whether it may have been written.
        address, session: whose it was.
    """

    tag: str
    first: int
    old: Any
    new: Any
    status: int = 0
    extended: Sequence[int] = ()
    unknown: bool = False
    why: str = ""
    address: str = ""
    session: str = ""


class WriteResult(NamedTuple):
    """What came of a `WriteNeeded`: general status, extended words, whether nobody knows, why."""

    status: int
    extended: Sequence[int]
    unknown: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class RecordNeeded:
    """Keep a record of the attempt before its reply leaves; there is no result."""

    tried: Tried


@dataclass(frozen=True, slots=True)
class WriteNeeded:
    """Write tags of a device: [tag, first element, [value ...]] each.

    The result is a `WriteResult`, or (general status, extended words).
    """

    device: str
    writes: list[list[Any]]
    source: str


@dataclass(frozen=True, slots=True)
class CallNeeded:
    """Call the user's code off the loop; the result is its own, or the Exception it raised.

    Attributes:
        what: what is called, for whoever logs that it failed: `tag SCADA`.
    """

    call: Callable[[], Any]
    what: str = ""


Command = ForwardNeeded | WriteNeeded | RecordNeeded | CallNeeded


@dataclass(slots=True)
class Pending:
    """A reply that waits for a command's result.

    Attributes:
        resume: result -> the Message Router reply, or what else must be done first.
        exclusive: whether later requests of the same session wait for it, so that who writes and
            then reads sees what was written.
    """

    command: Command
    resume: "Callable[[Any], bytes | Pending]"
    exclusive: bool = True
