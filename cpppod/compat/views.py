"""Requests and replies as dotted data, under the names that cpppo gave their fields.

    reply      peer, enip.{command, length, session_handle, status, sender_context.input, options,
               input}, enip.CIP...
    answer     of one request: input, service, status, status_ext, and what the service is:
               read_tag.{type, data}, write_frag = True, get_attribute_single.data ...
    request    path.segment[n], what the service is, service, input

What a reply holds is told by `cpppod.client` (`Response`, `reply_keys`); here it gets its levels.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from cpppod.client.reply_keys import message_keys
from cpppod.client.responses import Response
from cpppod.protocols.automata.dotdict import dotdict
from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.operations import Operation

Octets = Callable[[bytes], Any]

CODES = {  # of a request in one message, and of one by fragments
    "read": (Service.READ_TAG, Service.READ_TAG_FRAGMENTED),
    "write": (Service.WRITE_TAG, Service.WRITE_TAG_FRAGMENTED),
    "get_attributes_all": (Service.GET_ATTRIBUTES_ALL,) * 2,
    "get_attribute_single": (Service.GET_ATTRIBUTE_SINGLE,) * 2,
    "get_attribute_list": (Service.GET_ATTRIBUTE_LIST,) * 2,
    "set_attribute_single": (Service.SET_ATTRIBUTE_SINGLE,) * 2,
}


class Views:
    """Makes them.

    Args:
        kind: of the dotted data; `octets` of bytes in it.
    """

    def __init__(self, kind: type[dotdict], octets: Octets) -> None:
        self.kind, self.octets = kind, octets

    def nested(self, keys: Mapping[str, Any]) -> dotdict:
        """Flat keys, `a.b[0].c`, as levels and lists."""
        made = self.kind()
        for key, value in keys.items():
            *levels, last = key.split(".")
            at: Any = made
            for level in levels:
                name, bracket, index = level.partition("[")
                if not bracket:
                    at = at.setdefault(name, self.kind())
                    continue
                items = at.setdefault(name, [])
                while len(items) <= int(index[:-1]):
                    items.append(self.kind())
                at = items[int(index[:-1])]
            at[last] = self._plain(value)
        return made

    def _plain(self, value: Any) -> Any:
        """Bytes as octets, numbers without the names that ours have."""
        if isinstance(value, bytes):
            return self.octets(value)
        return int(value) if isinstance(value, IntEnum) else value

    def reply(self, response: Response) -> dotdict:
        """All of a reply."""
        head: dict[str, Any] = {
            "enip.command": response.command,
            "enip.length": len(response.data),
            "enip.session_handle": response.session,
            "enip.status": response.status,
            "enip.sender_context.input": response.context,
            "enip.options": 0,
        }
        if response.data:
            head["enip.input"] = response.data
        if response.command == Command.REGISTER_SESSION and not response.status:
            head |= {"enip.CIP.register.protocol_version": 1, "enip.CIP.register.options": 0}
        told = {key: value for key, value in response.items() if key.startswith("enip.CIP")}
        made = self.kind(peer=tuple(response.peer))
        made.update(self.nested(head | _said(told)))
        return made

    def answer(self, reply: MessageRouterReply) -> dotdict:
        """The reply to one request."""
        return self.nested(_said(message_keys(reply.encode())))

    def request(self, operation: Operation, message: bytes | None = None) -> dotdict:
        """An operation as it is asked; `message` is what goes out for it."""
        method = operation.get("method") or ("write" if "data" in operation else "read")
        offset, given = operation.get("offset"), operation.get("data")
        fragmented = offset is not None
        code = operation.get("code") or (CODES[method][fragmented] if method in CODES else None)
        made = self.kind()
        if operation.get("path"):
            made["path.segment"] = [self.kind(part) for part in operation["path"]]
        if method in ("read", "write"):
            asked = self.kind(elements=int(operation.get("elements") or 1))
            if fragmented:
                asked["offset"] = offset
            if method == "write":
                asked["data"], asked["type"] = given, operation.get("tag_type")
            made[method + ("_frag" if fragmented else "_tag")] = asked
        elif method == "set_attribute_single" and given is not None:
            count = operation.get("elements", len(given))
            made[method] = self.kind(data=given, elements=count)
        elif method == "service_code":
            made["service"] = int(code or 0)
            made[method] = True if given is None else self.kind(data=list(given))
        else:
            made[method] = True
        if code is not None:
            made["service"] = int(code)
        if message is not None:
            made["input"] = bytearray(message)
        return made


def _said(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys without those of extended status words that there are none of."""
    return {key: value for key, value in keys.items() if value != [] or "status_ext" not in key}
