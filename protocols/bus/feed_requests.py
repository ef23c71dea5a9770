"""Snapshot and replay: what a subscriber asks the feed (`feed.req`), and the replies, a page each.

    ask     [version, 1 SNAPSHOT, id, [prefix ...], after]
    reply   [version, 1, id, feed_epoch, {publisher: [epoch, sequence, alive]},
                [[topic, payload] ...], next]
    ask     [version, 2 REPLAY, id, publisher, epoch, from, to, [prefix ...]]
    reply   [version, 2, id, feed_epoch, publisher, epoch, first_held, last,
                [[topic, payload] ...], next, next_epoch]
    reply   [version, 0 REFUSED, id, why]

Each is one msgpack frame between a DEALER and the feed's ROUTER. Payloads are value messages
(`protocols.bus.feed`): REPEATs in a snapshot, the messages themselves in a replay. Topics and
prefixes are strings; [""] asks for everything. A page ends with `next`: pass it as `after` (a
topic, "" at the end) or as `from` (a sequence, 0 at the end) to have the next one.

A replay's `first_held` is the first sequence of that epoch that the feed still holds, of any topic
(0 for none), `last` the last that was given out (0 where it does not know the epoch). What lies in
the range asked for and did not come is lost. `next_epoch` is the publisher's next life that the
feed knows of, 0 for none: who has all of this one goes on there, from 1.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from cpppod.protocols.bus.codec import pack, unpack
from cpppod.protocols.bus.feed import LIMIT
from cpppod.protocols.bus.topics import MAX_TOPIC, is_prefix
from cpppod.protocols.model.errors import DecodeError

VERSION = 1
MAX_REQUEST = 16_384  # bytes of a request: `MAX_PREFIXES` prefixes of ordinary length
MAX_PREFIXES = 256  # of one request
PAGE_BYTES = 262_144  # of payloads in one reply, unless its first alone is longer
TO_THE_END = LIMIT - 1  # as `to`: whatever that epoch has

Message = tuple[bytes, bytes]  # topic, payload


class Ask(IntEnum):
    """What a request, and the reply to it, is."""

    REFUSED = 0
    SNAPSHOT = 1
    REPLAY = 2


def fit_request(prefixes: Sequence[bytes]) -> bool:
    """Whether one request can name so many."""
    room = MAX_REQUEST - 2 * MAX_TOPIC  # for all else in it
    return len(prefixes) <= MAX_PREFIXES and sum(len(item) + 3 for item in prefixes) <= room


class SnapshotRequest(NamedTuple):
    """The last value of every topic that matches."""

    id: int
    prefixes: tuple[bytes, ...] = (b"",)
    after: bytes = b""

    def encode(self) -> bytes:
        """The request as its one frame."""
        prefixes = [prefix.decode() for prefix in self.prefixes]
        return pack([VERSION, Ask.SNAPSHOT, self.id, prefixes, self.after.decode()])


class ReplayRequest(NamedTuple):
    """The messages `first` to `last` of one epoch of a publisher, in order, that match."""

    id: int
    publisher: str
    epoch: int
    first: int
    last: int
    prefixes: tuple[bytes, ...] = (b"",)

    def encode(self) -> bytes:
        """The request as its one frame."""
        prefixes = [prefix.decode() for prefix in self.prefixes]
        return pack([VERSION, Ask.REPLAY, *self[:5], prefixes])


class Refused(NamedTuple):
    """The feed will not answer; the text says why."""

    id: int
    why: str

    def encode(self) -> bytes:
        """The reply as its one frame."""
        return pack([VERSION, Ask.REFUSED, self.id, self.why])


class SnapshotPage(NamedTuple):
    """Some of the last values.

    Attributes:
        publishers: name -> [epoch, last sequence, 1 if its heartbeats come, else 0], as of this
        page. following: the `after` of the next page, b"" if this is the last.
    """

    id: int
    feed_epoch: int
    publishers: dict[str, list[int]]
    messages: list[Message]
    following: bytes = b""

    def encode(self) -> bytes:
        """The reply as its one frame."""
        return pack(
            [
                VERSION,
                Ask.SNAPSHOT,
                self.id,
                self.feed_epoch,
                self.publishers,
                [[topic.decode(), payload] for topic, payload in self.messages],
                self.following.decode(),
            ]
        )


class ReplayPage(NamedTuple):
    """Some of the messages asked for; the module's text explains the numbers."""

    id: int
    feed_epoch: int
    publisher: str
    epoch: int
    first_held: int
    last: int
    messages: list[Message]
    following: int = 0
    next_epoch: int = 0

    def encode(self) -> bytes:
        """The reply as its one frame."""
        messages = [[topic.decode(), payload] for topic, payload in self.messages]
        return pack([VERSION, Ask.REPLAY, *self[:6], messages, self.following, self.next_epoch])


