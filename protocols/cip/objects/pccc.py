"""PCCC object (class 0x67): the data files of an SLC, MicroLogix or PLC-5.

    06 03      diagnostic status            0F A2 AA AB A1   protected typed logical read, write,
    0F 01 00   PLC-5 word range read, write                  masked write; two-field read
    0F 26      PLC-5 read-modify-write      0F 68            typed read (logical address)

Files are N7, B3, F8, ST9, L10, T4, C5, R6, S2, O0, I1 unless the settings name others, as
`N7[256]`. File 0 holds the directory that pycomm3 reads.

Source: DF1 Protocol and Command Set (1770-6.5.16); observed clients.
"""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cpppod.protocols.cip.message_router import Service
from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance, success
from cpppod.protocols.cip.pccc import (
    ILLEGAL_COMMAND,
    LETTERS,
    PCCC_CLASS,
    ExtendedStatus,
    FileAddress,
    FileType,
    PcccError,
    PcccRequest,
    level_address,
    refused,
    typed_address,
)
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import EncodeError

DEFAULT_FILES = (
    *("O0[32]", "I1[32]", "S2[66]", "B3[256]", "T4[64]", "C5[64]", "R6[64]"),
    *("N7[256]", "F8[256]", "ST9[64]", "L10[256]"),
)
MAX_BYTES = 244  # of one command's data
MAX_FILE = 256  # file numbers are bytes
_DECLARED = re.compile(r"^([A-Za-z]{1,2})(\d{1,3})\[(\d{1,5})\]$")
_SAME = {FileType.OUTPUT_SLOT: FileType.OUTPUT, FileType.INPUT_SLOT: FileType.INPUT}


@dataclass(slots=True)
class DataFile:
    """One data file: `size` bytes an element."""

    letters: str
    number: int
    type: int
    size: int
    data: bytearray

    @property
    def name(self) -> str:
        """Its name, e.g. N7."""
        return f"{self.letters}{self.number}"


def declared_file(text: str) -> DataFile:
    """The file that `N7[256]` declares.

    Raises:
        EncodeError: another form, or letters that name no type.
    """
    found = _DECLARED.match(text.strip())
    kind = LETTERS.get(found[1].upper()) if found else None
    if not found or kind is None or int(found[2]) >= MAX_FILE or not 0 < int(found[3]) <= 1000:
        raise EncodeError(f"data file {text!r}: expected e.g. N7[256], at most 1000", status=0)
    file_type, size = kind
    data = bytearray(size * int(found[3]))
    return DataFile(found[1].upper(), int(found[2]), file_type, size, data)


