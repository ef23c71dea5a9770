"""Proxies: a device as a set of named parameters, typed, over a connection that mends itself.

    via = powerflex_750_series(host="10.0.0.5")
    with via:                                     # opens it; an exception in here closes it
        value, = via.read(via.parameter_substitution("Output Current"))

Parameters are read by Get Attribute and converted to their CIP types, plain tags by Read Tag. A
value is a list of elements, None where the device answered with an error status, True for a write.
After an exception the next use opens the connection anew. Any number of threads may use one proxy.

Sources of addresses: CIP Networks Library Vol. 1 (Identity) and Vol. 2 (TCP/IP Interface); Rockwell
20COMM-UM015 and 750COM-UM001 (Host DPI parameters of PowerFlex 750 drives, class 0x93).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, ClassVar, NamedTuple, Self

from cpppod.client.blocking import Connector, Implicit
from cpppod.client.connection import await_response
from cpppod.client.responses import Response
from cpppod.client.results import Result, split_status
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import BY_NAME, DataType
from cpppod.protocols.enip.discovery import PORT, decode_identities
from cpppod.protocols.enip.originator.errors import ReplyTimeout
from cpppod.protocols.enip.originator.exchange import format_target
from cpppod.protocols.enip.originator.operations import (
    Operation,
    attribute_operations,
    parse_operations,
)
from cpppod.protocols.enip.originator.route import RoutePath
from cpppod.protocols.model.errors import DecodeError, ProtocolError

Types = str | Iterable[str] | None
Attribute = str | Operation | tuple[Any, ...]
Parser = Callable[[Iterable[Any]], Iterator[Operation]]


class Parameter(NamedTuple):
    """How a named parameter is reached: address, CIP type or types, unit."""

    attribute: str
    types: Types
    units: str | None = None


parameter = Parameter


class UnknownParameter(LookupError):
    """A name that the proxy's `PARAMETERS` do not have."""


class ReadFailed(RuntimeError):
    """With `checking`: some attributes could not be accessed."""


