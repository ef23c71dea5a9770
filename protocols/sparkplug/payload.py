"""Payloads of Sparkplug B: protobuf's wire form of `org.eclipse.tahu.protobuf.Payload`.

    Payload   1 timestamp (ms)  2 metrics  3 seq
    Metric    1 name  2 alias  3 timestamp  4 datatype  5 is_historical  7 is_null  9 properties
              10 int  11 long  12 float  13 double  14 boolean  15 string  16 bytes
    Property  of a set: 1 keys  2 values; a value: 1 type  3 int  8 string

What decoders on the market agree on decides how a value is said: integers of 8 and 16 bits with a
sign go as Int32, UInt32 in the long field, text as String, and the datatype stands beside the alias
in every message.
Datasets, templates and metadata are neither sent nor read; unknown fields are passed over.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from cpppod.protocols.model.errors import DecodeError, EncodeError


class DataType(IntEnum):
    """What a metric's value is."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    BYTES = 17
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33


OF_CIP = {  # CIP type -> (of a scalar, of an array)
    "BOOL": (DataType.BOOLEAN, DataType.BOOLEAN_ARRAY),
    "SINT": (DataType.INT32, DataType.INT32_ARRAY),
    "INT": (DataType.INT32, DataType.INT32_ARRAY),
    "DINT": (DataType.INT32, DataType.INT32_ARRAY),
    "LINT": (DataType.INT64, DataType.INT64_ARRAY),
    "USINT": (DataType.UINT8, DataType.UINT8_ARRAY),
    "UINT": (DataType.UINT16, DataType.UINT16_ARRAY),
    "UDINT": (DataType.INT64, DataType.UINT32_ARRAY),
    "ULINT": (DataType.UINT64, DataType.UINT64_ARRAY),
    "BYTE": (DataType.UINT8, DataType.UINT8_ARRAY),
    "WORD": (DataType.UINT16, DataType.UINT16_ARRAY),
    "DWORD": (DataType.INT64, DataType.UINT32_ARRAY),
    "LWORD": (DataType.UINT64, DataType.UINT64_ARRAY),
    "REAL": (DataType.FLOAT, DataType.FLOAT_ARRAY),
    "LREAL": (DataType.DOUBLE, DataType.DOUBLE_ARRAY),
}
TEXT = (DataType.STRING, DataType.STRING_ARRAY)  # every type of text

_INTEGERS: dict[int, tuple[int, bool]] = {  # datatype -> (bits, signed)
    DataType.INT8: (8, True),
    DataType.INT16: (16, True),
    DataType.INT32: (32, True),
    DataType.INT64: (64, True),
    DataType.UINT8: (8, False),
    DataType.UINT16: (16, False),
    DataType.UINT32: (32, False),
    DataType.UINT64: (64, False),
    DataType.DATETIME: (64, False),
}
_ARRAYS = {  # datatype -> struct's code of an element, little-endian
    DataType.INT32_ARRAY: "i",
    DataType.INT64_ARRAY: "q",
    DataType.UINT8_ARRAY: "B",
    DataType.UINT16_ARRAY: "H",
    DataType.UINT32_ARRAY: "I",
    DataType.UINT64_ARRAY: "Q",
    DataType.FLOAT_ARRAY: "f",
    DataType.DOUBLE_ARRAY: "d",
}
_TEXTS = frozenset({DataType.STRING, DataType.TEXT, DataType.UUID})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
LARGEST = 1 << 64
MAX_METRICS = 100_000


@dataclass(frozen=True, slots=True)
class Metric:
    """A value with what it is called and what it is.

    Attributes:
        name: in births, and where there is no alias.
        alias: stands for the name after the birth; None without one.
        value: of Python's own type; None is said as null.
        timestamp_ms: since 1970.
        historical: a value of before, which the newest does not follow from.
        properties: name -> number or text; `Quality` is 192 good, 0 bad, 500 stale.
    """

    name: str
    datatype: int
    value: Any = None
    timestamp_ms: int = 0
    alias: int | None = None
    historical: bool = False
    properties: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payload:
    """A message's content; `seq` is None where it has none."""

    timestamp_ms: int
    metrics: Sequence[Metric] = ()
    seq: int | None = None

    def encode(self) -> bytes:
        """The bytes.

        Raises:
            EncodeError: a value that its datatype cannot say.
        """
        parts = [_unsigned(1, self.timestamp_ms)]
        parts += [_delimited(2, encode_metric(metric)) for metric in self.metrics]
        if self.seq is not None:
            parts.append(_unsigned(3, self.seq))
        return b"".join(parts)


