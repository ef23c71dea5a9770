"""Value messages: what a publisher says about a group of values, and how the feed passes it on.

    frame 0  topic       `<device>/<group>/`, or `$/<publisher>/` for a heartbeat
    frame 1  msgpack     [version, publisher, epoch, sequence, previous_in_topic,
                          source_us, gateway_us, mono_us, kind, body, flags, gateway]

    kind         body                                        sequence
    1 BLOCK      [count, [tag ...], [value ...], qualities]  the publisher's last + 1
    2 HEARTBEAT  {topic: its last sequence}                  the publisher's last
    3 REPEAT     as BLOCK, with all members                  that of the block it repeats

A sequence counts a publisher's blocks over all topics, from 1. A block says that the whole group of
`count` members was read at `source_us`; members not named were confirmed unchanged. `qualities` is
one int for all members named, or a list (`protocols.values`). A value that goes with a bad quality
is None. After a write only the members written are read: `source_us` is their time, `mono_us`
stays that of the last whole reading. `previous_in_topic` is 0 for a topic's first block of an
epoch.

A repeat holds what a group is worth as of a block that was published before, with that block's own
times: after the feed or a subscriber has lost some. It applies where it is not older than what is
there.

`flags` may be missing, and is then 0. Bit 0, unjournalled: the block belongs to a group with
history, but could not be written to its publisher's journal in time; if it is lost it is a gap.

`gateway` may be missing: the id of the gateway whose worker the publisher is. Workers of two
gateways may have one name; (gateway, publisher, epoch, sequence) is a block's own.

Times are microseconds: `source_us` and `gateway_us` since 1970 (UTC), `mono_us` of the gateway's
monotonic clock. Readers ignore elements beyond these and kinds that they do not know.
"""

from enum import IntEnum
from typing import Any, NamedTuple

from cpppod.protocols.bus.codec import MAX_DEPTH, check_depth, pack, unpack_unchecked
from cpppod.protocols.bus.topics import MAX_PUBLISHER
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.values import Quality

VERSION = 1
MAX_PAYLOAD = 900_000  # bytes: a page of a snapshot holds it, and itself fits a message
UNJOURNALLED = 1  # bit 0 of the flags
LIMIT = 2**53  # every integer of the envelope lies below: doubles hold them exactly


class Kind(IntEnum):
    """What a value message is."""

    BLOCK = 1
    HEARTBEAT = 2
    REPEAT = 3


class Block(NamedTuple):
    """The body of a BLOCK or REPEAT.

    Attributes:
        members: how many the group has; `len(tags)` of them are named here.
        qualities: one for all, or one each.
    """

    members: int
    tags: list[str]
    values: list[Any]
    qualities: int | list[int] = Quality.GOOD

    def samples(self) -> list[tuple[str, Any, int]]:
        """(tag, value, quality) of each member named."""
        qualities = self.qualities
        if isinstance(qualities, list):
            return list(zip(self.tags, self.values, qualities, strict=True))
        return [(tag, value, qualities) for tag, value in zip(self.tags, self.values, strict=True)]

    def as_dict(self) -> dict[str, tuple[Any, int]]:
        """tag -> (value, quality) of each member named."""
        qualities = self.qualities
        if isinstance(qualities, list):
            pairs = zip(self.values, qualities, strict=True)
            return dict(zip(self.tags, pairs, strict=True))
        return {tag: (value, qualities) for tag, value in zip(self.tags, self.values, strict=True)}


class ValueMessage(NamedTuple):
    """The envelope; `body` is a `Block`, a heartbeat's map, or what an unknown kind brought."""

    publisher: str
    epoch: int
    sequence: int
    previous: int
    source_us: int
    gateway_us: int
    mono_us: int
    kind: int
    body: Any
    flags: int = 0

    def encode(self, gateway: str = "") -> bytes:
        """The payload, frame 1.

        Args:
            gateway: id of the publisher's gateway; "" leaves it out.

        Raises:
            EncodeError: longer than `MAX_PAYLOAD`, or a value that msgpack cannot say.
        """
        if gateway:
            payload = pack([VERSION, *self, gateway])
        else:
            payload = pack([VERSION, *self] if self.flags else [VERSION, *self[:-1]])
        if len(payload) > MAX_PAYLOAD:
            raise EncodeError(f"value message of {len(payload)} bytes", status=0)
        return payload


