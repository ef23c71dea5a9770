"""The journal's form on disk: what a worker writes down before it publishes.

    segment  magic   version  reserved  epoch  created      record ...
             8 bytes UINT     UINT      ULINT  ULINT (us)

    record   length  crc    kind   reserved  topic length  sequence  samples   topic, body
             UDINT   UDINT  USINT  USINT     UINT          ULINT     UDINT     bytes

All little-endian. `length` counts the bytes of topic and body; `crc` is zlib's CRC-32 of all that
follows it. A segment has one publisher (its folder's name) and one epoch; a worker's every life
begins a new one. Epoch and `created` together tell it from any other of its number. Its first
record is a `GATEWAY`, its body the id; without one the gateway is "". A block's body is the value
message as published; a gap's is msgpack and says what is not here:

    [from sequence, to sequence, blocks, samples, reason, from_us, to_us]

A life that ended in good order ends with a `STOPPED` record: its sequence is the last one given
out, its body msgpack [at_us], and everything up to there is in the journal or declared.

A tombstone replaces a segment that had to be dropped before it was stored; it has a block's heads
only, bodies empty: which sequences are lost, and how many samples they held.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from cpppod.protocols.bus.codec import MAX_MESSAGE, pack, unpack
from cpppod.protocols.model.errors import DecodeError, EncodeError

MAGIC = b"cpppodJ\n"
VERSION = 1
SEGMENT = struct.Struct("<8sHHQQ")
HEAD = struct.Struct("<IIBBHQI")
CHECKED_FROM = 8  # the CRC covers a record from here on
MAX_TOPIC = 255  # bytes: two names of 40 and two slashes need 82
MAX_GATEWAY = 64  # bytes of a gateway's id
LARGEST_HEAD = SEGMENT.size + HEAD.size + MAX_GATEWAY
MAX_BODY = MAX_MESSAGE + MAX_TOPIC  # nothing longer was ever published; a longer claim is damage


class Kind(IntEnum):
    """What a record is."""

    BLOCK = 1  # a value message
    GAP = 2  # blocks that were published, or read, and are not here
    LOST = 3  # in a tombstone: the head of a block that was dropped
    STOPPED = 4  # the publisher ended here in good order
    GATEWAY = 5  # whose worker the publisher is


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's own head, with the record that names its gateway."""

    epoch: int
    created_us: int
    version: int = VERSION
    gateway: str = ""

    def encode(self) -> bytes:
        """The head, `SEGMENT.size` bytes and, where there is a gateway, its record."""
        head = SEGMENT.pack(MAGIC, self.version, 0, self.epoch, self.created_us)
        if not self.gateway:
            return head
        name = self.gateway.encode("ascii")
        return head + encode_record(Kind.GATEWAY, b"", name, sequence=0, samples=0)


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `end` is the offset behind it in what was scanned."""

    kind: int
    sequence: int
    samples: int
    topic: bytes
    body: bytes
    end: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """What a gap record says: sequences of one topic (all topics: b"") that will not come."""

    first: int
    last: int
    blocks: int
    samples: int
    reason: str
    from_us: int
    to_us: int

    def encode(self) -> bytes:
        """The body of a `Kind.GAP` record."""
        return pack(
            [
                self.first,
                self.last,
                self.blocks,
                self.samples,
                self.reason,
                self.from_us,
                self.to_us,
            ]
        )


def decode_hole(body: bytes) -> Hole:
    """The gap in a record's body.

    Raises:
        DecodeError: not one.
    """
    plain = unpack(body)
    if not isinstance(plain, list) or len(plain) < 7:
        raise DecodeError("not a gap", status=0)
    reason = plain[4]
    if not isinstance(reason, str) or not all(
        isinstance(plain[item], int) for item in (0, 1, 2, 3, 5, 6)
    ):
        raise DecodeError("not a gap", status=0)
    return Hole(*plain[:7])


def encode_record(kind: int, topic: bytes, body: bytes, *, sequence: int, samples: int) -> bytes:
    """A record as it is appended.

    Raises:
        EncodeError: topic or body longer than anything that is published.
    """
    if len(topic) > MAX_TOPIC or len(topic) + len(body) > MAX_BODY:
        raise EncodeError(f"record of {len(topic)} + {len(body)} bytes", status=0)
    length = len(topic) + len(body)
    head = HEAD.pack(length, 0, kind, 0, len(topic), sequence, samples)
    crc = zlib.crc32(body, zlib.crc32(topic, zlib.crc32(head[CHECKED_FROM:])))
    return b"".join((head[:4], crc.to_bytes(4, "little"), head[CHECKED_FROM:], topic, body))


def decode_segment(data: bytes) -> Segment:
    """The head of a segment; of `data` at most `LARGEST_HEAD` bytes matter.

    Raises:
        DecodeError: no segment of ours, or `status` 1: written by a newer version (do not touch
            it).
    """
    if len(data) < SEGMENT.size:
        raise DecodeError("segment without its head", status=0)
    magic, version, _, epoch, created_us = SEGMENT.unpack_from(data)
    if magic != MAGIC:
        raise DecodeError("not a journal segment", status=0)
    if version > VERSION:
        raise DecodeError(f"journal version {version} is newer than {VERSION}", status=1)
    records, _, _ = scan(data[:LARGEST_HEAD], SEGMENT.size)
    named = bool(records) and records[0].kind == Kind.GATEWAY and records[0].body.isascii()
    gateway = records[0].body.decode("ascii") if named else ""
    return Segment(epoch, created_us, version, gateway)


def encode_stop(at_us: int, place: str = "") -> bytes:
    """The body of a `Kind.STOPPED` record; `place` tells the file that it is in from a copy."""
    return pack([at_us, place])


def stopped_in(body: bytes) -> str:
    """The place that the end of a life names, "" where it names none."""
    try:
        plain = unpack(body)
    except DecodeError:
        return ""
    named = isinstance(plain, list) and len(plain) > 1 and isinstance(plain[1], str)
    return plain[1] if named else ""


def decode_stop(body: bytes) -> int:
    """When the life ended, microseconds since 1970.

    Raises:
        DecodeError: no such body.
    """
    plain = unpack(body)
    if not isinstance(plain, list) or not plain or type(plain[0]) is not int:
        raise DecodeError("not the end of a life", status=0)
    return plain[0]


def scan(data: bytes, offset: int = 0) -> tuple[list[Record], int, str]:
    """The records in `data` from `offset` on, where the next one begins, and what stopped the scan.

    What stopped it is "" at the end of `data`, `short` where the last record is not all there (it
    may still be being written), or what is wrong with the bytes at that place.
    """
    records: list[Record] = []
    size = len(data)
    view = memoryview(data)
    while size - offset >= HEAD.size:
        length, crc, kind, _, topic_length, sequence, samples = HEAD.unpack_from(data, offset)
        if length > MAX_BODY or topic_length > length:
            return records, offset, f"length {length}"
        end = offset + HEAD.size + length
        if end > size:
            return records, offset, "short"
        if zlib.crc32(view[offset + CHECKED_FROM : end]) != crc:
            return records, offset, "checksum"
        body_at = offset + HEAD.size + topic_length
        topic = data[offset + HEAD.size : body_at]
        records.append(Record(kind, sequence, samples, topic, data[body_at:end], end))
        offset = end
    return records, offset, "short" if offset < size else ""


def next_record(data: bytes, begin: int, end: int) -> int:
    """The first place in `data` from `begin` on, before `end`, where a whole record is; else -1."""
    places = (at for at in range(begin, min(end, len(data))) if scan(data, at)[0])
    return next(places, -1)
