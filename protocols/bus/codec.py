"""msgpack with limits: what a frame on the bus may cost whoever reads it.

Counts and sizes are refused while decoding, before anything large is built; depth right after.
Extension types and timestamps are not ours and are refused too.
"""

from typing import Any

import msgpack

from cpppod.protocols.model.errors import DecodeError, EncodeError

MAX_MESSAGE = 1_048_576  # bytes: ZMQ_MAXMSGSIZE of every socket; 10,000 tags fit several times
MAX_DEPTH = 8  # a Beat's metrics, the deepest of ours, need 5
MAX_ITEMS = 20_000  # elements of one array or map: twice the tags of the largest group


def pack(value: Any) -> bytes:
    """`value` as one msgpack frame.

    Raises:
        EncodeError: longer than `MAX_MESSAGE`, or of a type that msgpack cannot say.
    """
    try:
        frame: bytes = msgpack.packb(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(f"cannot be packed: {error}", status=0) from None
    if len(frame) > MAX_MESSAGE:
        raise EncodeError(f"message of {len(frame)} bytes", status=0)
    return frame


def unpack(frame: bytes) -> Any:
    """The value in `frame`.

    Raises:
        DecodeError: not msgpack, or beyond the limits.
    """
    value = unpack_unchecked(frame)
    check_depth(value, MAX_DEPTH)
    return value


def unpack_unchecked(frame: bytes) -> Any:
    """As `unpack`, for who knows the shape: what may nest in it needs a `check_depth`.

    Raises:
        DecodeError: not msgpack, or beyond the other limits.
    """
    if len(frame) > MAX_MESSAGE:
        raise DecodeError(f"message of {len(frame)} bytes", status=0)
    try:
        return msgpack.unpackb(
            frame, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, ext_hook=_refuse
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not msgpack: {type(error).__name__}", status=0) from None


def unpack_fields(frame: bytes, skipped: frozenset[int]) -> list[Any]:
    """The elements of the array in `frame`; those whose index is in `skipped` are None, and cost
    nothing: for who keeps a frame and looks into the rest of it later, if ever.

    Raises:
        DecodeError: not an array, or beyond the limits.
    """
    if len(frame) > MAX_MESSAGE:
        raise DecodeError(f"message of {len(frame)} bytes", status=0)
    unpacker = msgpack.Unpacker(
        max_buffer_size=MAX_MESSAGE,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
        ext_hook=_refuse,
    )
    unpacker.feed(frame)
    fields: list[Any] = []
    try:
        count = unpacker.read_array_header()
        if count > MAX_ITEMS:
            raise ValueError(count)
        for index in range(count):
            if index in skipped:
                unpacker.skip()
                fields.append(None)
            else:
                fields.append(unpacker.unpack())
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not msgpack: {type(error).__name__}", status=0) from None
    if unpacker.tell() != len(frame):
        raise DecodeError("bytes behind the array", status=0)
    check_depth(fields, MAX_DEPTH)
    return fields


def check_depth(value: Any, levels: int) -> None:
    """Refuse what is nested deeper than `levels`, and timestamps, which no hook sees.

    Raises:
        DecodeError: it is.
    """
    kind = type(value)
    if kind is list:
        items = value
    elif kind is dict:
        items = value.values()
    elif kind is msgpack.Timestamp:
        raise DecodeError("a timestamp", status=0)
    else:
        return
    if levels == 0:
        raise DecodeError(f"nested deeper than {MAX_DEPTH}", status=0)
    if not _PLAIN.issuperset(map(type, items)):
        for item in items:
            check_depth(item, levels - 1)


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


_PLAIN = frozenset((bool, int, float, str, bytes, type(None)))
