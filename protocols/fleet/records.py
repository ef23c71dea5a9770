"""Messages of the history: blocks in the feed's form, and gaps.

    header Nats-Msg-Id      `key`: 60 bytes at most, the same for the same block, whoever sends it
    header Cpppod-Gateway   the gateway's id
    header Cpppod-Kind      `block`, or `gap`
    header Cpppod-Place     <epoch>/<sequence>: how far the worker's history is with it
    body                    `protocols.bus.feed`, BLOCK; of a gap the map of its fields

`previous_in_topic` of a block is 0: the history has holes only where a gap says so.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.codec import pack, unpack
from cpppod.protocols.model.errors import DecodeError

ID, GATEWAY, KIND, PLACE = "Nats-Msg-Id", "Cpppod-Gateway", "Cpppod-Kind", "Cpppod-Place"
LONGEST_ID = 60
BLOCK, GAP = "block", "gap"
GAP_TEXTS = ("publisher", "device", "group", "reason")
GAP_NUMBERS = ("epoch", "first", "last", "blocks", "samples", "from_us", "to_us")


class Place(NamedTuple):
    """How far a worker's history is: its life, and the block in that."""

    epoch: int
    sequence: int


def message_id(gateway: str, worker: str, *numbers: int) -> str:
    """What a message is told apart by, of 60 bytes at most."""
    text = "/".join((gateway, worker, *map(str, numbers)))
    if len(text.encode()) <= LONGEST_ID:
        return text
    return hashlib.blake2b(text.encode(), digest_size=LONGEST_ID // 2).hexdigest()


def block_headers(gateway: str, worker: str, place: Place) -> dict[str, str]:
    """The headers of a block."""
    return _headers(message_id(gateway, worker, *place), gateway, BLOCK, place)


def gap_headers(gateway: str, worker: str, place: Place, gap: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a gap that is told behind the block at `place`."""
    numbers = [gap["epoch"], gap["first"], gap["last"], gap["from_us"], gap["to_us"]]
    return _headers(message_id(gateway, f"{worker}/gap", *numbers), gateway, GAP, place)


def _headers(name: str, gateway: str, kind: str, place: Place) -> dict[str, str]:
    return {ID: name, GATEWAY: gateway, KIND: kind, PLACE: f"{place.epoch}/{place.sequence}"}


def place_of(headers: Mapping[str, str]) -> Place:
    """How far the worker's history is with a message of these headers.

    Raises:
        DecodeError: they do not say.
    """
    epoch, _, sequence = headers.get(PLACE, "").partition("/")
    if not (epoch.isdecimal() and sequence.isdecimal()):
        raise DecodeError(f"{PLACE}: {headers.get(PLACE, '')[:60]!r}", status=0)
    return Place(int(epoch), int(sequence))


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
