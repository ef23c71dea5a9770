"""Devices as sets of named parameters, under cpppo's names: `cpppod.proxy`."""

import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from cpppod import proxy as ours
from cpppod.client import attribute_operations
from cpppod.client.connection import await_response
from cpppod.client.responses import Response
from cpppod.client.results import split_status
from cpppod.compat import Replaced, command
from cpppod.protocols.cip.message_router import REPLY, Service
from cpppod.protocols.enip.discovery import IdentityItem, decode_identities
from cpppod.protocols.enip.originator.errors import ReplyTimeout
from cpppod.proxy import parameter

from ...automata import is_listlike
from ...dotdict import dotdict
from . import client, defaults, device, parser

_NAMES = {
    "version": "version",
    "sin_port": "port",
    "sin_addr": "address",
    "vendor_id": "vendor",
    "device_type": "device_type",
    "product_code": "product_code",
    "status_word": "status",
    "serial_number": "serial",
    "product_name": "product_name",
    "state": "state",
}


_READS = (Service.READ_TAG | REPLY, Service.READ_TAG_FRAGMENTED | REPLY)


class UnknownParameter(ours.UnknownParameter, AssertionError):
    """A name that the proxy's `PARAMETERS` do not have."""


class ReadFailed(ours.ReadFailed, AssertionError):
    """With `checking`: some attributes could not be accessed."""


def identity_of(found: Any) -> Any:
    """An identity as dotted data, under the names of a List Identity reply besides ours."""
    if not isinstance(found, IdentityItem):
        return found
    made = dotdict({name: getattr(found, field) for name, field in _NAMES.items()})
    made.update(sin_family=2, product_revision=found.major | found.minor << 8)
    made.update(vendor=found.vendor, serial=found.serial, major=found.major, minor=found.minor)
    return made


