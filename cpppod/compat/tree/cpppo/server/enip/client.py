"""The client under cpppo's names: `cpppod.client`, whose requests and replies come as dotted data.

    client       connects; `register` is the caller's       connector    registers a session
    implicit     opens a class 3 connection

Results are tuples (index, description, request, reply, status, value).
"""

import array
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, ClassVar

from cpppod import client as ours
from cpppod.client import responses
from cpppod.client.results import Result, split_status
from cpppod.compat import command
from cpppod.compat.views import Views
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.types import BY_NAME
from cpppod.protocols.enip.encapsulation import Command, Frame
from cpppod.protocols.enip.originator.batch import encode_batch
from cpppod.protocols.enip.originator.errors import EnipStatusError
from cpppod.protocols.enip.originator.forward_open import ConnectionRequest
from cpppod.protocols.enip.originator.operation_values import Text, parse_values
from cpppod.protocols.enip.originator.session import Answer

from ...dotdict import dotdict
from . import defaults
from .device import (
    parse_int,
    parse_path,
    parse_path_component,
    parse_path_elements,
    parse_route_path,
)

ENIPStatusError = EnipStatusError
_VIEWS = Views(dotdict, lambda octets: array.array("B", octets))
_KEPT = {"timeout_ticks", "priority_time_tick", "route_path", "send_path"}


class SENDStatusError(ENIPStatusError):
    """A refused route; it is the status of the operations' results here."""


class MSVCStatusError(ENIPStatusError):
    """A refused packet; it is the status of the operations' results here."""


class OperationError(ours.OperationError, AssertionError, KeyError):
    """An operation's text cannot be understood."""

    __str__ = ours.OperationError.__str__


class NoReply(ours.ReplyTimeout, AssertionError):
    """No session was given in time."""


@contextmanager
def system_errors() -> Iterator[None]:
    """Have a connection fail as cpppo's do.

    Raises:
        OSError: the system's own error. NoReply: no session was given in time.
    """
    try:
        yield
    except ours.ReplyTimeout as error:
        raise NoReply(str(error)) from None
    except ours.CommunicationCeased as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def _caster(name: str) -> Callable[[str], Any]:
    def cast(text: str) -> Any:
        return parse_values(Text(text), name)[1][0]

    return str if BY_NAME[name].kind == "string" else cast


CIP_TYPES = {
    name: (BY_NAME[name].code, BY_NAME[name].size, _caster(name))
    for name in (
        *("STRING", "SSTRING", "BOOL", "REAL", "LREAL", "LINT", "ULINT"),
        *("DINT", "UDINT", "INT", "UINT", "SINT", "USINT"),
    )
}


def format_path(segments: Any, count: int | None = None) -> str:
    """A path as it would be typed; with a count its last element as a range."""
    if isinstance(segments, str):
        return segments
    *parts, last = segments
    if count is None or set(last) != {"element"}:
        return ours.format_path(segments)
    first = last["element"]
    return f"{ours.format_path(parts)}[{first}-{first + count - 1}]"


def parse_operations(
    tags: Iterable[Any], fragment: bool = False, int_type: str | None = None, **kwds: Any
) -> Iterator[dict[str, Any]]:
    """The operations that texts describe; dicts pass. `kwds` are added to all of them.

    Raises:
        OperationError: when the text at fault is reached.
    """
    for tag in tags:
        if isinstance(tag, dict):
            tag.update(kwds)
            yield tag
            continue
        try:
            (operation,) = ours.parse_operations([tag], int_type=int_type or "INT")
        except ours.OperationError as error:
            lenient = _lenient(tag)
            if lenient is None:
                raise OperationError(error.text, error.position, error.reason) from None
            operation = lenient
        yield {**operation, **kwds}


def _lenient(tag: str) -> dict[str, Any] | None:
    """What cpppo makes of what `cpppod.client` refuses: `Tag=`, `Tag[0-9]*3`, an empty text."""
    left, equals, values = tag.partition("=")
    if values.strip():
        return None
    try:
        segments, _, count = parse_path_elements(left.strip())
    except (AssertionError, ValueError):
        return None
    operation = {"method": "write"} if equals else {}
    return {**operation, "path": segments, **({} if count is None else {"elements": count})}


def await_response(cli: "client", timeout: float | None = None) -> tuple[Any, float]:
    """(reply, seconds waited): None if none came in `timeout`, an empty one at the end."""
    response, elapsed = ours.await_response(cli, timeout)
    return dotdict() if response == {} else response, elapsed


