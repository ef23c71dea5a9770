"""Typed netstrings: `4:true!`, `3:1.5^`, `5:hello$`; `LENGTH:PAYLOAD` and one byte of type.

# integer   ^ float   ! true, false   ~ None   , bytes   $ text   ] list   } dict
"""

from collections.abc import Callable
from typing import Any


def dump(data: Any, encoding: str = "utf-8") -> bytes:
    """`data` as a typed netstring.

    Raises:
        AssertionError: it has no such form.
    """
    found = _WRITERS.get(type(data))
    assert found is not None, f"Can't serialize a {type(data).__name__}"
    kind, write = found
    payload = write(data, encoding)
    return b"%d:%b%b" % (len(payload), payload, kind)


def parse(data: bytes, encoding: str = "utf-8") -> tuple[Any, bytes]:
    """(the first value, what follows it).

    Raises:
        AssertionError, ValueError: no typed netstring.
    """
    payload, kind, rest = parse_payload(data)
    assert kind in _READERS, f"Invalid payload type: {kind!r}"
    try:
        return _READERS[kind](payload, encoding), rest
    except KeyError:
        raise AssertionError(f"Invalid payload of type {kind!r}: {payload!r}") from None


def parse_payload(data: bytes) -> tuple[bytes, bytes, bytes]:
    """(payload, type, what follows).

    Raises:
        AssertionError, ValueError: no typed netstring.
    """
    assert isinstance(data, bytes), f"bytes are parsed, not {type(data).__name__}"
    digits, colon, rest = data.partition(b":")
    assert colon, "a length and ':' are missing"
    length = int(digits)
    assert len(rest) > length, f"{length} bytes and a type are said, {len(rest)} are there"
    return rest[:length], rest[length : length + 1], rest[length + 1 :]


def _values(payload: bytes, encoding: str) -> list[Any]:
    values = []
    while payload:
        value, payload = parse(payload, encoding)
        values.append(value)
    return values


def _dict(payload: bytes, encoding: str) -> dict[str, Any]:
    items = _values(payload, encoding)
    assert len(items) % 2 == 0, "a key without a value"
    keys = [key.decode() if isinstance(key, bytes) else str(key) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True))


def _pairs(data: dict[Any, Any], encoding: str) -> bytes:
    return b"".join(
        dump(str(key).encode("ascii"), encoding) + dump(value, encoding)
        for key, value in data.items()
    )


def _items(data: Any, encoding: str) -> bytes:
    return b"".join(dump(item, encoding) for item in data)


_Writer = Callable[[Any, str], bytes]
_WRITERS: dict[type, tuple[bytes, _Writer]] = {
    int: (b"#", lambda data, _: str(data).encode()),
    float: (b"^", lambda data, _: str(data).encode()),
    bool: (b"!", lambda data, _: str(data).lower().encode()),
    bytes: (b",", lambda data, _: data),
    str: (b"$", lambda data, encoding: data.encode(encoding)),
    type(None): (b"~", lambda _data, _: b""),
    dict: (b"}", _pairs),
    list: (b"]", _items),
    tuple: (b"]", _items),
}
_READERS: dict[bytes, Callable[[bytes, str], Any]] = {
    b"#": lambda payload, _: int(payload),
    b"^": lambda payload, _: float(payload),
    b"!": lambda payload, _: {b"true": True, b"false": False}[payload],
    b"?": lambda payload, _: {b"t": True, b"f": False}[payload],
    b",": lambda payload, _: payload,
    b"$": lambda payload, encoding: payload.decode(encoding),
    b"~": lambda payload, _: {b"": None}[payload],
    b"]": _values,
    b"}": _dict,
}
