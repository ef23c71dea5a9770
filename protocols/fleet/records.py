"""Messages of the history: blocks in the feed's form, and gaps.

    header Nats-Msg-Id      `key`: 60 bytes at most, the same for the same block, whoever sends it
    header Cpppod-Gateway   the gateway's id
    header Cpppod-Kind      `block`, or `gap`
    header Cpppod-Place     <epoch>/<sequence>/<us>: how far the worker's history is with it
    header Cpppod-Previous  <epoch>/<sequence>/<us>: how far it was before, 0/0/0 at the beginning
    header Cpppod-Part      <number>/<parts>, of a body that is larger than the server takes
    body                    `protocols.bus.feed`, BLOCK; of a gap the map of its fields

`previous_in_topic` of a block is 0: the history has holes only where a gap says so. Where a
message's previous place is not the place of the one before it, messages are missing in between.
A gap has no id: it may come twice. Parts are slices of the body, one behind another.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.codec import pack, unpack
from cpppod.protocols.model.errors import DecodeError, EncodeError

ID, GATEWAY, KIND, PLACE = "Nats-Msg-Id", "Cpppod-Gateway", "Cpppod-Kind", "Cpppod-Place"
PREVIOUS, PART = "Cpppod-Previous", "Cpppod-Part"
MAX_PARTS = 10_000
LONGEST_ID = 60
BLOCK, GAP = "block", "gap"
GAP_TEXTS = ("publisher", "device", "group", "reason")
GAP_NUMBERS = ("epoch", "first", "last", "blocks", "samples", "from_us", "to_us")


class Place(NamedTuple):
    """How far a worker's history is: its life, the block in that, and when that was; 0 unknown."""

    epoch: int
    sequence: int
    gateway_us: int = 0

    def is_at(self, other: "Place") -> bool:
        """Whether both are of the same block."""
        return self[:2] == other[:2]


BEGINNING = Place(0, 0)


def message_id(gateway: str, worker: str, *numbers: int) -> str:
    """What a message is told apart by, of 60 bytes at most."""
    text = "/".join((gateway, worker, *map(str, numbers)))
    if len(text.encode()) <= LONGEST_ID:
        return text
    return hashlib.blake2b(text.encode(), digest_size=LONGEST_ID // 2).hexdigest()


def block_headers(gateway: str, worker: str, place: Place, before: Place) -> dict[str, str]:
    """The headers of a block, behind the one at `before`."""
    headers = _headers(gateway, BLOCK, place, before)
    return {ID: message_id(gateway, worker, place.epoch, place.sequence), **headers}


def gap_headers(gateway: str, place: Place) -> dict[str, str]:
    """The headers of a gap that is told behind the block at `place`."""
    return _headers(gateway, GAP, place, place)


def _headers(gateway: str, kind: str, place: Place, before: Place) -> dict[str, str]:
    told = {PLACE: "/".join(map(str, place)), PREVIOUS: "/".join(map(str, before))}
    return {GATEWAY: gateway, KIND: kind, **told}


def place_of(headers: Mapping[str, str], header: str = PLACE) -> Place:
    """How far the worker's history is with a message of these headers; or was before it.

    Raises:
        DecodeError: they do not say.
    """
    numbers = headers.get(header, "").split("/")
    if len(numbers) not in (2, 3) or not all(each.isdecimal() for each in numbers):
        raise DecodeError(f"{header}: {headers.get(header, '')[:60]!r}", status=0)
    return Place(*map(int, numbers))


def parts_of(
    headers: Mapping[str, str], body: bytes, size: int
) -> list[tuple[dict[str, str], bytes]]:
    """A message's headers and body; in parts, each with a number, where the body is over `size`.

    Raises:
        EncodeError: in more than `MAX_PARTS`.
    """
    if len(body) <= size:
        return [(dict(headers), body)]
    count = -(-len(body) // size)
    if count > MAX_PARTS:
        raise EncodeError(f"{len(body)} bytes in parts of {size}", status=0)
    found = []
    for number in range(1, count + 1):
        own = dict(headers) | {PART: f"{number}/{count}"}
        if ID in own and number > 1:
            own[ID] = message_id(own[ID], str(number))
        found.append((own, body[(number - 1) * size : number * size]))
    return found


def part_of(headers: Mapping[str, str]) -> tuple[int, int]:
    """The number of a part, and how many there are; 1 and 1 of a whole message.

    Raises:
        DecodeError: it is no such number.
    """
    number, _, count = headers.get(PART, "1/1").partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise DecodeError(f"{PART}: {headers[PART][:60]!r}", status=0)
    if not 1 <= int(number) <= int(count) <= MAX_PARTS:
        raise DecodeError(f"{PART}: {headers[PART][:60]!r}", status=0)
    return int(number), int(count)


def decode_block(data: bytes) -> feed.ValueMessage:
    """The block in a message's body.

    Raises:
        DecodeError: it is none.
    """
    message = feed.decode(data)
    if message.kind != feed.Kind.BLOCK:
        raise DecodeError(f"kind {message.kind}: no block", status=0)
    return message


def encode_gap(gap: Mapping[str, Any]) -> bytes:
    """The body of a gap.

    Raises:
        EncodeError: a number that msgpack cannot say.
    """
    return pack({key: gap[key] for key in (*GAP_TEXTS, *GAP_NUMBERS)})


def decode_gap(data: bytes) -> dict[str, Any]:
    """The fields of the gap in a message's body.

    Raises:
        DecodeError: it is none.
    """
    plain = unpack(data)
    if not isinstance(plain, dict):
        raise DecodeError("gap: expected a map", status=0)
    for keys, kind in ((GAP_TEXTS, str), (GAP_NUMBERS, int)):
        for key in keys:
            if type(plain.get(key)) is not kind:
                raise DecodeError(f"gap: {key} is not {kind.__name__}", status=0)
    return {key: plain[key] for key in (*GAP_TEXTS, *GAP_NUMBERS)}