class proxy:
    """A device that routes, such as a ControlLogix.

    Args:
        host, port, timeout: where it is; seconds for each reply.
        depth: requests in flight.
        multiple: size of Multiple Service Packets, 0 for none.
        gateway_class: what opens the connection (`Connector`, `Implicit`).
        route_path, send_path, priority_time_tick, timeout_ticks: as for `Connector`.
        identity_default: the device's name (or an object with a `product_name`); without it the
            device is asked by List Identity whenever the connection is opened.
        operations_parser: makes operations of texts; by default Get Attribute where a type is
            given, Read Tag where not.
        others: further keywords of `gateway_class`.

    Attributes:
        gateway: the connection, None while there is none.
        instance: the device's identity, with its `product_name`.
    """

    parameter: ClassVar[type[Parameter]] = Parameter
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "product_name": Parameter("@1/1/7", "SSTRING"),
        "identity": Parameter(
            "@1/1", ("INT", "INT", "INT", "INT", "INT", "DINT", "SSTRING", "USINT"), "Identity"
        ),
        "tcpip": Parameter(
            "@0xF5/1",
            ("DWORD", "DWORD", "DWORD", "EPATH", *("IPADDR",) * 5, "STRING", "STRING"),
            "TCPIP",
        ),
    }
    ROUTE_PATH: ClassVar[RoutePath] = None
    SEND_PATH: ClassVar[str | None] = None
    GATEWAY: ClassVar[type[Connector]] = Connector

    def __init__(
        self,
        host: str,
        port: int = PORT,
        timeout: float | None = 5.0,
        depth: int | None = None,
        multiple: int | bool = 0,
        gateway_class: type[Connector] | None = None,
        route_path: RoutePath = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
        identity_default: Any = None,
        operations_parser: Parser | None = None,
        **others: Any,
    ) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self.depth = 2 if depth is None else depth
        self.multiple = multiple
        self.gateway_class = gateway_class or self.GATEWAY
        self.gateway_kwds = {
            "route_path": self.ROUTE_PATH if route_path is None else route_path,
            "send_path": self.SEND_PATH if send_path is None else send_path,
            "priority_time_tick": priority_time_tick,
            "timeout_ticks": timeout_ticks,
            **others,
        }
        self.identity_default = identity_default
        self.operations_parser = operations_parser
        self.instance: Any = _named(identity_default)
        self.gateway: Connector | None = None
        self._lock = threading.RLock()

    def __str__(self) -> str:
        name = None if self.instance is None else self.instance.product_name
        return f"{name} at {self.gateway}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    # -- the connection ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.open_gateway()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.close_gateway(error)

    def open_gateway(self) -> Connector:
        """The connection, opened if there is none, and the device asked who it is.

        Raises:
            OriginatorError: the device is not there, or refuses.
        """
        with self._lock:
            if self.gateway is not None and self.gateway.closed:
                self.close_gateway()
            if self.gateway is None:
                gateway = self.gateway_class(
                    self.host, self.port, self.timeout, **self.gateway_kwds
                )
                try:
                    self._identify(gateway)
                except BaseException:
                    gateway.close()
                    raise
                self.gateway = gateway
            return self.gateway

    def close_gateway(self, exc: BaseException | None = None) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            gateway, self.gateway = self.gateway, None
            if self.identity_default is None:
                self.instance = None
            if gateway is not None:
                gateway.close()

    def _identify(self, gateway: Connector) -> None:
        if self.identity_default is not None:
            return
        gateway.list_identity()
        response, _ = await_response(gateway, self.timeout)
        if not isinstance(response, Response):
            raise ReplyTimeout("Failed to receive any response")
        try:
            identities = decode_identities(response.data)
        except DecodeError:
            identities = []
        self.instance = identities[0] if identities else _named(None)

    # -- parameters -------------------------------------------------------------------------------

    def parameter_substitution(
        self,
        iterable: str | Iterable[Attribute],
        parameters: Mapping[str, Parameter] | None = None,
        pass_thru: bool | None = None,
    ) -> Iterator[Attribute]:
        """What each name stands for, as `(address, types)`; `= value` is kept with the address.

        Args:
            iterable: names, or one name; all else passes through.
            parameters: instead of the class' `PARAMETERS`.
            pass_thru: whether an unknown name passes too, as a tag (the default).

        Raises:
            UnknownParameter: a name that is not known, where it must not pass.
        """
        names = self.PARAMETERS if parameters is None else parameters
        for item in [iterable] if isinstance(iterable, str) else iterable:
            if not isinstance(item, str):
                yield item
                continue
            name, equals, value = item.partition("=")
            found = names.get("_".join(name.lower().split()))
            if found is not None:
                yield found.attribute + equals + value, found.types
            elif pass_thru is False and not name.strip().startswith("@"):
                known = ", ".join(sorted(names))
                raise UnknownParameter(f"Unrecognized parameter name: {item!r}; known: {known}")
            else:
                yield item

    # -- reading and writing ----------------------------------------------------------------------

    def read(
        self,
        attributes: Attribute | Iterable[Attribute],
        printing: bool = False,
        checking: bool = False,
    ) -> Iterator[Any]:
        """The value of each attribute, in order; the requests go out when the first is asked for.

        Args:
            attributes: tags, `(address, types[, units])`, operations; with `= value` they write.
            printing: print a line for each.
            checking: raise at the end if any failed.

        Raises:
            OriginatorError: now, if the device is not there; later, if it goes away.
            ReadFailed: with `checking`.
        """
        items: list[Any] = [attributes] if isinstance(attributes, str | dict) else list(attributes)
        try:
            self.open_gateway()
        except BaseException as error:
            self.close_gateway(error)
            raise
        return self._read(items, printing=printing, checking=checking)

    write = read

    def _read(self, items: list[Attribute], *, printing: bool, checking: bool) -> Iterator[Any]:
        failed = []
        for item, result, value in self.details(items):
            if printing:
                units = item[2] if isinstance(item, tuple) and len(item) > 2 else None
                print(f"{format_target(result.request):>16} == {value} {units or ''}".rstrip())
            if value is None:
                status, extended = split_status(result.status)
                code = f"{status} {extended}" if extended else f"{status}"
                failed.append(f"{format_target(result.request)}: status {code}")
            yield value
        if checking and failed:
            raise ReadFailed(f"read failed to access {len(failed)} attributes: {', '.join(failed)}")

    def read_details(self, items: list[Attribute]) -> Iterator[tuple[Attribute, Result, Any]]:
        """`details`; subclasses may give them in another form."""
        return self.details(items)

    def details(self, items: list[Attribute]) -> Iterator[tuple[Attribute, Result, Any]]:
        """(attribute, result, converted value) of each attribute.

        Raises:
            OriginatorError: the device went away; the connection is closed.
        """
        operations = [self._operation(item) for item in items]
        with self._lock:
            gateway = self.open_gateway()
            try:
                with gateway:
                    results = list(
                        gateway.operate(
                            operations,
                            depth=self.depth,
                            multiple=self.multiple,
                            timeout=self.timeout,
                        )
                    )
            except ProtocolError:
                raise
            except BaseException as error:
                self.close_gateway(error)
                raise
        for item, result in zip(items, results, strict=True):
            yield item, result, _converted(item, result)

    def _operation(self, item: Attribute) -> Operation:
        target: Any = item[0] if isinstance(item, tuple) else item
        types = item[1] if isinstance(item, tuple) and len(item) > 1 else None
        parser = self.operations_parser
        if parser is None:
            parser = attribute_operations if types is not None else parse_operations
        (operation,) = parser([target])
        return operation