class proxy(ours.proxy):
    """A device that routes; see `cpppod.proxy.proxy`.

    Attributes:
        identity, instance: who the device is: `product_name`, `vendor_id`, `serial_number` ...
    """

    CIP_TYPES: ClassVar[dict[str, Any]] = {
        name.lower(): (getattr(parser, name), name)
        for name in (
            *("REAL", "LREAL", "SINT", "USINT", "INT", "UINT", "DINT", "UDINT", "LINT", "ULINT"),
            *("BOOL", "WORD", "DWORD", "IPADDR"),
        )
    }
    GATEWAY: ClassVar[Any] = client.connector

    def __init__(
        self,
        host: Any = None,
        port: int | None = defaults.address[1],
        timeout: float | None = None,
        depth: int | None = None,
        multiple: int | bool | None = None,
        gateway_class: Any = None,
        route_path: Any = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
        identity_default: Any = None,
        dialect: Any = None,
        operations_parser: Any = None,
        **gateway_kwds: Any,
    ) -> None:
        self.configuration = gateway_kwds.pop("configuration", None)
        self.dialect, self.route_path, self.send_path = dialect, route_path, send_path
        self.priority_time_tick, self.timeout_ticks = priority_time_tick, timeout_ticks
        if host is None:
            host, port = client.configured(self.configuration, None)
        gateway = gateway_class or self.GATEWAY
        super().__init__(
            str(host),
            defaults.address[1] if port is None else port,
            5 if timeout is None else timeout,
            depth,
            multiple or 0,
            getattr(gateway, "PLAIN", gateway),
            device.parse_route_path(route_path),
            send_path,
            priority_time_tick,
            timeout_ticks,
            identity_default,
            operations_parser,
            **gateway_kwds,
        )

    @property
    def instance(self) -> Any:
        return self._identity

    @instance.setter
    def instance(self, found: Any) -> None:
        self._identity = identity_of(found)

    identity = instance

    def open_gateway(self) -> Any:
        """The connection, opened where there is none.

        Raises:
            OSError: the system's own error. `NoReply`: no session was given.
        """
        with client.system_errors():
            return super().open_gateway()

    def list_identity(self) -> Any:
        """Ask the device who it is.

        Raises:
            ReplyTimeout: it does not say.
        """
        with self:
            response = self._listed()
            self.instance = decode_identities(response.data)[0]
        return self.identity

    def list_identity_details(self) -> tuple[Any, float]:
        """(reply, seconds) of a List Identity request, while the connection is open."""
        return client._VIEWS.reply(self._listed()), 0.0

    def _listed(self) -> Response:
        gateway = self.open_gateway()
        gateway.list_identity()
        response, _ = await_response(gateway, self.timeout)
        if not isinstance(response, Response):
            raise ReplyTimeout("No response to List Identity within timeout")
        return response

    @staticmethod
    def is_request(req: Any) -> bool:
        """Whether it may be read: a text, or (address, types[, units])."""
        if isinstance(req, str):
            return True
        if not is_listlike(req) or not 2 <= len(req) <= 3 or not isinstance(req[0], str):
            return False
        kinds = req[1] if is_listlike(req[1]) else [req[1]]
        return all(kind is None or isinstance(kind, str | int | type) for kind in kinds)

    def parameter_substitution(
        self, iterable: Any, parameters: Any = None, pass_thru: bool | None = None
    ) -> Iterator[Any]:
        """As `cpppod.proxy`.

        Raises:
            UnknownParameter: a name that is not known, where it must not pass.
        """
        try:
            yield from super().parameter_substitution(iterable, parameters, pass_thru)
        except ours.UnknownParameter as error:
            raise UnknownParameter(*error.args) from None

    def read(self, attributes: Any, printing: bool = False, checking: bool = False) -> Any:
        """The value of each attribute, in order; types may be classes, whose values are dotted.

        Raises:
            ReadFailed: with `checking`, at the end.
        """
        return self._checked(super().read(attributes, printing, checking))

    write = read

    def _checked(self, values: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from values
        except ours.ReadFailed as error:
            raise ReadFailed(str(error)) from None

    def read_details(self, attributes: Any) -> Iterator[Any]:
        """(value, (status, (address, types, units))) of each attribute."""
        items = [attributes] if isinstance(attributes, str) else list(attributes)
        for item, result, value in self.details(items):
            address, kinds, units = (*item, None)[:3] if is_listlike(item) else (item, None, None)
            general, extended = split_status(result.status)
            status = (general, extended) if extended else general
            yield value, (status, (address, _classes(kinds, result), units))

    def details(self, items: list[Any]) -> Iterator[Any]:
        assert all(map(self.is_request, items)), f"Not a valid read/write target in {items!r}"
        named = [_named(item) for item in items]
        for item, (_, result, value) in zip(items, super().details(named), strict=True):
            yield item, result, _dotted(item, value)


def _classes(kinds: Any, result: Any) -> Any:
    """The classes of types, or that of the value that a tag told by itself."""
    if is_listlike(kinds):
        return [_classes(kind, result) for kind in kinds]
    if kinds is None and result.reply is not None and result.status == 0:
        code = int.from_bytes(result.reply.data[:2], "little")
        return (
            parser.typed_data.TYPES_SUPPORTED.get(code) if result.reply.service in _READS else None
        )
    return getattr(parser, kinds.strip().upper(), kinds) if isinstance(kinds, str) else kinds


def _named(item: Any) -> Any:
    """An attribute with its types by name."""
    if not is_listlike(item):
        return item
    address, kinds, *units = item
    if is_listlike(kinds):
        return (address, tuple(map(_type_name, kinds)), *units)
    return (address, _type_name(kinds), *units)


def _type_name(kind: Any) -> Any:
    """The name of a type that is given as a class, by its code, or so."""
    if isinstance(kind, int):
        kind = parser.typed_data.TYPES_SUPPORTED.get(kind, kind)
    return kind.__name__ if isinstance(kind, type) else kind


def _dotted(item: Any, value: Any) -> Any:
    """Values whose type was given as a class: `{"REAL": 1.5}`, `{"SSTRING": {"string": ...}}`."""
    kind = item[1] if is_listlike(item) else None
    if not isinstance(kind, type) or not isinstance(value, list):
        return value
    name = kind.__name__
    if name in ("SSTRING", "STRING"):
        return [dotdict({name: {"length": len(text), "string": text}}) for text in value]
    return [dotdict({name: each}) for each in value]


class proxy_simple(proxy):
    """A device that routes nothing: a MicroLogix, a drive, a sensor."""

    def __init__(
        self,
        host: Any = None,
        route_path: Any = None,
        send_path: str | None = None,
        **keywords: Any,
    ) -> None:
        route_path = False if route_path is None else route_path
        send_path = "" if send_path is None else send_path
        super().__init__(host, route_path=route_path, send_path=send_path, **keywords)


class proxy_connected(proxy):
    """A device that is spoken to over a class 3 connection."""

    def __init__(
        self,
        host: Any = None,
        gateway_class: Any = client.implicit,
        connection_path: Any = None,
        configuration: str | None = None,
        **keywords: Any,
    ) -> None:
        keywords = {"configuration": configuration, **keywords}
        if connection_path is not None:
            keywords["connection_path"] = client._path_text(connection_path)
        super().__init__(host, gateway_class=gateway_class, **keywords)


class proxy_pylogix:
    """Not offered: it was another library's connection."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise Replaced("proxy_pylogix: use proxy_connected (cpppod.proxy.proxy_connected)")


main = command("enip.get_attribute")

if __name__ == "__main__":
    sys.exit(main())
