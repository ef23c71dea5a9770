"""What the processes say to each other: one frame each, a msgpack array [version, kind, field ...].

    who                       to        messages
    every worker              control   Beat, CommandReply
    control                   worker    Command
    an outlet                 control   WriteOrder; WriteOutcomes back
    listener, control         router    WriteRequest, RouteRequests
    router                    owner     the same, with ids of the router's own
    owner -> router -> asker            WriteReply, RouteReplies
    listener, owners          feed      a value message (`protocols.bus.feed`)
    feed                      publisher Resend

What one turn of the sender's loop brings along routes travels as one message to each peer
(`groups`).

All fields are msgpack's own types and every integer lies below 2**53. Readers ignore elements
beyond those they know and kinds they do not know; another major version is refused.

Deadlines are absolute, microseconds of the machine's monotonic clock, which all processes share.
"""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, get_origin, get_type_hints

from cpppod.protocols.bus.codec import (
    MAX_DEPTH,
    check_depth,
    pack,
    unpack_fields,
    unpack_unchecked,
)
from cpppod.protocols.model.errors import DecodeError

VERSION = 1
LIMIT = 2**53  # doubles, and so every language, hold the integers below exactly


@dataclass(frozen=True, slots=True)
class Message:
    """One message; a subclass names its fields in the order that they travel in."""

    KIND: ClassVar[int] = 0

    def encode(self) -> bytes:
        """The message as its one frame."""
        return pack([VERSION, self.KIND, *[getattr(self, name) for name in _SHAPES[type(self)][0]]])


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """A turn of a worker's loop, at least one a second, idle or waiting (worker -> control).

    Attributes:
        state: `running`, `backing off`, `preparing`.
        blocking_us: age of the oldest call that its I/O thread is in, 0 for none.
        overdue: names of what should have happened and has not.
        devices: device -> state map (`workers.devices`), as `cpppoctl device` shows it.
        metrics: [name, {label: value}, number], cumulative for counters.
        extra: what only this role has to say.
    """

    KIND: ClassVar[int] = 1
    worker: str
    pid: int
    generation: int
    mono_us: int
    state: str
    blocking_us: int = 0
    overdue: list[str] = field(default_factory=list)
    devices: dict[str, Any] = field(default_factory=dict)
    metrics: list[Any] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command(Message):
    """An order to a worker (control -> worker): `prepare` {path}, `commit`, `abort` {generation},
    `pause`, `resume`, `device` {name}, `log` {level}, `history` {query} ..."""

    KIND: ClassVar[int] = 2
    id: int
    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandReply(Message):
    """What came of a `Command`; `error` is "" where it was done, `failure` a `Failure` else."""

    KIND: ClassVar[int] = 3
    id: int
    error: str = ""
    result: Any = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class WriteRequest(Message):
    """Write tags of one device, in the order given, stopping at the first that fails.

    Attributes:
        source: who asks, for the audit line: `10.0.0.7` or `control:uid=1000`.
        writes: [tag, first element, [value ...]]; a scalar tag has first element 0 and one value.
            A value is in the tag's unit (unscaled by the owner); strings are str; structures bytes.
    """

    KIND: ClassVar[int] = 4
    id: int
    device: str
    source: str
    deadline_us: int
    writes: list[Any]


@dataclass(frozen=True, slots=True)
class WriteReply(Message):
    """What the device said.

    Attributes:
        status: CIP general status, 0 where the device took it; `extended` its extended words.
        error: in words, "" where done.
        unknown: the outcome is not known (time-out after sending): the tag is uncertain at once.
        topic, payload: the value message read back after the write, as published (b"" if none):
            the asker applies it before it answers its own client.
    """

    KIND: ClassVar[int] = 5
    id: int
    status: int = 0
    extended: list[int] = field(default_factory=list)
    error: str = ""
    unknown: bool = False
    topic: bytes = b""
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class RouteRequests(Message):
    """CIP requests that leave by the route table: `groups.RouteGroup`s, each as it travels."""

    KIND: ClassVar[int] = 12
    groups: list[Any]


@dataclass(frozen=True, slots=True)
class RouteReplies(Message):
    """The targets' replies, byte for byte, or the gateway's own with the Connection Manager's
    status for what went wrong: `groups.ReplyGroup`s, each as it travels."""

    KIND: ClassVar[int] = 13
    groups: list[Any]


@dataclass(frozen=True, slots=True)
class RouteLeases(Message):
    """All leases that hold (router -> listener, owner): who holds one sends groups along its route
    to the owner's own socket.

    Attributes:
        leases: to a listener `leases.Lease`s as they travel, to an owner their ids.
    """

    KIND: ClassVar[int] = 14
    leases: list[Any]


@dataclass(frozen=True, slots=True)
class RouteRefused(Message):
    """Groups of a lease that does not hold any more, by id: nothing of them was done (owner ->
    listener), which sends them to the router."""

    KIND: ClassVar[int] = 15
    groups: list[Any]