class proxy_simple(proxy):
    """A device that routes nothing: a MicroLogix, a drive, a sensor."""

    ROUTE_PATH = False
    SEND_PATH = ""


class proxy_connected(proxy):
    """A device that is spoken to over a class 3 connection."""

    GATEWAY = Implicit


class powerflex(proxy_simple):
    """An Allen-Bradley PowerFlex drive: parameters of the host (class 0x93)."""


class powerflex_750_series(powerflex):
    """A PowerFlex 750 drive with the parameters that most users ask for."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = powerflex.PARAMETERS | {
        name: Parameter(f"@0x93/{number}/10", kind, unit)
        for name, number, kind, unit in (
            ("output_frequency", 1, "REAL", "Hz"),
            ("output_freq", 1, "REAL", "Hz"),
            ("mtr_vel_fdbk", 3, "REAL", "Hz/RPM"),
            ("motor_velocity", 3, "REAL", "Hz/RPM"),
            ("output_current", 7, "REAL", "Amps"),
            ("output_voltage", 8, "REAL", "VAC"),
            ("output_power", 9, "REAL", "kW"),
            ("dc_bus_volts", 11, "REAL", "VDC"),
            ("elapsed_mwh", 13, "REAL", "MWh"),
            ("elapsed_kwh", 14, "REAL", "kWh"),
            ("elapsed_run_time", 15, "REAL", "Hrs"),
            ("rated_volts", 20, "REAL", "VAC"),
            ("rated_amps", 21, "REAL", "Amps"),
            ("rated_kw", 22, "REAL", "kW"),
            ("speed_units", 300, "DINT", "Hz/RPM"),
        )
    }


def _named(identity: Any) -> Any:
    """An object with a `product_name`."""
    if isinstance(identity, str):
        return SimpleNamespace(product_name=identity)
    if isinstance(identity, Mapping):
        return SimpleNamespace(**identity)
    return identity


def _converted(item: Attribute, result: Result) -> Any:
    """The result's value, the bytes of an attribute by the types that the item names."""
    types = item[1] if isinstance(item, tuple) and len(item) > 1 else None
    method = result.request.get("method", "read")
    reads = method in ("get_attribute_single", "get_attributes_all")
    if result.value is None or types is None or not reads:
        return result.value
    return convert(bytes(result.value), types)


def convert(data: bytes, types: str | Iterable[str]) -> list[Any]:
    """The values of an attribute's bytes: one type until the data ends, or one type each.

    Raises:
        DecodeError: a value is cut short, or a type is unknown.
    """
    values: list[Any] = []
    if isinstance(types, str):
        while data:
            value, data = _one(types, data)
            values.append(value)
        return values
    for name in types:
        if not data:
            break  # a device without the last, optional attributes
        value, data = _one(name, data)
        values.append(value)
    return values


def _one(name: str, data: bytes) -> tuple[Any, bytes]:
    """The first value in `data`, and what follows it."""
    if name.upper() == "EPATH":
        end = 2 + 2 * int.from_bytes(data[:2], "little")
        return [_plain(segment) for segment in epath.decode(data[2:end])], data[end:]
    if name.upper() == "IPADDR":
        return ".".join(str(byte) for byte in data[3::-1]), data[4:]
    kind = BY_NAME.get(name.upper())
    if kind is None:
        raise DecodeError(f"unknown type {name!r}", status=GeneralStatus.INVALID_PARAMETER)
    (value,) = kind.unpack(data, 1)
    return value, data[_length(kind, value) :]


def _length(kind: DataType, value: Any) -> int:
    if kind.size:
        return kind.size
    return len(kind.pack([value]))


def _plain(segment: epath.Segment) -> dict[str, Any]:
    if isinstance(segment, epath.Logical):
        return {segment.kind.name.lower(): segment.value}
    if isinstance(segment, epath.Port):
        return {"port": segment.port, "link": segment.link}
    return {"segment": str(segment)}


__all__ = [
    "Parameter",
    "ReadFailed",
    "UnknownParameter",
    "attribute_operations",
    "convert",
    "parameter",
    "powerflex",
    "powerflex_750_series",
    "proxy",
    "proxy_connected",
    "proxy_simple",
]
