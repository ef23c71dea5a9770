"""Replies harvested by hand: one `Response` for each, typed, and a mapping of the documented keys.

response.peer, response.status, response.reply        typed
response["enip.CIP.list_identity.CPF.item[0].identity_object.product_name"]
response["enip.CIP.list_identity.CPF"]                a level: what lies below it, as a dict
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cpppod.client.reply_keys import send_data_keys
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.cpf import Item, ItemType, decode_items
from cpppod.protocols.enip.discovery import IdentityItem, LegacyItem, ServiceItem
from cpppod.protocols.enip.encapsulation import Command, Frame
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.model.errors import DecodeError

LIST_INTERFACES = 0x0064
LEGACY = 0x0001
CIP_COMMANDS = (Command.SEND_RR_DATA, Command.SEND_UNIT_DATA)
COMMAND_NAMES = {
    Command.LIST_SERVICES: "list_services",
    Command.LIST_IDENTITY: "list_identity",
    LIST_INTERFACES: "list_interfaces",
    LEGACY: "legacy",
}


@dataclass(frozen=True)
class Response(Mapping[str, Any]):
    """One reply.

    Attributes:
        peer: (address, port) that it came from.
        command, session, status, context, data: of the encapsulation reply, as they came.
        request: the operation that it answers, None for list commands.
        reply: the Message Router reply, None for list commands.
    """

    peer: tuple[str, int]
    command: int
    session: int
    status: int
    context: bytes
    data: bytes
    request: Operation | None = None
    reply: MessageRouterReply | None = None
    _flat: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        frame: Frame,
        peer: tuple[str, int],
        request: Operation | None = None,
        reply: MessageRouterReply | None = None,
    ) -> "Response":
        """What came in an encapsulation frame."""
        return cls(
            *(peer, frame.command, frame.session, frame.status, frame.context, frame.data),
            *(request, reply),
        )

    @property
    def items_(self) -> list[dict[str, Any]]:
        """The CPF items of a list command's reply, as dicts of plain values."""
        return cpf_items(self.data) if self.command in COMMAND_NAMES else []

    @property
    def content(self) -> dict[str, Any]:
        """The CPF of a list command's reply under its documented, flat keys."""
        items = self.items_
        flat: dict[str, Any] = {"count": len(items)}
        for number, item in enumerate(items):
            for key, value in item.items():
                flat[f"item[{number}].{key}"] = value
        return flat

    def _keys(self) -> dict[str, Any]:
        if not self._flat:
            flat = {
                "peer": list(self.peer),
                "enip.status": self.status,
                "enip.sender_context.input": self.context,
                "enip.session_handle": self.session,
                "enip.length": len(self.data),
                "enip.command": self.command,
                "enip.input": self.data,
                "enip.options": 0,
            }
            name = COMMAND_NAMES.get(self.command)
            if name and not self.status:
                for key, value in self.content.items():
                    flat[f"enip.CIP.{name}.CPF.{key}"] = value
            if self.command in CIP_COMMANDS and not self.status:
                flat |= send_data_keys(self.data)
            self._flat.update(flat)
        return self._flat

    def __getitem__(self, key: str) -> Any:
        keys = self._keys()
        if key in keys:
            return keys[key]
        level = {k[len(key) :]: keys[k] for k in keys if k.startswith((f"{key}.", f"{key}["))}
        if not level:
            raise KeyError(key)
        return {name.removeprefix("."): value for name, value in level.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())


def cpf_items(data: bytes) -> list[dict[str, Any]]:
    """Every item of a list reply as a dict under the documented names; malformed ones as bytes."""
    try:
        items = decode_items(data)
    except DecodeError:
        return []
    described = []
    for item in items:
        fields: dict[str, Any] = {"type_id": int(item.type), "length": len(item.data)}
        try:
            if item.type == ItemType.IDENTITY:
                fields |= _identity(IdentityItem.decode(item))
            elif item.type == ItemType.SERVICES:
                # cpppo cuts the name's field to the name
                service = ServiceItem.decode(Item(item.type, item.data.ljust(20, b"\0")))
                fields["communications_service.version"] = service.version
                fields["communications_service.capability"] = service.flags
                fields["communications_service.service_name"] = service.name
            elif item.type == ItemType.LEGACY_IDENTITY:
                legacy = LegacyItem.decode(item)
                fields["legacy_CPF_0x0001.version"] = legacy.version
                fields["legacy_CPF_0x0001.unknown_1"] = 0
                fields["legacy_CPF_0x0001.sin_family"] = 2
                fields["legacy_CPF_0x0001.sin_port"] = legacy.port
                fields["legacy_CPF_0x0001.sin_addr"] = legacy.address
                fields["legacy_CPF_0x0001.ip_address"] = legacy.address
        except DecodeError:
            fields["input"] = item.data.hex()
        described.append(fields)
    return described


def _identity(item: IdentityItem) -> dict[str, Any]:
    plain = asdict(item)
    plain |= {"family": 2, "revision": item.major | item.minor << 8}
    names = {
        "version": "version",
        "sin_family": "family",
        "sin_port": "port",
        "sin_addr": "address",
        "vendor_id": "vendor",
        "device_type": "device_type",
        "product_code": "product_code",
        "product_revision": "revision",
        "status_word": "status",
        "serial_number": "serial",
        "product_name": "product_name",
        "state": "state",
    }
    return {f"identity_object.{name}": plain[key] for name, key in names.items()}


def enip_format(response: Mapping[str, Any]) -> str:
    """The response as documented programs print it: JSON with one key a line."""

    def plain(value: Any) -> str:
        return repr(value)

    return json.dumps(dict(response), indent=4, default=plain)
