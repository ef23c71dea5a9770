"""msgpack with limits: what a frame on the bus may cost whoever reads it.

Depth, counts and sizes are refused while decoding, before anything large is built; extension types
and timestamps are not ours and are refused too.
"""

from typing import Any

import msgpack

from cpppod.protocols.errors import DecodeError, EncodeError

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
    if len(frame) > MAX_MESSAGE:
        raise DecodeError(f"message of {len(frame)} bytes", status=0)
    try:
        return msgpack.unpackb(
            frame,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
            ext_hook=_refuse,
        )
    except Exception as error:  # msgpack raises five kinds, OverflowError and RecursionError among them
        raise DecodeError(f"not msgpack: {type(error).__name__}", status=0) from None


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")
