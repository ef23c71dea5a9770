"""A harvested CIP reply under its documented, dotted keys.

enip.CIP.send_data.interface, .timeout, .CPF.count, .CPF.item[n].type_id, .CPF.item[n].length
.CPF.item[0].connection_ID.connection                  of a class 3 connection
.CPF.item[1].connection_data.sequence, .request        over it
.CPF.item[1].unconnected_send.request                  outside of it

request.service, .status, .status_ext.size, .status_ext.data, .input (the whole reply), and
request.read_frag.type, .data             by the service: `read_tag`, `get_attribute_single` ...
request.write_frag                        True where a service brings nothing, or failed
request.multiple.number, .offsets, .request[n]....
"""

import struct
from collections.abc import Callable
from typing import Any

from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import STRUCTURE, split_type
from cpppod.protocols.enip.cpf import Item, ItemType, decode_items
from cpppod.protocols.enip.originator.batch import reply_slices
from cpppod.protocols.enip.originator.values import unpack
from cpppod.protocols.model.errors import DecodeError, ProtocolError

Keys = dict[str, Any]

PREFIX = "enip.CIP.send_data"
_HEAD = struct.Struct("<IH")  # interface handle, time-out; the items follow
_BRINGS = (  # statuses of replies with data
    GeneralStatus.SUCCESS,
    GeneralStatus.PARTIAL_TRANSFER,
    GeneralStatus.EMBEDDED_SERVICE_ERROR,
)


def send_data_keys(data: bytes) -> Keys:
    """The keys of a SendRRData or SendUnitData reply with this data, as far as it is whole."""
    try:
        interface, timeout = _HEAD.unpack_from(data)
        items = decode_items(data[_HEAD.size :])
    except (struct.error, DecodeError):
        return {}
    keys: Keys = {
        f"{PREFIX}.interface": interface,
        f"{PREFIX}.timeout": timeout,
        f"{PREFIX}.CPF.count": len(items),
    }
    for number, item in enumerate(items):
        described = {"type_id": int(item.type), "length": len(item.data)}
        describe = _ITEMS.get(item.type)
        if describe is not None:
            described |= describe(item)
        keys |= _under(f"{PREFIX}.CPF.item[{number}].", described)
    return keys


def _connection_id(item: Item) -> Keys:
    return {"connection_ID.connection": int.from_bytes(item.data[:4], "little")}


def _connected(item: Item) -> Keys:
    return {
        "connection_data.sequence": int.from_bytes(item.data[:2], "little"),
        **_under("connection_data.request.", message_keys(item.data[2:])),
    }


def _unconnected(item: Item) -> Keys:
    return _under("unconnected_send.request.", message_keys(item.data))


_ITEMS: dict[int, Callable[[Item], Keys]] = {
    ItemType.CONNECTED_ADDRESS: _connection_id,
    ItemType.CONNECTED_DATA: _connected,
    ItemType.UNCONNECTED_DATA: _unconnected,
}


def message_keys(message: bytes) -> Keys:
    """The keys of one Message Router reply, below `request`."""
    keys: Keys = {"input": message}
    try:
        reply = MessageRouterReply.decode(message)
    except DecodeError:
        return keys
    keys["service"] = reply.service
    keys["status"] = reply.status
    keys["status_ext.size"] = len(reply.extended)
    keys["status_ext.data"] = list(reply.extended)
    name, brought = _SERVICES.get(reply.service & 0x7F, ("service_code", _octets))
    content: Keys = {}
    if reply.status in _BRINGS:
        try:
            content = brought(reply.data)
        except ProtocolError:
            content = {"input": reply.data}
    return keys | (_under(f"{name}.", content) if content else {name: True})


def _tag(data: bytes) -> Keys:
    code, handle, values = split_type(data)
    if code == STRUCTURE:
        return {"type": code, "structure_tag": handle, "data.input": values}
    return {"type": code, "data": unpack(code, handle, values, {})}


def _octets(data: bytes) -> Keys:
    return {"data": list(data)} if data else {}


def _nothing(_: bytes) -> Keys:
    return {}


def _packet(data: bytes) -> Keys:
    count = int.from_bytes(data[:2], "little")
    slices = reply_slices(data, count)
    keys: Keys = {"number": count, "offsets": [start for start, _ in slices]}
    for number, (start, end) in enumerate(slices):
        keys |= _under(f"request[{number}].", message_keys(data[start:end]))
    return keys


_SERVICES: dict[int, tuple[str, Callable[[bytes], Keys]]] = {
    Service.GET_ATTRIBUTES_ALL: ("get_attributes_all", _octets),
    Service.SET_ATTRIBUTES_ALL: ("set_attributes_all", _nothing),
    Service.GET_ATTRIBUTE_LIST: ("get_attribute_list", _octets),
    Service.SET_ATTRIBUTE_LIST: ("set_attribute_list", _octets),
    Service.MULTIPLE_SERVICE_PACKET: ("multiple", _packet),
    Service.GET_ATTRIBUTE_SINGLE: ("get_attribute_single", _octets),
    Service.SET_ATTRIBUTE_SINGLE: ("set_attribute_single", _nothing),
    Service.READ_TAG: ("read_tag", _tag),
    Service.WRITE_TAG: ("write_tag", _nothing),
    Service.READ_TAG_FRAGMENTED: ("read_frag", _tag),
    Service.WRITE_TAG_FRAGMENTED: ("write_frag", _nothing),
}


def _under(prefix: str, keys: Keys) -> Keys:
    return {prefix + key: value for key, value in keys.items()}
