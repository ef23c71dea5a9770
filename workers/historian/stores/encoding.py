"""A reading as one SQLite row holds it: msgpack [numbers, values, qualities].

Tags are numbered per topic within a file; `numbers` is None where the reading names the topic's
first tags in order, which whole readings do. A keyframe is [numbers, values, qualities, times]:
all that a topic is worth.
"""

from typing import Any

from cpppod.protocols.bus import codec
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.historian.stores.store import Sample

pack = codec.pack


def unpack(row: bytes, fields: int) -> list[Any]:
    """The first `fields` fields of a row.

    Raises:
        DecodeError: the row is damaged.
    """
    plain = codec.unpack(row)
    if type(plain) is not list or len(plain) < fields:
        raise DecodeError("damaged row", status=0)
    return plain[:fields]


def place(numbers: list[int] | None, number: int, values: list[Any]) -> int:
    """Where the tag `number` is in a row; -1 if it is not."""
    if numbers is None:
        return number if number < len(values) else -1
    try:
        return numbers.index(number)
    except ValueError:
        return -1


def sample_of(row: bytes, number: int, time_us: int) -> Sample | None:
    """The sample of the tag `number` in a reading's row."""
    numbers, values, qualities = unpack(row, 3)
    at = place(numbers, number, values)
    if at < 0:
        return None
    return Sample(time_us, values[at], qualities if type(qualities) is int else qualities[at])


def keyframe_sample(row: bytes, number: int) -> Sample | None:
    """What a keyframe knows of the tag `number`, with its own time."""
    numbers, values, qualities, times = unpack(row, 4)
    at = place(numbers, number, values)
    return None if at < 0 else Sample(times[at], values[at], qualities[at])
