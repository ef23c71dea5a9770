"""Values as an originator sends and gets them: lists of elements to bytes and back, strictly.

A reply that does not hold exactly what its type says is an error, never a shorter or another value.
Structures are dicts where their template is known (`originator_structures`), bytes where it is not.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from cpppod.protocols.cip import types
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.structures import STRING, Structure
from cpppod.protocols.cip.types import BY_CODE, STRUCTURE
from cpppod.protocols.model.errors import DecodeError, EncodeError

TRUE = 0xFF  # what controllers show and other clients write for a true BOOL
_SIGNED = {kind.code for kind in BY_CODE.values() if kind.kind == "int" and kind.signed}


Layouts = Mapping[int, Structure]


def element_size(code: int, handle: int, layouts: Layouts) -> int:
    """Bytes of one element, 0 where unknown or varying."""
    if code == STRUCTURE:
        if handle in layouts:
            return layouts[handle].size
        return STRING.size if handle == types.STRING82_HANDLE else 0
    kind = BY_CODE.get(code)
    return kind.size if kind is not None else 0


def unpack(code: int, handle: int, data: bytes, layouts: Layouts) -> list[Any]:
    """The elements in `data`.

    Raises:
        DecodeError: an unknown type, part of an element, or a string longer than its place.
    """
    if code == STRUCTURE:
        return _unpack_structures(handle, data, layouts)
    kind = BY_CODE.get(code)
    if kind is None:
        raise DecodeError(f"unknown type 0x{code:04x}", status=0xFF)
    if kind.size and len(data) % kind.size:
        raise DecodeError(f"{len(data)} bytes of {kind.name}", status=0x13)
    try:
        return kind.unpack(data)
    except CipError as error:
        raise DecodeError(f"{kind.name}: {error}", status=0x13) from None


def _unpack_structures(handle: int, data: bytes, layouts: Layouts) -> list[Any]:
    layout = layouts.get(handle)
    if layout is None and handle == types.STRING82_HANDLE:
        layout = STRING
    if layout is None:
        return [bytes(data)]
    if not layout.size or len(data) % layout.size:
        raise DecodeError(f"{len(data)} bytes of {layout.name}", status=0x13)
    if layout.is_string:
        _check_strings(layout, data)
    return layout.unpack(data)


def _check_strings(layout: Structure, data: bytes) -> None:
    capacity = layout.members[1].length
    for offset in range(0, len(data), layout.size):
        (length,) = struct.unpack_from("<i", data, offset)
        if not 0 <= length <= capacity:
            raise DecodeError(f"{layout.name} of {length} characters", status=0x13)


def pack(code: int, values: Sequence[Any]) -> bytes:
    """The elements of an elementary type back to back.

    Raises:
        EncodeError: an unknown type, or a value that it cannot hold.
    """
    kind = BY_CODE.get(code)
    if kind is None:
        raise EncodeError(f"unknown type 0x{code:04x}", status=0x20)
    if kind.kind == "bool":
        return bytes(TRUE if value else 0 for value in values)
    if code in _SIGNED:
        top, wrap = 1 << 8 * kind.size - 1, 1 << 8 * kind.size
        values = [value - wrap if top <= value < wrap else value for value in _numbers(values)]
    elif kind.kind == "int":
        values = _numbers(values)
    return kind.pack(values)


def pack_structures(handle: int, values: Sequence[Any], layouts: Layouts) -> bytes:
    """Structure elements back to back: dicts by their layout, strings, or bytes as they are.

    Raises:
        EncodeError: a dict of a structure that nobody has described yet (`browse()` does).
    """
    layout = layouts.get(handle)
    if layout is None and handle == types.STRING82_HANDLE:
        layout = STRING
    if layout is not None:
        for value in values:
            _check_members(layout, value)
        return layout.pack(values)
    if all(isinstance(value, bytes | bytearray) for value in values):
        return b"".join(bytes(value) for value in values)
    raise EncodeError(f"structure 0x{handle:04x} is not known: browse the target", status=0x20)


def _check_members(layout: Structure, value: Any) -> None:
    """A structure is written whole: a member left out would become zero."""
    if not isinstance(value, Mapping) or layout.is_string:
        return
    given = {str(name).casefold() for name in value}
    for member in layout.members:
        if not member.hidden and member.name.casefold() not in given:
            raise EncodeError(f"{layout.name}: member {member.name} is missing", status=0x13)


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    for value in values:
        if not isinstance(value, int):
            raise EncodeError(f"{value!r} is no integer", status=0x09)
    return values
