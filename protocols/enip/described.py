"""Frames as dicts for people: what is asked for, and what is answered, layer by layer.

    {"command": "SEND_RR_DATA", "session": 5, "context": "30...", "request": {"route": "1/0",
     "service": "READ_TAG", "path": "SCADA[3]", "data": "0100"}}
    {"command": "SEND_RR_DATA", ..., "reply": {"service": "READ_TAG", "status": "success (0x00)",
     "data": "c3000700"}}

Bytes are hexadecimal, up to `MAX_SHOWN` of them; what cannot be read is left as `data`.
"""

from collections.abc import Sequence
from typing import Any

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.message_router import (
    REPLY,
    UNCONNECTED_SEND,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.route_table import split_packet
from cpppod.protocols.cip.unconnected_send import CONNECTION_MANAGER_PATH, UnconnectedSend
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import Command, Frame, FrameReader
from cpppod.protocols.enip.originator.batch import reply_slices
from cpppod.protocols.model.errors import ProtocolError

MAX_SHOWN = 200  # bytes of data: a log line is read by people
Described = dict[str, Any]


def describe_frame(frame: Frame, *, reply: bool) -> Described:
    """What `frame` says; `reply` tells which side sent it."""
    described: Described = {
        "command": _name(Command, frame.command),
        "session": frame.session,
        "status": frame.status,
        "context": frame.context.hex(),
    }
    try:
        message = _message_of(frame, described)
        if message is not None:
            described |= {"reply": _reply(message)} if reply else {"request": _request(message)}
            return described
    except ProtocolError as error:
        described["unreadable"] = str(error)
    return described | _shown(frame.data)


def _message_of(frame: Frame, described: Described) -> bytes | None:
    if frame.command == Command.SEND_RR_DATA and frame.data:
        return UnconnectedMessage.decode(frame.data).message
    if frame.command == Command.SEND_UNIT_DATA:
        connected = ConnectedMessage.decode(frame.data)
        described |= {"connection": connected.connection_id, "sequence": connected.sequence}
        return connected.message
    return None


def _request(message: bytes) -> Described:
    request = MessageRouterRequest.decode(message)
    if request.service == UNCONNECTED_SEND and request.path == CONNECTION_MANAGER_PATH:
        wrapped = UnconnectedSend.decode(request.data)
        return {"route": epath.to_text(epath.decode(wrapped.route_path))} | _request(
            wrapped.request
        )
    described: Described = {
        "service": _name(Service, request.service),
        "path": epath.to_text(epath.decode(request.path)),
    }
    if request.service == Service.MULTIPLE_SERVICE_PACKET:
        return described | {"requests": [_request(own) for own in split_packet(request.data)]}
    return described | _shown(request.data)


def _reply(message: bytes) -> Described:
    reply = MessageRouterReply.decode(message)
    service = reply.service & ~REPLY
    described: Described = {"service": _name(Service, service), "status": reply.text}
    if service == Service.MULTIPLE_SERVICE_PACKET and reply.data:
        count = int.from_bytes(reply.data[:2], "little")
        slices = reply_slices(reply.data, count)
        return described | {"replies": [_reply(reply.data[start:end]) for start, end in slices]}
    return described | _shown(reply.data)


def _shown(data: bytes) -> Described:
    if len(data) <= MAX_SHOWN:
        return {"data": data.hex()}
    return {"data": f"{data[:MAX_SHOWN].hex()}...", "length": len(data)}


def _name(kinds: Any, number: int) -> str:
    found: Sequence[Any] = [kind for kind in kinds if kind == number]
    return found[0].name if found else f"0x{number:02x}"


def describe_bytes(data: bytes, *, reply: bool) -> str:
    """The frames in a piece of a stream that begins with one, in a line of words.

    READ_TAG boiler.force c3000100    READ_TAG success (0x00) c3000700
    """
    stream, told = FrameReader(), []
    try:
        stream.receive_data(data)
        while (frame := stream.next_frame()) is not None:
            told.append(_line(describe_frame(frame, reply=reply)))
    except ProtocolError as error:
        told.append(str(error))
    if stream.partial:
        told.append("cut off")
    return "; ".join(told)


def _line(described: Described) -> str:
    """One frame, request or reply, in words."""
    if (message := described.get("request") or described.get("reply")) is not None:
        return _message_line(message)
    trouble = f"status 0x{described['status']:02x}" if described["status"] else ""
    words = (described["command"], trouble, described.get("unreadable", ""))
    return " ".join(filter(None, (*words, described.get("data", ""))))


def _message_line(message: Described) -> str:
    inner = message.get("requests") or message.get("replies")
    if inner:
        own = f" {message['status']}" if "status" in message else ""
        return f"{message['service']}{own}: {', '.join(_message_line(each) for each in inner)}"
    words = ("service", "path", "status", "data")
    route = f"by {message['route']} " if "route" in message else ""
    return route + " ".join(str(message[word]) for word in words if message.get(word))