def recycle(iterable: Iterable[Any], times: int | None = None) -> Iterator[Any]:
    """The items again and again, `times` times or without end."""
    items = list(iterable)
    rounds = itertools.count() if times is None else range(times)
    return itertools.chain.from_iterable(items for _ in rounds)


class _Registration:
    """The owner of a Register Session whose reply is harvested by hand."""

    def __init__(self, owner: "client") -> None:
        self.client = owner

    def receive(self, answer: Answer) -> None:
        """Keep a reply as it came."""
        if answer.failure is None:
            frame = Frame(Command.REGISTER_SESSION, b"\1\0\0\0", self.client.session)
            self.client._harvest.append(ours.Response.of(frame, self.client.addr))


class client(ours.Connector):
    """A socket to a target, or to everybody on a network; `register` registers a session.

    Args:
        dialect, profiler: accepted, of no use here.
        configuration: the section of the configuration that has the `Address`, without a host.
    """

    PLAIN: ClassVar[Any] = ours.Connector  # without dotted data, for proxies
    REGISTERS: ClassVar[bool] = False
    route_path_default = defaults.route_path_default
    send_path_default = defaults.send_path_default
    priority_time_tick = defaults.priority_time_tick
    timeout_ticks = defaults.timeout_ticks

    def __init__(
        self,
        host: Any = None,
        port: int | None = None,
        timeout: float | None = None,
        dialect: Any = None,
        profiler: Any = None,
        udp: bool = False,
        broadcast: bool = False,
        source_address: str | None = None,
        configuration: str | None = None,
        **others: Any,
    ) -> None:
        self.dialect, self.profiler = dialect, profiler
        self._ready = False
        if host is None:
            host, port = configured(configuration, port)
        how: dict[str, Any] = {
            "route_path": self.route_path_default,
            "send_path": self.send_path_default,
        }
        how |= {key: others.pop(key) for key in _KEPT & set(others) if others[key] is not None}
        how["route_path"] = parse_route_path(how["route_path"])
        how |= {"udp": udp, "broadcast": broadcast, "source_address": source_address}
        with system_errors():
            super().__init__(str(host), port, timeout, **how, **others)
        self._ready = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @property
    def conn(self) -> Any:
        """The socket; None once it is closed."""
        return None if self.closed else self._socket

    @property
    def session(self) -> int:
        """The session handle; may be set."""
        return self.protocol.session

    @session.setter
    def session(self, session: int | None) -> None:
        self.protocol.session = session or 0

    def register(self, timeout: float | None = None, sender_context: bytes = b"") -> Any:
        """Ask for a session; harvest the reply with `next`."""
        if not self._ready:
            return super().register(timeout) if self.REGISTERS else None
        owner = _Registration(self)
        self.send(partial(self.protocol.register, owner, deadline=inf), timeout)
        return dotdict({"enip.CIP.register": {"options": 0, "protocol_version": 1}})

    def __next__(self) -> Any:
        response = super().__next__()
        return None if response is None else _VIEWS.reply(response)

    def _command(self, command: int, context: bytes, data: bytes = b"") -> Any:
        super()._command(command, context, data)
        name = responses.COMMAND_NAMES.get(command, "legacy")
        made = dotdict({"enip.session_handle": self.session, "enip.options": 0, "enip.status": 0})
        made["enip.sender_context.input"] = bytearray(context[:8].ljust(8, b"\0"))
        made.update({f"enip.CIP.{name}": {}, "enip.command": command})
        return made

    def list_services(self, timeout: Any = None, sender_context: bytes = b"") -> Any:
        """Ask for List Services; the request. Harvest the reply with `next`."""
        return self._command(0x0004, sender_context)

    def list_identity(self, timeout: Any = None, sender_context: bytes = b"") -> Any:
        """Ask for List Identity; the request. Harvest the reply with `next`."""
        return self._command(0x0063, sender_context)

    def list_interfaces(self, timeout: Any = None, sender_context: bytes = b"") -> Any:
        """Ask for List Interfaces; the request. Harvest the reply with `next`."""
        return self._command(0x0064, sender_context)

    # -- requests whose reply is harvested by hand ------------------------------------------------

    def _issue_one(self, method: str, path: Any, extra: Any, how: Any) -> Any:
        segments, _, count = parse_path_elements(path)
        if count is not None and "elements" in extra:
            extra = {**extra, "elements": count}
        how = {key: value for key, value in how.items() if value is not None}
        if "route_path" in how:
            how["route_path"] = parse_route_path(how["route_path"])
        if extra.get("data") is None and method == "service_code":
            extra = {key: value for key, value in extra.items() if key != "data"}
        operation = super()._issue_one(method, segments, extra, {**how, "send": False})
        view = _VIEWS.request(operation, self._encoded(operation))
        if how.get("send", True):
            carrier = self.carrier_of(operation)
            self._send_single(operation, carrier, how.get("timeout"), how)
        return view

    def multiple(self, request: Any, path: Any = None, **how: Any) -> Any:
        """Issue requests made with `send=False` as one packet; the reply is harvested whole."""
        messages = [_message(item, self._encoded) for item in request]
        packet = encode_batch(messages)
        if how.pop("send", True):
            self._send_single(packet, self.carrier_of(_given(how)), how.get("timeout"), how)
        made = dotdict({"multiple.request": list(request), "service": packet[0]})
        made["input"] = bytearray(packet)
        return made

    def unconnected_send(self, request: Any, timeout: Any = None, **how: Any) -> Any:
        """Send a request made with `send=False`, or as bytes, outside any connection."""
        message = _message(request, self._encoded)
        self._send_single(message, self.route.override(_given(how)).carrier, timeout, how)
        return request

    def connected_send(self, request: Any, timeout: Any = None, **how: Any) -> Any:
        """Send a request made with `send=False`, or as bytes, over the class 3 connection."""
        super().connected_send(_message(request, self._encoded), timeout)
        return request

    req_send = unconnected_send

    # -- operations -------------------------------------------------------------------------------

    def pipeline(self, operations: Iterable[Any], *order: Any, **how: Any) -> Iterator[Any]:
        """(index, description, request, reply, status, value) of each operation, in order."""
        if how.get("depth") == 0:
            how["depth"] = 1
        return self.harvested(super().pipeline(_known(operations), *order, **how))

    def synchronous(self, operations: Iterable[Any], *order: Any, **how: Any) -> Iterator[Any]:
        """As `pipeline`, each request after the reply to the one before."""
        return self.pipeline(operations, *order, eager=False, **how)

    def harvested(self, results: Iterable[Result]) -> Iterator[Any]:
        """Results as tuples with dotted data."""
        for index, description, operation, reply, status, value in results:
            request = _VIEWS.request(operation)
            answer = _answer(reply, status)
            yield index, description, request, answer, status, value

    def validate(self, harvested: Iterable[Any], printing: bool = False) -> Iterator[Any]:
        """The tuples, with what was written as the value of writes; printed where asked for."""
        for index, description, request, reply, status, value in harvested:
            written = request.get("write_tag.data") or request.get("write_frag.data")
            value = written if written is not None and value is not None else value
            if printing:
                print(_line(request, status, value))
            yield index, description, request, reply, status, value

    def operate(  # type: ignore[override]
        self,
        operations: Iterable[Any],
        depth: int = 0,
        printing: bool = False,
        validating: bool = False,
        **how: Any,
    ) -> Iterator[Any]:
        """`pipeline` with a depth, else `synchronous`; through `validate` where asked for."""
        if depth:
            harvested = self.pipeline(operations, depth=depth, **how)
        else:
            harvested = self.synchronous(operations, **how)
        if printing or validating:
            return self.validate(harvested, printing=printing)
        return harvested

    def results(self, operations: Iterable[Any], **how: Any) -> Iterator[Any]:
        """Only the values; None is a failure."""
        return (value for *_, value in self.operate(operations, **how))

    def process(  # type: ignore[override]
        self, operations: Iterable[Any], **how: Any
    ) -> tuple[int, list[Any]]:
        """(how many failed, every value)."""
        values = list(self.results(operations, **how))
        return sum(value is None for value in values), values


