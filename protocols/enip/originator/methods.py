"""From an operation to its exchange: one entry for each method that an operation can name."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from cpppod.protocols.cip.message_router import REPLY, Service
from cpppod.protocols.cip.types import BOOL
from cpppod.protocols.enip.originator.bool_arrays import (
    ReadElements,
    WriteElements,
    bit_of_array,
)
from cpppod.protocols.enip.originator.exchange import (
    Call,
    Exchange,
    ReadBit,
    ReadTag,
    WriteBit,
    WriteTag,
)
from cpppod.protocols.enip.originator.operations import Operation, parse_path
from cpppod.protocols.enip.originator.pccc import PcccExchange
from cpppod.protocols.enip.originator.route import encode_path
from cpppod.protocols.enip.originator.values import Layouts, pack
from cpppod.protocols.model.errors import EncodeError

_USINT = 0xC6
_NOTHING: Mapping[bytes, tuple[int, int]] = {}
_Maker = Callable[[Operation, bytes, Layouts], Exchange]


def make_exchange(
    operation: Operation,
    layouts: Layouts,
    *,
    types: Mapping[bytes, tuple[int, int]] = _NOTHING,
    fragment: bool = False,
) -> Exchange:
    """The exchange that performs `operation`.

    Args:
        layouts: structures that are known by their handle.
        types: (type code, structure handle) by path, as earlier reads have shown them: strings and
            structures are written as what the tag is.
        fragment: use the Fragmented services from the first byte on.

    Raises:
        EncodeError: an unknown method, or a path or value that cannot be said.
    """
    method = operation.get("method") or ("write" if "data" in operation else "read")
    if "pccc" in operation:
        return PcccExchange(operation)
    if fragment and method in ("read", "write") and "bit" not in operation:
        operation = {"offset": 0, **operation}
    path = encode_path(operation.get("path", b""))
    if method == "write" and "bit" not in operation:
        first = _element_of_bools(operation)
        if first is not None:
            return WriteElements(operation, path, layouts, first)
        return WriteTag(operation, path, layouts, known=_known(operation, path, types))
    maker = _MAKERS.get(method)
    if maker is None:
        raise EncodeError(f"unknown method {method!r}; one of {', '.join(_MAKERS)}", status=0x08)
    return maker(operation, path, layouts)


def _known(
    operation: Operation, path: bytes, types: Mapping[bytes, tuple[int, int]]
) -> tuple[int, int] | None:
    """The type of the tag, or of the array that the path leads into."""
    named = operation["path"]
    if not types or path in types or isinstance(named, bytes):
        return types.get(path)
    segments = parse_path(named) if isinstance(named, str) else list(named)
    while segments and "element" in segments[-1]:
        segments.pop()
    return types.get(encode_path(segments))


def _read(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    if "bit" in operation:
        return ReadBit(operation, path, layouts)
    first = bit_of_array(operation) if "offset" not in operation else None
    if first is not None:
        return ReadElements(operation, path, layouts, first)
    return ReadTag(operation, path, layouts)


def _element_of_bools(operation: Operation) -> int | None:
    """The first element where the operation writes BOOLs to some; else None."""
    if operation.get("tag_type") != BOOL.code or "offset" in operation:
        return None
    return bit_of_array(operation)


def _get_attribute_single(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    call = Call(operation, path, Service.GET_ATTRIBUTE_SINGLE, code="G_A_S")
    call.repeatable, call.guessed = True, "tag_type" not in operation
    return call


def _get_attributes_all(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    call = Call(operation, path, Service.GET_ATTRIBUTES_ALL, code="G_A_A")
    call.repeatable = call.guessed = True
    return call


def _set_attribute_single(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    data = _attribute_data(operation)
    return Call(operation, path, Service.SET_ATTRIBUTE_SINGLE, data, code="S_A_S", reads=False)


def _set_attributes_all(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    data = _attribute_data(operation)
    return Call(operation, path, Service.SET_ATTRIBUTES_ALL, data, code="S_A_A", reads=False)


def _get_attribute_list(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    numbers = operation["attributes"]
    data = _uints(len(numbers), *numbers)
    call = Call(operation, path, Service.GET_ATTRIBUTE_LIST, data, code="G_A_L")
    call.repeatable = True
    return call


def _set_attribute_list(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    """`attributes` is [(number, data bytes) ...]."""
    items = operation["attributes"]
    data = _uints(len(items)) + b"".join(_uints(number) + _raw(value) for number, value in items)
    return Call(operation, path, Service.SET_ATTRIBUTE_LIST, data, code="S_A_L")


def _service_code(operation: Operation, path: bytes, layouts: Layouts) -> Exchange:
    code = int(operation["code"])
    if not 0 <= code < REPLY:
        raise EncodeError(f"service 0x{code:x}: 0 to 0x7f", status=0x08)
    data = _attribute_data(operation) if operation.get("data") else b""
    return Call(operation, path, code, data)


def _uints(*values: int) -> bytes:
    try:
        return struct.pack(f"<{len(values)}H", *values)
    except struct.error as error:
        raise EncodeError(f"attribute list: {error}", status=0x09) from None


def _raw(value: Any) -> bytes:
    """Bytes as they are, or a list of them."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, list | tuple):
        return pack(_USINT, value)
    raise EncodeError(f"attribute value {value!r}: expected bytes", status=0x09)


def _attribute_data(operation: Operation) -> bytes:
    """Values as bytes: by the operation's type, else one byte each, signed or not."""
    data = operation["data"]
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    code = operation.get("tag_type")
    if code is None:
        return pack(_USINT, [_unsigned(value) for value in data])
    return pack(code, data)


def _unsigned(value: Any) -> Any:
    return value & 0xFF if isinstance(value, int) and -128 <= value < 0 else value


_MAKERS: dict[str, _Maker] = {
    "read": _read,
    "write": lambda operation, path, layouts: WriteBit(operation, path, layouts),
    "get_attribute_single": _get_attribute_single,
    "get_attributes_all": _get_attributes_all,
    "get_attribute_list": _get_attribute_list,
    "set_attribute_single": _set_attribute_single,
    "set_attributes_all": _set_attributes_all,
    "set_attribute_list": _set_attribute_list,
    "service_code": _service_code,
}
