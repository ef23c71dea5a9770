"""Tags of an EtherNet/IP device: how each is read and written, and what its reply is worth.

A tag's configured type must be what the device holds, or an integer type that the value fits: a
changed type is a bad quality, never another number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.cip import types
from cpppod.protocols.cip.status import ConnectionStatus, GeneralStatus, describe
from cpppod.protocols.enip.originator.bool_arrays import (
    WORD,
    bit_of_array,
    bits_of,
    is_beyond,
    words_of,
)
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.pccc import parse_address
from cpppod.protocols.enip.originator.plan import BAD_REPLY, SILENT, Outcome
from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import Sample

GOOD = int(Quality.GOOD)
ROUTE = range(0x0200, 0x0400)  # extended status of who passes requests on (table 3-5.29)
TIMED_OUT = (
    ConnectionStatus.CONNECTION_TIMED_OUT,
    ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT,
)
TYPE_MISMATCH = quality(Quality.DEVICE_STATUS, status=0xFF, extended=0x2107)
NO_SUCH_ADDRESS = (
    GeneralStatus.PATH_SEGMENT_ERROR,
    GeneralStatus.PATH_DESTINATION_UNKNOWN,
    GeneralStatus.ATTRIBUTE_NOT_SUPPORTED,
    GeneralStatus.OBJECT_DOES_NOT_EXIST,
)


@dataclass(frozen=True, slots=True)
class TagAccess:
    """How one tag is read.

    Attributes:
        operation: as the mini-language gives it.
        attribute: by the attribute services rather than the tag services.
        kind: the type that the configuration names, None for a structure.
        first: of BOOLs in an array, the element that the address names; else None.
        packed: they are read as bits of the DWORDs that hold them.
    """

    tag: Tag
    operation: Operation
    attribute: bool
    kind: types.DataType | None
    first: int | None = None
    packed: bool = False


# N7:0, B3/33, I:1.0/3, T4:0.ACC, MG9:0.RLEN; a controller's own tags have no such names
_DATA_FILE = r"(O|I|S|B|T|C|R|N|F|A|D|L|ST|MG|PD|PLS|BT|SC)\d*(:\d+(\.\w+)?(/\w+)?|/\d+)"
_NO_NAME = re.compile(r"[\s\]\[{}(),;/\\=+*<>\"'|?!&%$#^~`]")
FILE_VALUES = {"F": "REAL", "L": "DINT", "ST": "STRING"}  # elements of all other files are INTs


def tag_operation(tag: Tag, dialect: str = "") -> Operation:
    """What the address of a polled tag names; never an operation of another kind.

    Args:
        dialect: `slc` or `plc5` for an address of a data file.

    Raises:
        EncodeError: it writes, starts within an element, names data files, or other elements than
            the tag has.
    """
    if dialect:
        return _file_operation(tag, dialect)
    (operation,) = parse_operations([tag.address])
    text = f"{tag.address!r:.60}"
    if "data" in operation or operation.get("method", "read") != "read":
        raise EncodeError(f"{text} writes: a tag's address has no value", status=0x04)
    if "offset" in operation:
        raise EncodeError(
            f"{text} names a byte offset: only whole elements are polled", status=0x04
        )
    if operation.get("elements", tag.length) != tag.length:
        count = operation["elements"]
        raise EncodeError(f"{text} is {count} elements, the tag {tag.length}", status=0x04)
    if _names_data_file(tag.address):
        why = 'is of a data file: the device needs dialect = "slc" or "plc5"'
        raise EncodeError(f"{text} {why}", status=0x04)
    for segment in operation["path"]:
        odd = _NO_NAME.search(str(segment.get("symbolic", "")))
        if odd is not None:
            raise EncodeError(f"{text}: no tag's name has a {odd[0]!r}", status=0x04)
    return operation


def _file_operation(tag: Tag, dialect: str) -> Operation:
    """The read of a data file's elements.

    Raises:
        EncodeError: no such address, or its values are not of the tag's type.
    """
    address = parse_address(tag.address)
    text = f"{tag.address!r:.60}"
    holds = "BOOL" if address.bit is not None else FILE_VALUES.get(address.type, "INT")
    if tag.bit is not None:
        raise EncodeError(f"{text}: the address names the bit, N7:0/3", status=0x04)
    if address.size == 6 and address.bit is None:
        raise EncodeError(f"{text} is a whole element: name .ACC, .PRE or a bit", status=0x04)
    if tag.type != holds:
        raise EncodeError(f"{text} holds {holds}, the tag is {tag.type}", status=0x04)
    if address.count not in (1, tag.length):
        raise EncodeError(f"{text} is {address.count} elements, the tag {tag.length}", status=0x04)
    if tag.length > 1 and (address.bit is not None or address.sub is not None):
        raise EncodeError(f"{text} is one value, the tag {tag.length}", status=0x04)
    if tag.writable and address.type == "L" and address.bit is not None:
        raise EncodeError(f"{text}: the bits of a long can only be read", status=0x04)
    operation: Operation = {
        "method": "pccc_read",
        "path": tag.address,
        "pccc": replace(address, count=tag.length),
        "plc5": dialect == "plc5",
    }
    return operation if tag.length == 1 else operation | {"elements": tag.length}


def file_write(operation: Operation, first: int, values: list[Any]) -> Operation:
    """The write of a data file's elements from the `first` of the tag's on."""
    address = operation["pccc"]
    there = replace(address, element=address.element + first, count=len(values))
    return operation | {"method": "pccc_write", "pccc": there, "data": values}


def _names_data_file(address: str) -> bool:
    """Whether it looks like one of a data file's elements; modules' tags have `:I` behind these."""
    return re.fullmatch(_DATA_FILE, address.strip(), re.IGNORECASE) is not None


def tag_access(tag: Tag, *, packed: bool = False, dialect: str = "") -> TagAccess:
    """How `tag` is read.

    Args:
        packed: an element of a BOOL array is a bit of the DWORDs that hold the array.
        dialect: as for `tag_operation`.

    Raises:
        EncodeError: its address cannot be understood.
    """
    operation = tag_operation(tag, dialect)
    if dialect:
        return TagAccess(tag, operation, False, types.BY_NAME.get(tag.type))
    attribute = "attribute" in operation["path"][-1]
    if tag.bit is not None and "bit" not in operation and not attribute:
        operation["bit"] = tag.bit
    if attribute:
        operation["method"] = "get_attribute_single"
        operation["tag_type"] = 0  # mergeable: its size is known from the configuration
    elif tag.length > 1:
        operation.setdefault("elements", tag.length)
    kind = types.BY_NAME.get(tag.type.upper())
    first = None
    if kind is types.BOOL and "bit" not in operation and not attribute:
        first = bit_of_array(operation)
    if first is not None and packed:
        operation = words_of(operation, first, tag.length)
    elif not attribute and "bit" not in operation:
        operation["words"] = True
    return TagAccess(tag, operation, attribute, kind, first, packed and first is not None)


def refused(outcome: Outcome) -> int:
    """The quality of a tag that the device refused."""
    if outcome in (BAD_REPLY, SILENT):
        return int(Quality.TIMEOUT if outcome == SILENT else Quality.BAD_REPLY)
    status, extended = outcome
    code = Quality.NOT_CONFIGURED if status in NO_SUCH_ADDRESS else Quality.DEVICE_STATUS
    return quality(code, status=status, extended=extended[0] if extended else 0)


def unreached(outcomes: Iterable[Outcome]) -> Outcome | None:
    """What the Connection Manager on a route says where none of the reads reached its end."""
    found = None
    for outcome in outcomes:
        if not _is_of_the_route(outcome):
            return None
        found = found or outcome
    return found


def _is_of_the_route(outcome: Outcome) -> bool:
    status, extended = outcome
    return status == GeneralStatus.CONNECTION_FAILURE and bool(extended) and extended[0] in ROUTE


def route_failure(outcome: Outcome) -> tuple[str, bool]:
    """What a request along a route came to, in words, and whether its outcome is known; "" where
    the end of the route answered itself."""
    if not _is_of_the_route(outcome):
        return "", True
    status, extended = outcome
    text = f"the gateway says {describe(*outcome)} (0x{status:02X}/0x{extended[0]:04X})"
    return text, extended[0] not in TIMED_OUT


def same_type(kind: types.DataType | None, code: int, handle: int, values: Sequence[Any]) -> bool:
    """Whether what the device sent is what the configuration says, or an integer of that range."""
    if kind is None:
        return code == types.STRUCTURE
    if kind.kind == "string":
        return all(isinstance(value, str) for value in values)
    found = types.BY_CODE.get(code)
    if found is None or found.kind != kind.kind:
        return False
    if kind.kind != "int":
        return True
    low, high = kind.limits
    return found.code == kind.code or all(low <= value <= high for value in values)


def as_sample(tag: Tag, value: Any) -> Sample:
    """The sample of a value: of one element where the tag has one, else of all of them."""
    if tag.length == 1:
        if isinstance(value, list):
            value = value[0]
        return value, GOOD
    if len(value) != tag.length:
        return None, int(Quality.BAD_REPLY)
    return value, GOOD


def may_be_packed(access: TagAccess, outcome: Outcome, kind: tuple[int, int] | None) -> bool:
    """Whether elements that were asked for as such may be bits of DWORDs."""
    if access.first is None or access.packed:
        return False
    if not outcome[0]:
        return kind is not None and kind[0] == types.DWORD.code
    return access.first > 0 and is_beyond(*outcome)


def packed_sample(access: TagAccess, words: list[int]) -> Sample:
    """The bits of a packed tag."""
    assert access.first is not None, "or it is not packed"
    return as_sample(access.tag, bits_of(words, access.first % WORD, access.tag.length))


def attribute_sample(access: TagAccess, data: bytes) -> Sample:
    """The value of an attribute's bytes, which carry no type of their own."""
    kind, tag = access.kind, access.tag
    if kind is None:
        return data, GOOD
    try:
        values = kind.unpack(data, tag.length)
    except ProtocolError:
        return None, int(Quality.BAD_REPLY)
    if tag.bit is not None and isinstance(values[0], int):
        return bool(values[0] >> tag.bit & 1), GOOD
    return as_sample(tag, values)


def element(path: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """The path of the element `first` further on."""
    if not first:
        return path
    if "element" in path[-1]:
        return [*path[:-1], {"element": path[-1]["element"] + first}]
    return [*path, {"element": first}]