def encode_metric(metric: Metric) -> bytes:
    """A metric's bytes, without what stands before them in a payload.

    Raises:
        EncodeError: a value that its datatype cannot say.
    """
    parts = []
    if metric.name:
        parts.append(_delimited(1, metric.name.encode()))
    if metric.alias is not None:
        parts.append(_unsigned(2, metric.alias))
    if metric.timestamp_ms:
        parts.append(_unsigned(3, metric.timestamp_ms))
    parts.append(_unsigned(4, metric.datatype))
    if metric.historical:
        parts.append(_unsigned(5, 1))
    if metric.value is None:
        parts.append(_unsigned(7, 1))
    if metric.properties:
        parts.append(_delimited(9, _properties(metric.properties)))
    if metric.value is not None:
        parts.append(_value(metric.datatype, metric.value))
    return b"".join(parts)


def _value(datatype: int, value: Any) -> bytes:
    """The value's field.

    Raises:
        EncodeError: the datatype cannot say it.
    """
    try:
        if datatype in _INTEGERS:
            bits, signed = _INTEGERS[datatype]
            if not -(signed << bits - 1) <= value < 1 << bits - signed:
                raise EncodeError(f"{value} is no {DataType(datatype).name}", status=0)
            long = bits == 64 or datatype == DataType.UINT32
            return _unsigned(11 if long else 10, int(value) & (1 << (64 if long else 32)) - 1)
        if datatype == DataType.FLOAT:
            return bytes((12 << 3 | _FIXED32,)) + struct.pack("<f", value)
        if datatype == DataType.DOUBLE:
            return bytes((13 << 3 | _FIXED64,)) + struct.pack("<d", value)
        if datatype == DataType.BOOLEAN:
            return _unsigned(14, int(bool(value)))
        if datatype in _TEXTS:
            return _delimited(15, value.encode())
        return _delimited(16, _array(datatype, value))
    except (struct.error, OverflowError, TypeError, AttributeError) as error:
        raise EncodeError(f"{value!r:.60} as datatype {datatype}: {error}", status=0) from None