@dataclass(frozen=True, slots=True)
class RouteCounts(Message):
    """What went along leases since the last of these (listener -> router).

    Attributes:
        counts: [id of the lease, requests taken, answered, timed out, microseconds from taking to
            answering of all answered, requests that are out] each.
    """

    KIND: ClassVar[int] = 16
    counts: list[Any]


@dataclass(frozen=True, slots=True)
class Resend(Message):
    """The feed has started anew: repeat the last block of every group (feed -> publisher)."""

    KIND: ClassVar[int] = 8
    feed_epoch: int


@dataclass(frozen=True, slots=True)
class WriteOrder(Message):
    """Somebody of an outlet's wants tags written (outlet -> control), in the order given.

    Control checks, sends, reads back and keeps the audit, as for its own socket.

    Attributes:
        way: `web`, `mqtt`, `fleet`: see `protocols.model.writing.WAYS`.
        deadline_us: who has not begun by then does not.
        writes: [target, value] each: `boiler.setpoint` or `recipe[2]`; the value as JSON has it, a
            list for several elements, or text as an operator types it (`52.5`, `on`, `1,2,3`).
        user, address, session, role: who it is, as in `protocols.model.writing.Writer`; the outlet
            has made sure of it.
        expires_us: wall clock, from which nobody wants it any more; 0 for never.
    """

    KIND: ClassVar[int] = 10
    id: int
    way: str
    deadline_us: int
    writes: list[Any]
    user: str = ""
    address: str = ""
    session: str = ""
    role: str = ""
    expires_us: int = 0


@dataclass(frozen=True, slots=True)
class WriteOutcomes(Message):
    """What came of a `WriteOrder`.

    Attributes:
        error: {what, why, try} where nothing at all was sent, else {}.
        writes: a map for each write that was tried, as the control socket's verb `write` has it.
        not_tried: how many were left after the first that was not done.
    """

    KIND: ClassVar[int] = 11
    id: int
    error: dict[str, Any] = field(default_factory=dict)
    writes: list[Any] = field(default_factory=list)
    not_tried: int = 0


KINDS: dict[int, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Beat,
        Command,
        CommandReply,
        WriteRequest,
        WriteReply,
        Resend,
        WriteOrder,
        WriteOutcomes,
        RouteRequests,
        RouteReplies,
        RouteLeases,
        RouteRefused,
        RouteCounts,
    )
}


def decode(frame: bytes) -> Message | None:
    """The message in `frame`; None for a kind that this version does not know.

    Raises:
        DecodeError: not a message of ours, another major version, a field of another type, or
            beyond the limits of `codec`. Count it and drop it.
    """
    plain = unpack_unchecked(frame)
    if type(plain) is not list or len(plain) < 2 or plain[1] not in _OF_GROUPS:
        check_depth(plain, MAX_DEPTH)
    return _message(plain)


def decode_but_metrics(frame: bytes) -> Message | None:
    """As `decode`, but a `Beat` comes without its metrics: thousands of small objects that are only
    looked at when somebody scrapes; `decode` the kept frame then.

    Raises:
        DecodeError: as `decode`.
    """
    plain = unpack_fields(frame, _METRICS)
    if len(plain) > _METRICS_AT:
        if plain[1] != Beat.KIND:
            return decode(frame)
        plain[_METRICS_AT] = []
    return _message(plain)


def _message(plain: Any) -> Message | None:
    if type(plain) is not list or len(plain) < 2 or type(plain[0]) is not int:
        raise DecodeError("not a message", status=0)
    if plain[0] != VERSION or type(plain[1]) is not int:
        raise DecodeError("not a message of this version", status=0)
    kind = KINDS.get(plain[1])
    if kind is None:
        return None
    values = plain[2:]
    names, required, types = _SHAPES[kind]
    if len(values) < required:
        raise DecodeError(f"{kind.__name__}: {names[len(values)]} is missing", status=0)
    for name, value, wanted in zip(names, values, types, strict=False):
        if wanted is not None and type(value) is not wanted:
            raise DecodeError(f"{kind.__name__}: {name} is not {wanted.__name__}", status=0)
        if wanted is int and not -LIMIT < value < LIMIT:
            raise DecodeError(f"{kind.__name__}: {name} is beyond 2**53", status=0)
    return kind(*values[: len(names)])


def _shape(kind: type[Message]) -> tuple[list[str], int, list[type | None]]:
    """A kind's field names, how many are required, and their types (None for any)."""
    items = fields(kind)
    required = sum(item.default is MISSING and item.default_factory is MISSING for item in items)
    hints = get_type_hints(kind)
    types = [None if hints[item.name] is Any else _plain_type(hints[item.name]) for item in items]
    return [item.name for item in items], required, types


def _plain_type(hint: Any) -> type:
    origin: type = get_origin(hint) or hint
    return origin


_SHAPES = {kind: _shape(kind) for kind in KINDS.values()}
_METRICS_AT = 2 + _SHAPES[Beat][0].index("metrics")
_METRICS = frozenset({_METRICS_AT})
_OF_GROUPS = (RouteRequests.KIND, RouteReplies.KIND)  # each group is looked at by its own `decode`