def decode_request(frame: bytes) -> SnapshotRequest | ReplayRequest:
    """The request in `frame`.

    Raises:
        DecodeError: not a request of this version, or beyond the limits; `status` is its id, or 0.
    """
    if len(frame) > MAX_REQUEST:
        raise DecodeError(f"request of {len(frame)} bytes", status=0)
    plain = _array(frame)
    identifier = plain[2]
    fields = plain[3:]
    if plain[1] == Ask.SNAPSHOT and _are(fields, (list, str)) and len(fields[1]) <= MAX_TOPIC:
        after = _bytes(fields[1], identifier)
        return SnapshotRequest(identifier, _prefixes(fields[0], identifier), after)
    if plain[1] == Ask.REPLAY and _are(fields, (str, int, int, int, list)):
        if not 0 <= min(fields[1:4]) <= max(fields[1:4]) < LIMIT:
            raise DecodeError("replay: integers beyond 2**53", status=identifier)
        prefixes = _prefixes(fields[4], identifier)
        return ReplayRequest._make((identifier, *fields[:4], prefixes))
    raise DecodeError("not a request", status=identifier)


def decode_reply(frame: bytes) -> SnapshotPage | ReplayPage | Refused | None:
    """The reply in `frame`; None for a kind that this version does not know.

    Raises:
        DecodeError: not a reply of this version.
    """
    plain = _array(frame)
    identifier, fields = plain[2], plain[3:]
    if plain[1] == Ask.SNAPSHOT and _are(fields, (int, dict, list, str)):
        for numbers in fields[1].values():
            if type(numbers) is not list or not _are(numbers, (int, int, int)):
                raise DecodeError("snapshot: publishers", status=0)
        messages = _messages(fields[2])
        return SnapshotPage(identifier, fields[0], fields[1], messages, _bytes(fields[3], 0))
    if plain[1] == Ask.REPLAY and _are(fields, (int, str, int, int, int, list, int, int)):
        return ReplayPage._make((identifier, *fields[:5], _messages(fields[5]), *fields[6:8]))
    if plain[1] == Ask.REFUSED and _are(fields, (str,)):
        return Refused(identifier, fields[0])
    if plain[1] not in tuple(Ask):
        return None
    raise DecodeError("not a reply", status=0)


def _array(frame: bytes) -> list[Any]:
    plain = unpack(frame)
    if (
        type(plain) is not list
        or len(plain) < 3
        or plain[0] != VERSION
        or not _are(plain, (int,) * 3)
    ):
        raise DecodeError("no message of this version", status=0)
    return plain


def _are(fields: list[Any], kinds: tuple[type, ...]) -> bool:
    """Whether the first fields are of these types; further ones are ignored."""
    return len(fields) >= len(kinds) and tuple(map(type, fields[: len(kinds)])) == kinds


def _bytes(text: Any, identifier: int) -> bytes:
    if type(text) is not str or not text.isascii():
        raise DecodeError("a topic is not ASCII", status=identifier)
    return text.encode()


def _prefixes(prefixes: list[Any], identifier: int) -> tuple[bytes, ...]:
    if not 0 < len(prefixes) <= MAX_PREFIXES:
        raise DecodeError(f"{len(prefixes)} prefixes", status=identifier)
    encoded = tuple(_bytes(prefix, identifier) for prefix in prefixes)
    if not all(map(is_prefix, encoded)):
        raise DecodeError("a prefix that no topic has", status=identifier)
    return encoded


def _messages(pairs: list[Any]) -> list[Message]:
    for pair in pairs:
        if type(pair) is not list or not _are(pair, (str, bytes)):
            raise DecodeError("expected [topic, payload]", status=0)
    return [(_bytes(pair[0], 0), pair[1]) for pair in pairs]
