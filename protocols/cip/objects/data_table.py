"""Data Table object (class 0xB2): tags that a client names once, and then reads all in one request.

    0x08  on instance 0: UINT n, n attributes and values     -> UINT instance: a buffer
    0x4E  4 bytes, USINT n, n x (UINT bytes, USINT words, path)  -> UINT number of this addition
    0x4C                                                     -> each addition: UINT number, values
    0x4F  UINT number of a tag, from 1 in the order added    0x06, 0x07 start, stop: always answers
    0x09  the buffer goes                                    0x04 1 UDINT period (0), 5 USINT state

Values stand back to back without type or status, so one that is not fresh refuses the whole read
with its own reason. A buffer belongs to the session that made it and ends with it. A read gives
what the tags are worth now: there are no samples between two reads, and a period is refused.

Source: observed clients (gologix; RSLinx and FactoryTalk View as gologix saw them).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.cip import epath, tag_services
from cpppod.protocols.cip.epath import Segment
from cpppod.protocols.cip.objects.attributes import Attribute, CipClass, CipInstance, success
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.cip.symbols import Symbols

DATA_TABLE_CLASS = 0xB2
CREATE, DELETE, START, STOP, READ, ADD, REMOVE = 0x08, 0x09, 0x06, 0x07, 0x4C, 0x4E, 0x4F
MAX_BUFFERS = 256  # of a target: one for each session that it accepts
MAX_PER_SESSION = 16  # a display has one for each of its update rates
MAX_TAGS = 500  # of a buffer: a reply of 4,000 bytes holds so many LINTs
_ENTRY = struct.Struct("<HB")
_HEAD = 5  # bytes before the tags of an addition, their number being the last


@dataclass(frozen=True, slots=True)
class _Tag:
    number: int
    size: int
    path: Sequence[Segment]


@dataclass(slots=True, eq=False)
class _Buffer:
    """Attributes: `additions` by their number, in order; `added` counts tags, also removed ones."""

    session: Any
    additions: dict[int, list[_Tag]] = field(default_factory=dict)
    added: int = 0
    held: int = 0
    state: int = 0


class DataTables(CipClass):
    """The buffers of one target."""

    def __init__(self, symbols: Symbols) -> None:
        super().__init__(DATA_TABLE_CLASS)
        self._symbols = symbols
        self._buffers: dict[int, _Buffer] = {}
        self._last = 0

    def drop_session(self, session: Any) -> None:
        """Forget the buffers of a session that ended."""
        for number in [at for at, item in self._buffers.items() if item.session is session]:
            self._drop(number)

    def _drop(self, number: int) -> None:
        del self._buffers[number], self.instances[number]

    def _class_instance(self) -> CipInstance:
        made = super()._class_instance()
        made.services[CREATE] = self._create
        return made

    def _create(self, _instance: CipInstance, data: bytes, origin: Origin) -> bytes:
        """A buffer; its attributes are not looked at, since clients differ in their widths."""
        if len(data) < 2:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        if origin.session is None:  # nobody would say when it may go
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        held = sum(item.session is origin.session for item in self._buffers.values())
        if held >= MAX_PER_SESSION or len(self._buffers) >= MAX_BUFFERS:
            raise CipError(status=GeneralStatus.RESOURCE_UNAVAILABLE)
        number = self._last % 0xFFFF + 1
        while number in self._buffers:
            number = number % 0xFFFF + 1
        self._last = number
        self._buffers[number] = buffer = _Buffer(origin.session)
        self.add(number, self._instance_of(number, buffer))
        return success(CREATE, struct.pack("<H", number))

    def _instance_of(self, number: int, buffer: _Buffer) -> CipInstance:
        def own(origin: Origin) -> _Buffer:
            if buffer.session is not origin.session:
                raise CipError(status=GeneralStatus.PATH_DESTINATION_UNKNOWN, extended=(0,))
            return buffer

        def delete(_instance: CipInstance, _data: bytes, origin: Origin) -> bytes:
            own(origin)
            self._drop(number)
            return success(DELETE)

        return CipInstance(
            {1: Attribute(lambda: bytes(4), _set_period, 4), 5: _state(buffer)},
            services={
                DELETE: delete,
                START: lambda _, __, origin: _switch(START, own(origin), 1),
                STOP: lambda _, __, origin: _switch(STOP, own(origin), 0),
                READ: lambda _, __, origin: self._read(own(origin), origin),
                ADD: lambda _, data, origin: self._add(own(origin), data),
                REMOVE: lambda _, data, origin: _remove(own(origin), data),
            },
        )

    def _add(self, buffer: _Buffer, data: bytes) -> bytes:
        """All of the tags, or none."""
        if len(data) < _HEAD:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        at, tags = _HEAD, []
        for number in range(buffer.added + 1, buffer.added + 1 + data[_HEAD - 1]):
            if len(data) < at + _ENTRY.size:
                raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
            size, words = _ENTRY.unpack_from(data, at)
            end = at + _ENTRY.size + 2 * words
            if len(data) < end:
                raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
            tag = _Tag(number, size, epath.decode(data[at + _ENTRY.size : end]))
            tag_services.count_of(self._symbols.resolve(tag.path), size)
            tags.append(tag)
            at = end
        if not tags:
            raise CipError(status=GeneralStatus.INVALID_PARAMETER_VALUE)
        if buffer.held + len(tags) > MAX_TAGS or buffer.added + len(tags) > 0xFFFF:
            raise CipError(status=GeneralStatus.RESOURCE_UNAVAILABLE)
        buffer.held += len(tags)
        buffer.added += len(tags)
        addition = max(buffer.additions, default=0) + 1
        buffer.additions[addition] = tags
        return success(ADD, struct.pack("<H", addition))

    def _read(self, buffer: _Buffer, origin: Origin) -> bytes:
        parts: list[bytes] = []
        for addition, tags in buffer.additions.items():
            if tags:
                parts.append(struct.pack("<H", addition))
            for tag in tags:
                reference = self._symbols.resolve(tag.path)
                parts.append(tag_services.raw_values(reference, tag.size, origin.image))
        values = b"".join(parts)
        if len(values) + 4 > origin.capacity:
            raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
        return success(READ, values)


def _state(buffer: _Buffer) -> Attribute:
    def put(data: bytes) -> None:
        buffer.state = data[0]

    return Attribute(lambda: bytes((buffer.state,)), put, 1)


def _set_period(data: bytes) -> None:
    if any(data):
        raise CipError(status=GeneralStatus.INVALID_ATTRIBUTE_VALUE)


def _switch(service: int, buffer: _Buffer, state: int) -> bytes:
    buffer.state = state
    return success(service)


def _remove(buffer: _Buffer, data: bytes) -> bytes:
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    wanted = int.from_bytes(data[:2], "little")
    for tags in buffer.additions.values():
        for tag in tags:
            if tag.number == wanted:
                tags.remove(tag)
                buffer.held -= 1
                return success(REMOVE)
    raise CipError(status=GeneralStatus.INVALID_PARAMETER)