class connector(client):
    """A registered session."""

    REGISTERS = True


class implicit(connector, ours.Implicit):
    """A session with a class 3 connection.

    Args:
        connection_path, O_T, T_O: as for `cpppod.client.Implicit`; also `O_T_RPI=`, `O_T_NCP=` ...
        others: `O_vendor`, `O_serial`, `connection_serial`, `connection_timeout_multiplier`,
            `priority_time_tick`, `timeout_ticks`; and those of `connector`.
    """

    PLAIN: ClassVar[Any] = ours.Implicit
    NAMES: ClassVar[dict[str, str]] = {
        "O_vendor": "originator_vendor",
        "O_serial": "originator_serial",
        "connection_serial": "connection_serial",
        "connection_timeout_multiplier": "multiplier",
        "priority_time_tick": "priority_time_tick",
        "timeout_ticks": "timeout_ticks",
    }

    def __init__(
        self,
        host: Any = None,
        port: int | None = None,
        timeout: float | None = None,
        connection_path: Any = None,
        path: Any = None,
        configuration: str | None = None,
        O_T: Any = None,
        T_O: Any = None,
        transport_class_triggers: int | None = None,
        **others: Any,
    ) -> None:
        triggers = defaults.forward_open_default.transport_class_triggers
        assert transport_class_triggers in (None, triggers), (
            "class 3, as a server, is what there is"
        )
        directions = [dict(O_T or {}), dict(T_O or {})]
        for name, direction in zip(("O_T", "T_O"), directions, strict=True):
            for key in ("RPI", "NCP", "size", "large", "variable", "priority", "type", "redundant"):
                if (value := others.pop(f"{name}_{key}", None)) is not None:
                    direction[key] = value
            if "NCP" in direction:
                direction["size"] = defaults.Connection(NCP=direction["NCP"]).decoding.size
        self._asked = {
            ours_name: others.pop(name)
            for name, ours_name in self.NAMES.items()
            if others.get(name) is not None
        }
        super().__init__(
            host,
            port,
            timeout,
            configuration=configuration,
            connection_path=_path_text(connection_path),
            O_T=directions[0] or None,
            T_O=directions[1] or None,
            **others,
        )

    def forward_open(self, request: ConnectionRequest, timeout: float | None = None) -> None:
        """Open the class 3 connection (done by the constructor)."""
        super().forward_open(replace(request, **self._asked), timeout)