def _array(datatype: int, values: Any) -> bytes:
    if datatype == DataType.BYTES:
        return bytes(values)
    if datatype == DataType.BOOLEAN_ARRAY:
        packed = bytearray((len(values) + 7) // 8)
        for index, value in enumerate(values):
            packed[index // 8] |= bool(value) << 7 - index % 8
        return struct.pack("<I", len(values)) + packed
    if datatype == DataType.STRING_ARRAY:
        return b"".join(text.encode() + b"\0" for text in values)
    if datatype not in _ARRAYS:
        raise EncodeError(f"datatype {datatype} is not sent", status=0)
    return struct.pack(f"<{len(values)}{_ARRAYS[DataType(datatype)]}", *values)


def _properties(properties: dict[str, int | str]) -> bytes:
    parts = [_delimited(1, name.encode()) for name in properties]
    for value in properties.values():
        if isinstance(value, str):
            said = _unsigned(1, DataType.STRING) + _delimited(8, value.encode())
        else:
            said = _unsigned(1, DataType.INT32) + _unsigned(3, value & 0xFFFFFFFF)
        parts.append(_delimited(2, said))
    return b"".join(parts)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _unsigned(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


# Decoding


def decode(data: bytes) -> Payload:
    """The payload in `data`.

    Raises:
        DecodeError: no payload, or cut off.
    """
    timestamp, seq = 0, None
    metrics: list[Metric] = []
    for number, value in _fields(data):
        if number == 1:
            timestamp = _integer(value)
        elif number == 2:
            if len(metrics) >= MAX_METRICS:
                raise DecodeError("too many metrics", status=0)
            metrics.append(_metric(_part(value)))
        elif number == 3:
            seq = _integer(value)
    return Payload(timestamp, metrics, seq)


def _metric(data: bytes) -> Metric:
    found = dict(_fields(data))
    datatype = _integer(found.get(4, 0))
    null = bool(_integer(found.get(7, 0)))
    return Metric(
        name=_text(found.get(1, b"")),
        datatype=datatype,
        value=None if null else _decode_value(datatype, found),
        timestamp_ms=_integer(found.get(3, 0)),
        alias=_integer(found[2]) if 2 in found else None,
        historical=bool(_integer(found.get(5, 0))),
        properties=_decode_properties(_part(found.get(9, b""))),
    )


def _decode_value(datatype: int, found: dict[int, int | bytes]) -> Any:
    for number, read in _VALUES.items():
        if number in found:
            return read(datatype, found[number])
    return None


def _decode_integer(datatype: int, value: int | bytes) -> int:
    raw = _integer(value)
    bits, signed = _INTEGERS.get(datatype, (64, False))
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if signed and raw >> bits - 1 else raw


def _decode_bytes(datatype: int, value: int | bytes) -> Any:
    data = _part(value)
    try:
        if datatype == DataType.BOOLEAN_ARRAY:
            (count,) = struct.unpack_from("<I", data)
            if count > 8 * (len(data) - 4):
                raise DecodeError("boolean array cut off", status=0)
            return [bool(data[4 + at // 8] >> 7 - at % 8 & 1) for at in range(count)]
        if datatype == DataType.STRING_ARRAY:
            return [_text(text) for text in data.split(b"\0")[:-1]]
        if datatype in _ARRAYS:
            code = _ARRAYS[DataType(datatype)]
            return [value for (value,) in struct.iter_unpack(f"<{code}", data)]
    except struct.error as error:
        raise DecodeError(f"array: {error}", status=0) from None
    return data


def _fixed(code: str, wire: int) -> Callable[[int, int | bytes], float]:
    def read(_datatype: int, value: int | bytes) -> float:
        data = _part(value)
        if len(data) != wire:
            raise DecodeError("number of another size", status=0)
        number: float = struct.unpack(code, data)[0]
        return number

    return read


_VALUES: dict[int, Callable[[int, int | bytes], Any]] = {
    10: _decode_integer,
    11: _decode_integer,
    12: _fixed("<f", 4),
    13: _fixed("<d", 8),
    14: lambda _datatype, value: bool(_integer(value)),
    15: lambda _datatype, value: _text(value),
    16: _decode_bytes,
}


def _decode_properties(data: bytes) -> dict[str, int | str]:
    names: list[str] = []
    values: list[int | str] = []
    for number, value in _fields(data):
        if number == 1:
            names.append(_text(value))
        elif number == 2:
            one = dict(_fields(_part(value)))
            text = 8 in one
            kind = _integer(one.get(1, 0))
            values.append(_text(one[8]) if text else _decode_integer(kind, one.get(3, 0)))
    return dict(zip(names, values, strict=False))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number, and its integer or bytes.

    Raises:
        DecodeError: cut off, or a form that protobuf does not have.
    """
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _read_varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise DecodeError(f"field {number} of wire type {wire}", status=0)
        if at + size > len(data):
            raise DecodeError(f"field {number} is cut off", status=0)
        yield number, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= LARGEST:
                break
            return value, at
        shift += 7
    raise DecodeError("integer cut off or too long", status=0)


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise DecodeError("bytes where an integer stands", status=0)
    return value


def _part(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeError("an integer where bytes stand", status=0)
    return value


def _text(value: int | bytes) -> str:
    try:
        return _part(value).decode()
    except UnicodeDecodeError:
        raise DecodeError("text is not UTF-8", status=0) from None


def datatype_of(cip_type: str, *, array: bool = False) -> DataType:
    """How a tag of this CIP type is said."""
    return OF_CIP.get(cip_type, TEXT)[array]