_SEVEN_INTEGERS = (int,) * 7
_ARRAY_OF_10, _ARRAY_OF_11, _ARRAY_OF_12 = b"\x9a", b"\x9b", b"\x9c"  # msgpack's fixarray
_STRINGS = frozenset((str,))


def decode(payload: bytes) -> ValueMessage:
    """The message in frame 1, checked down to its samples; an unknown kind keeps its body.

    Raises:
        DecodeError: no value message of this major version. Count it and drop it.
    """
    plain = unpack_unchecked(payload)
    if type(plain) is not list or len(plain) < 10 or plain[0] != VERSION:
        raise DecodeError("no value message of this version", status=0)
    publisher, numbers = plain[1], plain[2:9]
    if type(publisher) is not str or not 0 < len(publisher) <= MAX_PUBLISHER:
        raise DecodeError("publisher", status=0)
    if tuple(map(type, numbers)) != _SEVEN_INTEGERS or min(numbers) < 0 or max(numbers) >= LIMIT:
        raise DecodeError("envelope: expected integers below 2**53", status=0)
    kind, body = numbers[6], plain[9]
    if kind == Kind.BLOCK or kind == Kind.REPEAT:
        body = _block(body)
        if kind == Kind.BLOCK and numbers[2] >= numbers[1]:
            raise DecodeError("previous_in_topic is not before sequence", status=0)
    elif kind == Kind.HEARTBEAT:
        _check_heartbeat(body)
    else:
        check_depth(body, MAX_DEPTH - 1)
    flags = plain[10] if len(plain) > 10 and type(plain[10]) is int else 0
    return ValueMessage._make((publisher, *numbers, body, flags))


def gateway_of(payload: bytes) -> str:
    """The id of the gateway that a payload names, one that `decode` takes; "" where it does not."""
    plain = unpack_unchecked(payload)
    return plain[11] if len(plain) > 11 and type(plain[11]) is str else ""


def mark_unjournalled(payload: bytes, gateway: str = "") -> bytes:
    """The payload of a block, as `ValueMessage.encode` made it, with that flag set.

    Args:
        gateway: that it names.

    Raises:
        EncodeError: it has the flag already.
    """
    if payload[:1] == _ARRAY_OF_10:
        return _ARRAY_OF_11 + payload[1:] + bytes((UNJOURNALLED,))
    tail = b"\x00" + pack(gateway)
    if payload[:1] != _ARRAY_OF_12 or not payload.endswith(tail):
        raise EncodeError("flagged already", status=0)
    return payload[: -len(tail)] + bytes((UNJOURNALLED,)) + tail[1:]


def _block(body: Any) -> Block:
    """The block in a body.

    Raises:
        DecodeError: the lists do not fit each other, or hold what they must not.
    """
    if type(body) is not list or len(body) < 4:
        raise DecodeError("block: expected [count, tags, values, qualities]", status=0)
    count, tags, values, qualities = body[:4]
    if type(count) is not int or type(tags) is not list or type(values) is not list:
        raise DecodeError("block: wrong types", status=0)
    if not len(tags) == len(values) <= count:
        raise DecodeError(f"block: {len(tags)} tags, {len(values)} values of {count}", status=0)
    if not _STRINGS.issuperset(map(type, tags)):
        raise DecodeError("block: a tag is not a string", status=0)
    check_depth(values, MAX_DEPTH - 2)
    if type(qualities) is list:
        if len(qualities) != len(tags) or (qualities and set(map(type, qualities)) != {int}):
            raise DecodeError("block: qualities do not fit", status=0)
    elif type(qualities) is not int:
        raise DecodeError("block: quality is not an integer", status=0)
    return Block(count, tags, values, qualities)


def _check_heartbeat(body: Any) -> None:
    if type(body) is not dict:
        raise DecodeError("heartbeat: expected a map", status=0)
    for topic, sequence in body.items():
        if type(topic) is not str or type(sequence) is not int:
            raise DecodeError("heartbeat: expected topic: sequence", status=0)
