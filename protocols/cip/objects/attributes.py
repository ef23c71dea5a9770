"""CIP objects as classes, instances and attributes, and the attribute services that all share.

    0x01 Get Attributes All    0x0E Get Attribute Single    0x10 Set Attribute Single
    0x03 Get Attribute List    0x04 Set Attribute List      0x02 Set Attributes All is refused

An attribute's bytes come from its `get`; it is settable where it has a `put`. A class's own
services stand in its table; what is in no table is 0x08, an unknown instance 0x05, an unknown
attribute 0x14.

Source: CIP Networks Library Vol. 1, 4-4 and appendix A.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.cip.epath import Logical, LogicalType, Segment
from cpppod.protocols.cip.message_router import REPLY, MessageRouterReply, Service
from cpppod.protocols.cip.request import Origin, Pending
from cpppod.protocols.cip.status import CipError, GeneralStatus

MAX_LISTED = 64  # attributes in one list: no object has so many
Handler = Callable[["CipInstance", bytes, Origin], "bytes | Pending"]


@dataclass(slots=True)
class Attribute:
    """One attribute.

    Attributes:
        get: its bytes.
        put: takes new bytes of exactly `size` (0 any), or None where it is read-only.
        deferred: instead of both, for what must leave: (new bytes or None) -> a pending reply.
            Get and Set Attribute List answer it with ATTRIBUTE_NOT_GETTABLE.
    """

    get: Callable[[], bytes]
    put: Callable[[bytes], None] | None = None
    size: int = 0
    deferred: "Callable[[int, bytes | None, Origin], Pending] | None" = None


def constant(data: bytes) -> Attribute:
    """An attribute that never changes."""
    return Attribute(lambda: data)


@dataclass(slots=True)
class CipInstance:
    """One instance; `everything` lists what Get Attributes All gives, in its order."""

    attributes: dict[int, Attribute] = field(default_factory=dict)
    everything: Sequence[int] | None = None
    services: dict[int, Handler] = field(default_factory=dict)


class CipClass:
    """One class: its instances by number (0 is the class itself), and services of its own."""

    def __init__(self, class_id: int, *, revision: int = 1) -> None:
        self.class_id = class_id
        self.revision = revision
        self.instances: dict[int, CipInstance] = {}
        self.services: dict[int, Handler] = {}

    def serve(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> bytes | Pending:
        """The reply to a request whose path begins with this class.

        Raises:
            CipError: the status to refuse with.
        """
        instance_id, attribute_id = _address(path)
        instance = self.instance(instance_id)
        handler = instance.services.get(service) or self.services.get(service)
        if handler is not None:
            return handler(instance, data, origin)
        common = _COMMON.get(service)
        if common is None:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        return common(instance, attribute_id, data, origin)

    def instance(self, number: int) -> CipInstance:
        """The instance of that number.

        Raises:
            CipError: PATH_DESTINATION_UNKNOWN.
        """
        found = self.instances.get(number)
        if found is not None:
            return found
        if number == 0:
            return self._class_instance()
        raise CipError(status=GeneralStatus.PATH_DESTINATION_UNKNOWN, extended=(0,))

    def _class_instance(self) -> CipInstance:
        highest = max(self.instances, default=0)
        numbers = (self.revision, highest, len(self.instances))
        return CipInstance(
            {
                number: constant(struct.pack("<H", value))
                for number, value in zip((1, 2, 3), numbers, strict=True)
            }
        )

    def add(self, number: int, instance: CipInstance) -> CipInstance:
        """Take in an instance."""
        self.instances[number] = instance
        return instance


def _address(path: Sequence[Segment]) -> tuple[int, int | None]:
    """(instance, attribute) that follow the class; a class alone means instance 0."""
    instance, attribute = 0, None
    for segment in path[1:]:
        if not isinstance(segment, Logical):
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        if segment.kind in (LogicalType.INSTANCE, LogicalType.CONNECTION_POINT):
            instance = segment.value
        elif segment.kind is LogicalType.ATTRIBUTE:
            attribute = segment.value
        elif segment.kind is not LogicalType.ELEMENT:
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        elif segment.value:  # the first one of a single value is that value
            raise CipError(status=GeneralStatus.PATH_DESTINATION_UNKNOWN, extended=(0,))
    return instance, attribute


def _found(instance: CipInstance, number: int | None) -> Attribute:
    if number is None:
        raise CipError(status=GeneralStatus.PATH_SIZE_INVALID)
    attribute = instance.attributes.get(number)
    if attribute is None:
        raise CipError(status=GeneralStatus.ATTRIBUTE_NOT_SUPPORTED)
    return attribute


def _read(attribute: Attribute) -> bytes:
    """Its bytes at once, as one among others."""
    if attribute.deferred is not None:
        raise CipError(status=GeneralStatus.ATTRIBUTE_NOT_GETTABLE)
    return attribute.get()


def success(service: int, data: bytes = b"") -> bytes:
    """A reply of status 0."""
    return bytes((service | REPLY, 0, 0, 0)) + data


def _get_all(
    instance: CipInstance, _number: int | None, _data: bytes, origin: Origin
) -> bytes | Pending:
    numbers = sorted(instance.attributes) if instance.everything is None else instance.everything
    if not numbers:
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
    return _gathered([instance.attributes[number] for number in numbers], b"", origin)


def _gathered(attributes: Sequence[Attribute], data: bytes, origin: Origin) -> bytes | Pending:
    """The reply with their bytes after `data`; those that must be asked are, one by one."""
    for place, attribute in enumerate(attributes, 1):
        if attribute.deferred is None:
            data += attribute.get()
            continue
        asked = attribute.deferred(Service.GET_ATTRIBUTE_SINGLE, None, origin)
        return _followed(asked, attributes[place:], data, origin)
    if len(data) + 4 > origin.capacity:
        raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
    return success(Service.GET_ATTRIBUTES_ALL, data)


def _followed(asked: Pending, others: Sequence[Attribute], data: bytes, origin: Origin) -> Pending:
    def resume(result: Any) -> bytes | Pending:
        reply = asked.resume(result)
        if isinstance(reply, Pending):
            return _followed(reply, others, data, origin)
        if reply[2]:  # the whole is refused as the one was
            return bytes((Service.GET_ATTRIBUTES_ALL | REPLY,)) + reply[1:]
        return _gathered(others, data + reply[4:], origin)

    return Pending(asked.command, resume, asked.exclusive)


def _get_single(
    instance: CipInstance, number: int | None, _data: bytes, origin: Origin
) -> bytes | Pending:
    attribute = _found(instance, number)
    if attribute.deferred is not None:
        return attribute.deferred(Service.GET_ATTRIBUTE_SINGLE, None, origin)
    data = attribute.get()
    if len(data) + 4 > origin.capacity:
        raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
    return success(Service.GET_ATTRIBUTE_SINGLE, data)


def _put(attribute: Attribute, data: bytes, origin: Origin) -> None:
    if attribute.put is None:
        raise CipError(status=GeneralStatus.ATTRIBUTE_NOT_SETTABLE)
    if not origin.may_write:
        raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION)
    if attribute.size and len(data) < attribute.size:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    if attribute.size and len(data) > attribute.size:
        raise CipError(status=GeneralStatus.TOO_MUCH_DATA)
    attribute.put(data)


def _set_single(
    instance: CipInstance, number: int | None, data: bytes, origin: Origin
) -> bytes | Pending:
    attribute = _found(instance, number)
    if attribute.deferred is not None:
        return attribute.deferred(Service.SET_ATTRIBUTE_SINGLE, data, origin)
    _put(attribute, data, origin)
    return success(Service.SET_ATTRIBUTE_SINGLE)


def _get_list(
    instance: CipInstance, _number: int | None, data: bytes, origin: Origin
) -> bytes | Pending:
    numbers = _listed(data)
    failed = 0
    parts = [struct.pack("<H", len(numbers))]
    for number in numbers:
        try:
            parts.append(struct.pack("<HH", number, 0) + _read(_found(instance, number)))
        except CipError as error:
            failed = GeneralStatus.ATTRIBUTE_LIST_ERROR
            parts.append(struct.pack("<HH", number, error.status))
    reply = b"".join(parts)
    if len(reply) + 4 > origin.capacity:
        raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
    return MessageRouterReply(Service.GET_ATTRIBUTE_LIST, failed, (), reply).encode()


def _listed(data: bytes) -> tuple[int, ...]:
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    (count,) = struct.unpack_from("<H", data)
    if count > MAX_LISTED:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    if len(data) < 2 + 2 * count:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    return struct.unpack_from(f"<{count}H", data, 2)


def _set_list(
    instance: CipInstance, _number: int | None, data: bytes, origin: Origin
) -> bytes | Pending:
    failed, results = 0, []
    for number, attribute, value in _given(instance, data):
        status = 0
        try:
            if attribute is None:
                raise CipError(status=GeneralStatus.ATTRIBUTE_NOT_SUPPORTED)
            if not attribute.size:
                raise CipError(status=GeneralStatus.ATTRIBUTE_NOT_SETTABLE)
            _put(attribute, value, origin)
        except CipError as error:
            failed, status = GeneralStatus.ATTRIBUTE_LIST_ERROR, error.status
        results.append((number, status))
    reply = struct.pack("<H", len(results)) + b"".join(
        struct.pack("<HH", *item) for item in results
    )
    return MessageRouterReply(Service.SET_ATTRIBUTE_LIST, failed, (), reply).encode()


def _given(instance: CipInstance, data: bytes) -> list[tuple[int, Attribute | None, bytes]]:
    """The attributes of a Set Attribute List with their bytes, up to the first of unknown width:
    nothing after it can be found. A list that is cut short sets nothing."""
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    (count,) = struct.unpack_from("<H", data)
    if count > MAX_LISTED:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    offset = 2
    found: list[tuple[int, Attribute | None, bytes]] = []
    for _ in range(count):
        number = int.from_bytes(data[offset : offset + 2], "little")
        attribute = instance.attributes.get(number)
        size = 0 if attribute is None else attribute.size
        end = offset + 2 + size
        if end > len(data):
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        found.append((number, attribute, data[offset + 2 : end]))
        if not size:
            break
        offset = end
    return found


_COMMON: dict[int, Callable[[CipInstance, int | None, bytes, Origin], bytes | Pending]] = {
    Service.GET_ATTRIBUTES_ALL: _get_all,
    Service.GET_ATTRIBUTE_LIST: _get_list,
    Service.SET_ATTRIBUTE_LIST: _set_list,
    Service.GET_ATTRIBUTE_SINGLE: _get_single,
    Service.SET_ATTRIBUTE_SINGLE: _set_single,
}