def configured(section: str | None, port: int | None) -> tuple[str, int | None]:
    """(host, port) of the `Address` in a section of the configuration; localhost without one."""
    from ...misc import parse_ip_port
    from .device import Object

    address = Object.config_section(section).get("Address", "") or ""
    host, own = parse_ip_port(address.strip(), default=("localhost", defaults.address[1]))
    return str(host), own if port is None else port


def _path_text(path: Any) -> Any:
    if path is None or isinstance(path, str):
        return path
    ports = [f"{part['port']}/{part['link']}" for part in path if "port" in part]
    return "/".join([*ports, ours.format_path([part for part in path if "port" not in part])])


def _given(how: dict[str, Any]) -> dict[str, Any]:
    given = {key: how[key] for key in _KEPT & set(how) if how[key] is not None}
    if "route_path" in given:
        given["route_path"] = parse_route_path(given["route_path"])
    return given


def _known(operations: Iterable[Any]) -> Iterator[Any]:
    """Operations with their paths as segments; what only cpppo looks at is left out."""
    for operation in operations:
        if isinstance(operation, str):
            (operation,) = parse_operations([operation])
        made = {key: value for key, value in operation.items() if value is not None}
        if isinstance(made.get("path"), str):
            made["path"] = parse_path(made["path"])
        if "route_path" in made:
            made["route_path"] = parse_route_path(made["route_path"])
        yield made


def _message(request: Any, encode: Callable[[Any], bytes]) -> bytes:
    """A request as bytes: given so, dotted data with its `input`, or an operation."""
    if not isinstance(request, dict):
        return bytes(request or b"")
    if "input" in request:
        return bytes(request["input"])
    return encode(dict(request))


def _answer(reply: MessageRouterReply | None, status: Any) -> Any:
    if reply is not None:
        return _VIEWS.answer(reply)
    general, extended = split_status(status)
    made = dotdict({"status": general, "status_ext.size": len(extended)})
    if extended:
        made["status_ext.data"] = extended
    return made


def _line(request: Any, status: Any, value: Any) -> str:
    """The documented line of a result."""
    reads = "read_tag" in request or "read_frag" in request
    writes = "write_tag" in request or "write_frag" in request
    act = "==" if reads else "<=" if writes else "??"
    general, extended = split_status(status)
    outcome = "OK" if not general else f"Status {general} {extended or ''}"
    path = request.get("path.segment")
    tag = format_path(path) if path else f"Service Code 0x{request.service & 0x7F:02X}"
    element = path[-1].get("element") if path else None
    if element is None:
        return f"{tag:>20}              {act} {value!r}: {outcome!r}"
    asked = next((request[key] for key in _ACCESSES if key in request), dotdict())
    offset = asked.get("offset") or 0
    count = asked.get("elements") or 0
    if "write_frag" in request:
        count -= offset
    elif "read_frag" in request and value is not None:
        count = len(value)
    last = element + count - 1
    return f"{tag:>20}[{element:3d}-{last:<3d}]+{offset:3d} {act} {value!r}: {outcome!r}"


_ACCESSES = ("read_tag", "read_frag", "write_tag", "write_frag")


main = command("enip.client")

if __name__ == "__main__":
    sys.exit(main())
