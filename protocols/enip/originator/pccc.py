"""PCCC as an originator sends it: data files of SLC 500, MicroLogix and PLC-5, through CIP.

    Execute PCCC (0x4B) to class 0x67:  07 UINT vendor UDINT serial | CMD STS UINT TNS FNC data
    reply                               07 UINT vendor UDINT serial | CMD|40 STS UINT TNS [EXT] data

    SLC, MicroLogix   0F A2 typed read, 0F AA typed write, 0F AB masked write (bits)
    PLC-5             0F 01 word range read, 0F 00 word range write, 0F 26 read-modify-write (bits)

Addresses: `N7:0`, `N7:0/3` (bit), `N7:0*10` (elements), `F8:1`, `ST9:0`, `S:1`, `T4:0.ACC`.

Source: Rockwell 1770-6.5.16 "DF1 Protocol and Command Set", chapter 7.
"""

import re
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.epath import class_path
from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import characters
from cpppod.protocols.enip.originator.carrier import MessageBudget
from cpppod.protocols.enip.originator.exchange import Exchange, Part
from cpppod.protocols.enip.originator.operation_values import OperationError, Text, parse_values
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.model.errors import EncodeError

PCCC_PATH = class_path(0x67, 1)
REQUESTER = struct.pack("<BHI", 7, 0x1234, 1)  # length, vendor, serial: echoed by the target
COMMAND = 0x0F
MAX_BYTES = 236  # of data in one PCCC message
MAX_ELEMENTS = 1000  # an SLC file has 256, a PLC-5 file 1000
STRING_BYTES = 84  # UINT length and 82 characters
_REPLY = struct.Struct("<BBH")
_ADDRESS = re.compile(
    r"\s*(?P<type>ST|N|F|L|B|S|I|O|T|C|R|A)(?P<file>\d{1,3})?:(?P<element>\d{1,3})"
    r"(?:\.(?P<sub>[A-Za-z]+|\d{1,3}))?(?:/(?P<bit>\d{1,2}|[A-Za-z]{2}))?"
    r"(?:\*(?P<count>\d{1,4}))?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FileType:
    """One kind of data file: `code` on the wire, bytes of an element, its `struct` letter."""

    code: int
    size: int
    letter: str
    default_file: int | None = None


FILE_TYPES = {
    "O": FileType(0x8B, 2, "h", 0),
    "I": FileType(0x8C, 2, "h", 1),
    "S": FileType(0x84, 2, "h", 2),
    "B": FileType(0x85, 2, "h", 3),
    "T": FileType(0x86, 6, "", 4),
    "C": FileType(0x87, 6, "", 5),
    "R": FileType(0x88, 6, "", 6),
    "N": FileType(0x89, 2, "h", 7),
    "F": FileType(0x8A, 4, "f", 8),
    "ST": FileType(0x8D, STRING_BYTES, ""),
    "A": FileType(0x8E, 2, "h"),
    "L": FileType(0x91, 4, "i"),
}
_BIT_ADDRESS = re.compile(r"\s*(?P<type>B)(?P<file>\d{1,3})?/(?P<bit>\d{1,4})\s*", re.IGNORECASE)
_COUNTED = {"CTL": 0, "PRE": 1, "ACC": 2}
SUB_ELEMENTS = {  # file type -> its words by name; those of O and I are numbered, others have none
    "T": _COUNTED,
    "C": _COUNTED,
    "R": {"CTL": 0, "LEN": 1, "POS": 2},
}
NUMBERED = frozenset("OITCR")  # types whose words may be named by number too
BITS = {  # file type -> its bits by name; all of them lie in the control word
    "T": {"EN": 15, "TT": 14, "DN": 13},
    "C": {"CU": 15, "CD": 14, "DN": 13, "OV": 12, "UN": 11, "UA": 10},
    "R": {"EN": 15, "EU": 14, "DN": 13, "EM": 12, "ER": 11, "UL": 10, "IN": 9, "FD": 8},
}
BIT_COUNTS = {**dict.fromkeys("OISBNTCRA", 16), "L": 32}  # others, F and ST, have no bits
STATUS_TEXTS = {
    0x10: "illegal command or format",
    0x20: "host has a problem and will not communicate",
    0x30: "remote node is missing or disconnected",
    0x40: "hardware fault",
    0x50: "addressing problem or memory protected",
    0x60: "function not allowed: protected",
    0x70: "processor is in program mode",
    0x90: "remote node cannot buffer the command",
}
EXTENDED_TEXTS = {
    0x06: "address does not point to something usable",
    0x07: "file is of the wrong size",
    0x0A: "address and size are beyond the file",
    0x0B: "access denied",
    0x0E: "command cannot be decoded",
}


@dataclass(frozen=True, slots=True)
class PcccAddress:
    """`N7:3.0/5*1`: file type and number, element, sub-element, bit, number of elements."""

    type: str
    file: int
    element: int
    sub: int | None = None
    bit: int | None = None
    count: int = 1

    @property
    def kind(self) -> FileType:
        """What the file holds."""
        return FILE_TYPES[self.type]

    @property
    def size(self) -> int:
        """Bytes of one element, of one word where a sub-element is named."""
        return 2 if self.sub is not None and self.kind.size == 6 else self.kind.size

    def __str__(self) -> str:
        sub = "" if self.sub is None else f".{self.sub}"
        bit = "" if self.bit is None else f"/{self.bit}"
        count = "" if self.count == 1 else f"*{self.count}"
        return f"{self.type}{self.file}:{self.element}{sub}{bit}{count}"


def pccc_operations(
    operations: Iterable[str | Operation], plc5: bool = False, **extra: Any
) -> Iterator[Operation]:
    """The operations that texts like `N7:0`, `F8:1=2.5`, `ST9:0="abc"`, `N7:0/3=1` describe.

    Raises:
        OperationError: when the text at fault is reached; it points at the character.
    """
    for number, operation in enumerate(operations, start=1):
        if not isinstance(operation, str):
            yield {**operation, **extra}
            continue
        left, equals, _ = operation.partition("=")
        address = parse_address(operation, len(left))
        parsed: Operation = {
            "method": "pccc_write" if equals else "pccc_read",
            "path": left.strip(),
            "pccc": address,
            "plc5": plc5,
            "transaction": number & 0xFFFF,
        }
        if equals:
            start = len(left) + 1
            if address.type == "L" and address.bit is not None:
                raise OperationError(operation, 0, "the bits of a long can only be read")
            default = "BOOL" if address.bit is not None else "DINT"
            _, values = parse_values(Text(operation, start=start), default)
            if len(values) != address.count:
                reason = f"{len(values)} values for {address.count} elements"
                raise OperationError(operation, start, reason)
            parsed["data"] = values
        yield parsed | extra


def parse_address(text: str, end: int | None = None) -> PcccAddress:
    """The data table address in `text`, up to `end`.

    Raises:
        OperationError: none.
    """
    end = len(text) if end is None else end
    by_bit = _BIT_ADDRESS.match(text, 0, end)
    if by_bit is not None and by_bit.end() == end:
        return _by_bit(by_bit)
    found = _ADDRESS.match(text, 0, end)
    if found is None or found.end() != end:
        at = 0 if found is None else found.end()
        raise OperationError(text, at, "expected an address such as N7:0, F8:1 or T4:0.ACC")
    name = found["type"].upper()
    kind = FILE_TYPES[name]
    if found["file"] is None and kind.default_file is None:
        raise OperationError(text, found.end("type"), "the file's number is missing")
    count = int(found["count"] or 1)
    if not 1 <= count <= MAX_ELEMENTS:
        raise OperationError(text, found.start("count"), f"1 to {MAX_ELEMENTS} elements")
    bit = _bit(text, found, name)
    sub = _sub_element(text, found, name)
    if count > 1 and (bit is not None or sub is not None):
        reason = "a range is of whole elements, not of bits or sub-elements"
        raise OperationError(text, found.start("count"), reason)
    file = int(found["file"]) if found["file"] else kind.default_file or 0
    return PcccAddress(name, file, int(found["element"]), sub, bit, count)


def _by_bit(found: re.Match[str]) -> PcccAddress:
    """`B3/33`: bit 1 of element 2, as the programming tool counts through a file."""
    file = int(found["file"]) if found["file"] else FILE_TYPES["B"].default_file or 0
    element, bit = divmod(int(found["bit"]), 16)
    return PcccAddress("B", file, element, None, bit)


def _sub_element(text: str, found: re.Match[str], name: str) -> int | None:
    sub = found["sub"]
    if sub is None:
        return None
    names = SUB_ELEMENTS.get(name, {})
    if sub.isdigit() and name in NUMBERED and (not names or int(sub) < len(names)):
        return int(sub)
    if sub.upper() not in names:
        wanted = f"one of {', '.join(names)}" if names else "this file type has none"
        raise OperationError(text, found.start("sub"), f"unknown sub-element; {wanted}")
    return names[sub.upper()]


def _bit(text: str, found: re.Match[str], name: str) -> int | None:
    bit = found["bit"]
    if bit is None:
        return None
    names = BITS.get(name, {})
    if bit.upper() in names and found["sub"] is None:
        return names[bit.upper()]
    count = BIT_COUNTS.get(name, 0)
    if bit.isdigit() and int(bit) < count:
        return int(bit)
    wanted = f"0 to {count - 1}" if count else "this file type has none"
    named = f", {', '.join(names)}" if names else ""
    raise OperationError(text, found.start("bit"), f"no such bit; {wanted}{named}")


class PcccExchange(Exchange):
    """One data table operation: as many PCCC messages as it takes, one after the other."""

    mergeable = False

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation, PCCC_PATH)
        self.address: PcccAddress = operation["pccc"]
        self.plc5 = bool(operation.get("plc5"))
        self.writes = "data" in operation
        self.code = "Write PCCC" if self.writes else "Read  PCCC"
        self.transaction = int(operation.get("transaction", 1))
        self.collected = b""
        self.error_text = ""
        self._pieces: deque[tuple[int, bytes]] = deque(self._split())

    @property
    def text(self) -> str:
        return self.error_text or super().text

    def _split(self) -> Iterator[tuple[int, bytes]]:
        """(first element, data to write, or zeros as many as to read) of each message."""
        address = self.address
        whole = self._encoded() if self.writes else bytes(address.count * address.size)
        if address.bit is not None:
            yield 0, whole
            return
        step = max(MAX_BYTES // address.size, 1) * address.size
        for offset in range(0, len(whole), step):
            yield offset // address.size, whole[offset : offset + step]

    def _encoded(self) -> bytes:
        address, values = self.address, self.operation["data"]
        if address.bit is not None:
            return bytes([bool(values[0])])
        if address.type == "ST":
            return b"".join(_encode_string(value) for value in values)
        letter = "h" if address.size == 2 else address.kind.letter
        if not letter:
            raise EncodeError(f"{address}: write its sub-elements, .PRE or .ACC", status=0x20)
        try:
            if letter == "h":
                values = [value - 65_536 if 32_767 < value < 65_536 else value for value in values]
            return struct.pack(f"<{len(values)}{letter}", *values)
        except (struct.error, OverflowError, TypeError) as error:
            raise EncodeError(f"{address}: {error}", status=0x09) from None

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.done or self.in_flight or not self._pieces:
            return None
        first, data = self._pieces[0]
        self.in_flight += 1
        body = self._plc5(first, data) if self.plc5 else self._slc(first, data)
        header = REQUESTER + _REPLY.pack(COMMAND, 0, self.transaction)
        return Part(self, self._request(Service.EXECUTE_PCCC, header + body), first, len(data))

    def _slc(self, first: int, data: bytes) -> bytes:
        address = self.address
        place = (
            _field(address.file)
            + bytes((address.kind.code,))
            + _field(address.element + first)
            + _field(address.sub or 0)
        )
        if address.bit is not None and self.writes:
            mask = 1 << address.bit
            return b"\xab\x02" + place + struct.pack("<HH", mask, mask if data[0] else 0)
        function = b"\xaa" if self.writes else b"\xa2"
        return function + bytes((len(data),)) + place + (data if self.writes else b"")

    def _plc5(self, first: int, data: bytes) -> bytes:
        address = self.address
        level = 0x06 if address.sub is None else 0x0E
        place = bytes((level,)) + _field(address.file) + _field(address.element + first)
        if address.sub is not None:
            place += _field(address.sub)
        if address.bit is not None and self.writes:
            mask = 1 << address.bit
            return (
                b"\x26"
                + place
                + struct.pack("<HH", 0xFFFF if data[0] else ~mask & 0xFFFF, mask if data[0] else 0)
            )
        words = len(data) // 2
        if self.writes:
            return b"\x00" + struct.pack("<HH", 0, words) + place + data
        return b"\x01" + struct.pack("<HH", 0, words) + place + bytes((len(data),))

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.in_flight -= 1
        self.reply = reply
        if reply.status:
            self.fail(reply.status, reply.extended)
            return
        data = reply.data
        length = data[0] if data else 0
        if len(data) < length + _REPLY.size or data[:length] != REQUESTER:
            raise SessionViolated("PCCC reply for another requester")
        command, status, transaction = _REPLY.unpack_from(data, length)
        if command != COMMAND | 0x40 or transaction != self.transaction:
            raise SessionViolated("PCCC reply to another command")
        self._take(part, status, data[length + _REPLY.size :])

    def _take(self, part: Part, status: int, data: bytes) -> None:
        if status:
            extended = data[0] if status == 0xF0 and data else 0
            texts = (EXTENDED_TEXTS, extended) if extended else (STATUS_TEXTS, status)
            known = texts[0].get(texts[1], "refused")
            self.error_text = f"PCCC: {known} (0x{status:02x}, 0x{extended:02x})"
            self.fail(GeneralStatus.VENDOR_SPECIFIC_ERROR, (status << 8 | extended,))
            return
        expected = 0 if self.writes else part.length
        if len(data) != expected:
            raise SessionViolated(f"PCCC reply with {len(data)} bytes, {expected} asked for")
        self.collected += data
        self._pieces.popleft()
        if not self._pieces:
            self.value = True if self.writes else self._decoded()
            self.done = True

    def _decoded(self) -> list[Any]:
        address, data = self.address, self.collected
        if address.bit is not None:
            return [bool(int.from_bytes(data[:4], "little") >> address.bit & 1)]
        if address.type == "ST":
            return [
                _decode_string(data[at : at + STRING_BYTES])
                for at in range(0, len(data), STRING_BYTES)
            ]
        if address.size == 6:
            return [_timer(address.type, *words) for words in struct.iter_unpack("<Hhh", data)]
        letter = "h" if address.size == 2 else address.kind.letter
        return list(struct.unpack(f"<{len(data) // address.size}{letter}", data))


def _field(value: int) -> bytes:
    """An address field: one byte, or three from 255 on."""
    return bytes((value,)) if value < 255 else struct.pack("<BH", 0xFF, value)


def _encode_string(value: Any) -> bytes:
    raw = characters("ST", value if isinstance(value, bytes) else str(value))
    if len(raw) > STRING_BYTES - 2:
        raise EncodeError(f"a string of {len(raw)} characters", status=0x15)
    return struct.pack("<H", len(raw)) + _swapped(raw.ljust(STRING_BYTES - 2, b"\0"))


def _decode_string(data: bytes) -> str:
    (length,) = struct.unpack_from("<H", data)
    if length > STRING_BYTES - 2:
        raise SessionViolated(f"a string of {length} characters")
    return _swapped(data[2:])[:length].decode("iso-8859-1")


def _swapped(data: bytes) -> bytes:
    """The two bytes of each word the other way round, as ST files hold them."""
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return bytes(swapped)


_BITS = {"T": ("EN", "TT", "DN"), "C": ("CU", "CD", "DN", "OV", "UN"), "R": ("EN", "EU", "DN")}


def _timer(kind: str, control: int, preset: int, accumulated: int) -> dict[str, Any]:
    """A timer, counter or control element as a dict of its parts."""
    bits = {name: bool(control >> 15 - at & 1) for at, name in enumerate(_BITS[kind])}
    names = ("LEN", "POS") if kind == "R" else ("PRE", "ACC")
    return {**bits, names[0]: preset, names[1]: accumulated}
