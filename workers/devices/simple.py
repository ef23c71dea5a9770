"""Routed requests to a device that knows no CIP: its tags, as a simple EtherNet/IP device has them.

Read Tag  0x4C   the last value of a tag     0x05 no such tag, 0x10 its value is not good
Write Tag 0x4D   a write, as any other       the device's answer
all else         0x08 service not supported
"""

from typing import Any

from cpppod.protocols.bus.messages import RouteRequest
from cpppod.protocols.cip import epath, types
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest, refusal
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.jobs import WriteAnswer
from cpppod.workers.devices.wire import Wire

READ_TAG, WRITE_TAG = 0x4C, 0x4D


class SimpleTags:
    """Serves the tags of one device of a wire."""

    def __init__(self, wire: Wire, device: str) -> None:
        self._wire = wire
        self._name = device
        self._device = wire.devices[device]

    def serve(self, message: RouteRequest, deadline_s: float, answer: Any) -> None:
        """Answer the routed request, now or when the device has answered."""
        service = message.request[0] if message.request else 0
        try:
            request = MessageRouterRequest.decode(message.request)
            if request.service not in (READ_TAG, WRITE_TAG):
                raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
            tag, element = self._find(request.path)
            if request.service == READ_TAG:
                answer(self._read(request, tag, element))
            else:
                self._write(request, tag, element, deadline_s, answer)
        except (CipError, DecodeError, EncodeError) as error:
            answer(refusal(service, error))

    def _find(self, path: bytes) -> tuple[Tag, int]:
        """The tag that a path names, with or without the device before it, and the element."""
        names = []
        element = 0
        for segment in epath.decode(path):
            if isinstance(segment, epath.Symbol):
                names.append(segment.name)
            elif isinstance(segment, epath.Logical) and segment.kind == epath.LogicalType.ELEMENT:
                element = segment.value
            else:
                raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR)
        if len(names) == 2 and names[0].lower() == self._name.lower():
            names = names[1:]
        tag = self._device.tag(names[0]) if len(names) == 1 else None
        if tag is None:
            raise CipError(status=GeneralStatus.PATH_DESTINATION_UNKNOWN)
        return tag, element

    def _read(self, request: MessageRouterRequest, tag: Tag, element: int) -> bytes:
        count = int.from_bytes(request.data[:2], "little")
        if len(request.data) < 2:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        if count < 1 or element + count > tag.length:
            raise CipError(status=GeneralStatus.GENERAL_ERROR, extended=(0x2105,))
        sample = self._device.last(tag.name)
        if sample is None or sample[1] & 0xFF != Quality.GOOD:
            raise CipError(status=GeneralStatus.DEVICE_STATE_CONFLICT)
        values = sample[0] if tag.length > 1 else [sample[0]]
        kind = types.by_name(tag.cip_type)
        data = kind.header + kind.pack(values[element : element + count])
        return MessageRouterReply(request.service, data=data).encode()

    def _write(
        self, request: MessageRouterRequest, tag: Tag, element: int, deadline_s: float, answer: Any
    ) -> None:
        code, _, rest = types.split_type(request.data)
        kind = types.by_name(tag.cip_type)
        if code != kind.code:
            raise CipError(status=GeneralStatus.GENERAL_ERROR, extended=(0x2107,))
        count = int.from_bytes(rest[:2], "little")
        values = kind.unpack(rest[2:], count)

        def answered(result: WriteAnswer) -> None:
            extended = tuple(result.extended)
            answer(MessageRouterReply(request.service, result.status, extended).encode())

        self._wire.write(self._name, [[tag.name, element, values]], deadline_s, answered)
