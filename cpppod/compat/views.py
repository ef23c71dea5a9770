"""Requests and replies as dotted data: every field of a message under its documented name.

    reply    peer, enip.{command, length, session_handle, status, sender_context.input, options,
             input}, enip.CIP.<list command>.CPF...., or
             enip.CIP.send_data.{interface, timeout, CPF.count}, CPF.item[n].{type_id, length} and
             CPF.item[1].unconnected_send.request  or  .connection_data.{sequence, request}
    request  of a reply: input, service, status, status_ext.{size, data}, and what the service is:
             read_tag.{type, data}, write_frag = True, get_attribute_single.data,
             multiple.request[n] ...
    request  of ours: path.segment[n], what the service is, service, input

They are made when they are looked at; nothing else of the client needs them.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from cpppod.client.responses import COMMAND_NAMES
from cpppod.protocols.automata.dotdict import dotdict
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.connection_manager import ForwardOpenReply
from cpppod.protocols.cip.message_router import FORWARD_CLOSE, REPLY, MessageRouterReply, Service
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.types import STRUCTURE, split_type
from cpppod.protocols.enip.cpf import ConnectedMessage, ItemType, decode_items
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.batch import reply_slices
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.values import unpack
from cpppod.protocols.model.errors import DecodeError

Octets = Callable[[bytes], Any]

PARTIAL = 6  # general status: more data than one reply holds
SERVICES: dict[int, str] = {
    Service.GET_ATTRIBUTES_ALL: "get_attributes_all",
    Service.GET_ATTRIBUTE_LIST: "get_attribute_list",
    Service.SET_ATTRIBUTE_LIST: "set_attribute_list",
    Service.MULTIPLE_SERVICE_PACKET: "multiple",
    Service.GET_ATTRIBUTE_SINGLE: "get_attribute_single",
    Service.SET_ATTRIBUTE_SINGLE: "set_attribute_single",
    Service.READ_TAG: "read_tag",
    Service.WRITE_TAG: "write_tag",
    Service.READ_TAG_FRAGMENTED: "read_frag",
    Service.WRITE_TAG_FRAGMENTED: "write_frag",
    Service.FORWARD_OPEN: "forward_open",
    Service.LARGE_FORWARD_OPEN: "forward_open",
    FORWARD_CLOSE: "forward_close",
}
CODES = {
    "read": (Service.READ_TAG, Service.READ_TAG_FRAGMENTED),
    "write": (Service.WRITE_TAG, Service.WRITE_TAG_FRAGMENTED),
    "get_attributes_all": (Service.GET_ATTRIBUTES_ALL,) * 2,
    "get_attribute_single": (Service.GET_ATTRIBUTE_SINGLE,) * 2,
    "get_attribute_list": (Service.GET_ATTRIBUTE_LIST,) * 2,
    "set_attribute_single": (Service.SET_ATTRIBUTE_SINGLE,) * 2,
    "multiple": (Service.MULTIPLE_SERVICE_PACKET,) * 2,
}


class Views:
    """Makes them.

    Args:
        kind: of the dotted data; `octets` of bytes in it.
    """

    def __init__(self, kind: type[dotdict] = dotdict, octets: Octets = bytes) -> None:
        self.kind, self.octets = kind, octets

    def reply(self, response: Any) -> dotdict:
        """All of a `Response`."""
        made = self.kind(peer=tuple(response.peer))
        made["enip"] = self.kind(
            {
                "command": response.command,
                "length": len(response.data),
                "session_handle": response.session,
                "status": response.status,
                "sender_context.input": self.octets(response.context),
                "options": 0,
            }
        )
        if response.data:
            made["enip"]["input"] = self.octets(response.data)
        if response.status == 0:
            try:
                self._content(made["enip"], response)
            except (DecodeError, CipError, struct.error):
                made["enip.CIP"] = self.kind()  # malformed: the bytes are there
        return made

    def _content(self, enip: dotdict, response: Any) -> None:
        command, data = response.command, response.data
        if command == Command.REGISTER_SESSION:
            version, options = struct.unpack_from("<HH", data)
            enip["CIP.register"] = self.kind(protocol_version=version, options=options)
        elif command in (Command.SEND_RR_DATA, Command.SEND_UNIT_DATA):
            enip["CIP.send_data"] = self._send_data(data, response.request)
        elif command in COMMAND_NAMES:
            items = response.items_
            name = COMMAND_NAMES[command]
            enip[f"CIP.{name}.CPF.count"] = len(items)
            if items:
                enip[f"CIP.{name}.CPF.item"] = [self.kind(item) for item in items]

    def _send_data(self, data: bytes, request: Operation | None) -> dotdict:
        interface, timeout = struct.unpack_from("<IH", data)
        items = decode_items(data[6:])
        made = self.kind({"interface": interface, "timeout": timeout, "CPF.count": len(items)})
        made["CPF.item"] = [
            self.kind(type_id=int(item.type), length=len(item.data)) for item in items
        ]
        for view, item in zip(made["CPF.item"], items, strict=True):
            if item.type == ItemType.CONNECTED_ADDRESS:
                identity = int.from_bytes(item.data[:4], "little")
                view["connection_ID.connection"] = identity
            elif item.type == ItemType.CONNECTED_DATA:
                message = ConnectedMessage.decode(data)
                view["connection_data.sequence"] = message.sequence
                view["connection_data.request"] = self.message(message.message)
            elif item.type == ItemType.UNCONNECTED_DATA:
                view["unconnected_send"] = self._unconnected(item.data, request)
        return made

    def _unconnected(self, message: bytes, request: Operation | None) -> dotdict:
        reply = MessageRouterReply.decode(message)
        asked = None if request is None else request.get("method", "read")
        foreign = asked not in (None, "read", "service_code", "multiple")
        if reply.status and foreign and reply.service & ~REPLY == Service.READ_TAG_FRAGMENTED:
            made = self.kind(service=reply.service, status=reply.status)  # the route failed
            made["status_ext"] = self._extended(reply)
            return made
        return self.kind(request=self.message(message))

    def _extended(self, reply: MessageRouterReply) -> dotdict:
        made = self.kind(size=len(reply.extended))
        if reply.extended:
            made["data"] = list(reply.extended)
        return made

    def message(self, message: bytes) -> dotdict:
        """A Message Router reply.

        Raises:
            DecodeError: it is none.
        """
        return self.answer(MessageRouterReply.decode(message), message)

    def answer(self, reply: MessageRouterReply, message: bytes | None = None) -> dotdict:
        """A Message Router reply that is decoded already.

        Raises:
            DecodeError: its data is not what its service and type say.
        """
        made = self.kind()
        made["input"] = self.octets(reply.encode() if message is None else message)
        made["service"], made["status"] = reply.service | REPLY, reply.status
        made["status_ext"] = self._extended(reply)
        name = SERVICES.get(reply.service & ~REPLY, "service_code")
        made[name] = self._result(name, reply)
        return made

    def _result(self, name: str, reply: MessageRouterReply) -> Any:
        data = reply.data
        if name == "forward_open" and not reply.status:
            return self._opened(data)
        if reply.status not in (0, PARTIAL) or not data:
            return True
        if name in ("read_tag", "read_frag"):
            return self._typed(data)
        if name == "multiple":
            return self._multiple(data)
        if name.startswith(("write_", "set_", "forward_")):
            return True
        return self.kind(data=list(data))

    def _typed(self, data: bytes) -> dotdict:
        code, handle, values = split_type(data)
        if code == STRUCTURE:
            made = self.kind(type=code, structure_tag=handle)
            made["data.input"] = self.octets(values)
            return made
        return self.kind(type=code, data=unpack(code, handle, values, {}))

    def _multiple(self, data: bytes) -> dotdict:
        number = int.from_bytes(data[:2], "little")
        slices = reply_slices(data, number)
        made = self.kind(number=number)
        made["offsets"] = list(struct.unpack_from(f"<{number}H", data, 2))
        made["request_data"] = self.octets(data[2 + 2 * number :])
        made["request"] = [self.message(data[start:end]) for start, end in slices]
        return made

    def _opened(self, data: bytes) -> dotdict:
        opened = ForwardOpenReply.decode(data)
        return self.kind(
            {
                "O_T.connection_ID": opened.ot_id,
                "O_T.API": opened.ot_api_us,
                "T_O.connection_ID": opened.to_id,
                "T_O.API": opened.to_api_us,
                "connection_serial": opened.connection_serial,
                "O_vendor": opened.originator_vendor,
                "O_serial": opened.originator_serial,
                "application.size": len(opened.application) // 2,
                "application.data": list(opened.application),
            }
        )

    # -- what was asked ---------------------------------------------------------------------------

    def request(self, operation: Operation, message: bytes | None = None) -> dotdict:
        """An operation as it is asked; `message` is what goes out for it."""
        method = operation.get("method") or ("write" if "data" in operation else "read")
        made = self.kind()
        if operation.get("path"):
            made["path.segment"] = [self.kind(part) for part in segments(operation["path"])]
        offset = operation.get("offset")
        fragmented = offset is not None
        code = operation.get("code")
        if code is None:
            codes = CODES.get(method)
            code = codes[fragmented] if codes else None if message is None else message[0]
        if method in ("read", "write"):
            name = method + ("_frag" if fragmented else "_tag")
            made[name] = self._asked(operation, method, offset)
        elif method == "set_attribute_single":
            count = operation.get("elements", len(operation["data"]))
            made[method] = self.kind(data=operation["data"], elements=count)
        else:
            if method == "service_code":
                made["service"] = int(code or 0)
            given = operation.get("data")
            made[method] = True if given is None else self.kind(data=list(given))
        if code is not None:
            made["service"] = int(code)
        if message is not None:
            made["input"] = bytearray(message)
        return made

    def _asked(self, operation: Operation, method: str, offset: int | None) -> dotdict:
        made = self.kind(elements=int(operation.get("elements") or 1))
        if offset is not None:
            made["offset"] = offset
        if method == "write":
            made["data"], made["type"] = operation["data"], operation.get("tag_type")
        return made


def segments(path: Any) -> list[Mapping[str, Any]]:
    """A path's segments as mappings: those of an operation, a text's or encoded ones."""
    if isinstance(path, str):
        return [described(part) for part in epath.parse_path(path)]
    if isinstance(path, bytes):
        return [described(part) for part in epath.decode(path)]
    return list(path)


def described(segment: epath.Segment) -> dict[str, Any]:
    """A segment as a mapping: `{"class": 1}`, `{"symbolic": "Tag"}`, `{"port": 1, "link": 0}`."""
    if isinstance(segment, epath.Logical):
        return {segment.kind.name.lower(): segment.value}
    if isinstance(segment, epath.Symbol):
        return {"symbolic": segment.name}
    if isinstance(segment, epath.Port):
        return {"port": segment.port, "link": segment.link}
    return {"segment": str(segment)}