class PcccFiles:
    """The data files of one controller, and the commands on them."""

    def __init__(self, catalogue: str, files: Sequence[str] = ()) -> None:
        self.catalogue = catalogue
        self.files: dict[int, DataFile] = {}
        for text in files or DEFAULT_FILES:
            file = declared_file(text)
            self.files[file.number] = file

    def execute(self, data: bytes, origin: Origin) -> bytes:
        """The reply to an Execute PCCC's data."""
        request = PcccRequest.decode(data)
        try:
            return request.reply(self._command(request, origin))
        except PcccError as error:
            return request.reply(error=error)

    def _command(self, request: PcccRequest, origin: Origin) -> bytes:
        if request.command == 0x06 and request.function == 0x03:
            return self._diagnostic()
        command = _COMMANDS.get(request.function) if request.command == 0x0F else None
        if command is None:
            raise PcccError(ILLEGAL_COMMAND)
        if request.function in _WRITES and not origin.may_write:
            raise refused(ExtendedStatus.ACCESS_DENIED)
        return command(self, request.data)

    def _diagnostic(self) -> bytes:
        name = self.catalogue.encode("ascii")[:11].ljust(11)
        return bytes((0x00, 0xEE, 0x31, 0x5B, 0x21)) + name + bytes(8)

    def _file(self, address: FileAddress) -> DataFile:
        file = self.files.get(address.file)
        kind = _SAME.get(address.type, address.type)  # type: ignore[call-overload]
        if file is None or (kind and file.type != kind):
            raise refused(ExtendedStatus.ADDRESS_UNUSABLE)
        return file

    def _span(self, address: FileAddress, size: int) -> tuple[DataFile, int]:
        """(file, first byte) of `size` bytes, all of which are there."""
        file = self._file(address)
        at = address.element * file.size + 2 * address.sub_element
        if at + size > len(file.data):
            raise refused(ExtendedStatus.BEYOND_END)
        return file, at

    def _read_typed(self, data: bytes) -> bytes:
        size, address = self._typed(data, fields=3)[:2]
        file, at = self._span(address, size)
        return bytes(file.data[at : at + size])

    def _typed(self, data: bytes, *, fields: int) -> tuple[int, FileAddress, bytes]:
        if not data or data[0] > MAX_BYTES:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        address, at = typed_address(data, 1, fields=fields)
        return data[0], address, data[at:]

    def _read_short(self, data: bytes) -> bytes:
        size, address, _ = self._typed(data, fields=2)
        if address.file == 0 and address.type < 0x80:
            directory = self._directory()
            at = 2 * address.element
            return directory[at : at + size].ljust(size, b"\0")
        file, at = self._span(address, size)
        return bytes(file.data[at : at + size])

    def _write_typed(self, data: bytes) -> bytes:
        size, address, rest = self._typed(data, fields=3)
        if len(rest) < size:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        file, at = self._span(address, size)
        file.data[at : at + size] = rest[:size]
        return b""

    def _write_masked(self, data: bytes) -> bytes:
        size, address, rest = self._typed(data, fields=3)
        if address.type == FileType.STRING and len(rest) < size + 2:
            mask, values = rest[:2], rest[2:]  # pycomm3 sends a string no longer than it is
        else:
            mask, values = rest[: len(rest) - size], rest[len(rest) - size :]
        if not mask or (len(rest) < size and address.type != FileType.STRING):
            raise refused(ExtendedStatus.CANNOT_DECODE)
        file, at = self._span(address, len(values))
        for place, value in enumerate(values):
            bits = mask[place % len(mask)]
            file.data[at + place] = file.data[at + place] & ~bits | value & bits
        return b""

    def _ranged(self, data: bytes) -> tuple[int, FileAddress, bytes]:
        if len(data) < 4:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        offset, _total = struct.unpack_from("<HH", data)
        address, at = level_address(data, 4)
        return 2 * offset, address, data[at:]

    def _read_range(self, data: bytes) -> bytes:
        offset, address, rest = self._ranged(data)
        size = rest[0] if rest else 0
        if not 0 < size <= MAX_BYTES:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        file, at = self._span(address, offset + size)
        return bytes(file.data[at + offset : at + offset + size])

    def _write_range(self, data: bytes) -> bytes:
        offset, address, rest = self._ranged(data)
        file, at = self._span(address, offset + len(rest))
        file.data[at + offset : at + offset + len(rest)] = rest
        return b""

    def _modify(self, data: bytes) -> bytes:
        address, at = level_address(data, 0)
        keep, put = data[at : at + 2], data[at + 2 : at + 4]
        if len(put) < 2:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        file, at = self._span(address, 2)
        for place in range(2):
            file.data[at + place] = file.data[at + place] & keep[place] | put[place]
        return b""

    def _read_described(self, data: bytes) -> bytes:
        offset, address, rest = self._ranged(data)
        if len(rest) < 2:
            raise refused(ExtendedStatus.CANNOT_DECODE)
        count = int.from_bytes(rest[:2], "little")
        file = self._file(address)
        size = count * file.size
        if size > MAX_BYTES:
            raise refused(ExtendedStatus.FILE_WRONG_SIZE)
        file, at = self._span(address, offset + size)
        kind = 0x4 if file.size != 4 else 0x8
        descriptor = bytes((0x99, 0x09, size + 1, kind << 4 | file.size & 0x07))
        return descriptor + bytes(file.data[at + offset : at + offset + size])

    def _directory(self) -> bytes:
        """File 0 as pycomm3 reads it: where rows begin depends on the processor."""
        prefix = self.catalogue[:4]
        begin, row, size_word, added = _DIRECTORIES.get(prefix, (79, 10, 0x23, 0))
        highest = max(self.files, default=0)
        image = bytearray(begin + row * (highest + 1))
        image[46], image[52] = 3, highest + 1
        for number in range(highest + 1):
            file = self.files.get(number)
            entry = (file.type, len(file.data)) if file is not None else (0x81, 0)
            struct.pack_into("<BH", image, begin + row * number, *entry)
        struct.pack_into("<H", image, 2 * size_word, len(image) + added & 0xFFFF)
        return bytes(image)


_DIRECTORIES = {
    "1761": (93, 8, 0x23, 0),
    "1762": (233, 10, 0x28, 19968),
    "1763": (233, 10, 0x28, 19968),
    "1764": (233, 10, 0x28, 19968),
    "1766": (233, 10, 0x2B, 19968),
}
_WRITES = frozenset((0x00, 0x26, 0xAA, 0xAB))
_COMMANDS: dict[int, Callable[[PcccFiles, bytes], bytes]] = {
    0x00: PcccFiles._write_range,
    0x01: PcccFiles._read_range,
    0x26: PcccFiles._modify,
    0x68: PcccFiles._read_described,
    0xA1: PcccFiles._read_short,
    0xA2: PcccFiles._read_typed,
    0xAA: PcccFiles._write_typed,
    0xAB: PcccFiles._write_masked,
}


def pccc_class(catalogue: str, files: Sequence[str] = ()) -> CipClass:
    """The PCCC object's class with its data files.

    Raises:
        EncodeError: a file's declaration makes no sense.
    """
    held = PcccFiles(catalogue, files)

    def serve(_instance: CipInstance, data: bytes, origin: Origin) -> bytes:
        reply = held.execute(data, origin)
        if len(reply) + 4 > origin.capacity:
            raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
        return success(Service.EXECUTE_PCCC, reply)

    found = CipClass(PCCC_CLASS)
    found.add(1, CipInstance())
    found.services[Service.EXECUTE_PCCC] = serve
    return found
