"""The web API of `enip_server`: options, tags, connections and server control by URL.

    options      delay      value, and range where --delay gave one
    tags         <tag>      attribute[3], attribute[2-5], error, path
    connections  <address>  eof, interface, port, received, requests
    server       control    disable, done, latency, timeout, address, address_udp

Of several controllers, the second and later ones' tags are shown as `<address>:<port>/<tag>`.
"""

import argparse
import asyncio
import re
import reprlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cpppod.commands.arguments import LONGEST_S
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.model.addresses import SocketAddress, is_loopback
from cpppod.protocols.model.errors import ProtocolError
from cpppod.simulator import Simulator
from cpppod.simulator.tags import TagError, parse_delay
from cpppod.workers.transport.enip_endpoint import EnipConnection
from cpppod.workers.web.simulator_api import Entity, Refused, WebApi, as_current, serve

_INDEX = re.compile(r"^attribute(?:\[(\d+)(?:-(\d+))?\])?$")
_SHOWN = reprlib.Repr()
_SHOWN.maxlist = 6


class _Plain:
    """An entity of plain attributes; those in `settable` can be changed."""

    def __init__(
        self, values: dict[str, Any], settable: Mapping[str, Callable[[Any], Awaitable[None]]]
    ) -> None:
        self._values = values
        self._settable = settable

    def show(self) -> Mapping[str, Any]:
        """All attributes."""
        return self._values

    def get(self, command: str) -> Any:
        """One attribute."""
        if command not in self._values:
            raise Refused(repr(command))
        return self._values[command]

    async def set(self, command: str, value: str) -> Any:
        """Change one attribute, keeping its type."""
        if command not in self._settable or command not in self._values:
            raise Refused(repr(command))
        new = as_current(self._values[command], value)
        await self._settable[command](new)
        self._values[command] = new
        return new


class TagEntity:
    """A tag: its values by index, its error."""

    def __init__(self, simulator: Simulator, name: str, variable: Variable) -> None:
        self._simulator = simulator
        self._name = name
        self._variable = variable

    def show(self) -> Mapping[str, Any]:
        """The tag in a line, its error and its address."""
        variable = self._variable
        address = variable.address
        path = "@0x{:04x}/{}/{}".format(*address) if address is not None else ""
        shown = _SHOWN.repr(variable.get(0, min(variable.length, 7)))
        kind = f"{variable.name:<24} {variable.type.name:>10}"
        length = f"[{variable.length:4d}]" if variable.dimensions else ""
        return {"attribute": f"{kind}{length} == {shown}", "error": variable.error, "path": path}

    def get(self, command: str) -> Any:
        """`error`, or elements of the `attribute`."""
        if command == "error":
            return self._variable.error
        first, count = self._span(command)
        values = self._variable.get(first, count)
        return values[0] if count == 1 else values

    async def set(self, command: str, value: str) -> Any:
        """Inject an error, or set elements: one value for all, or a list with commas.

        Raises:
            Refused: a status or a value that does not fit, or not as many values as elements.
        """
        if command == "error":
            status = as_current(0, value)
            if not 0 <= status <= 0xFF:
                raise Refused(f"{status} is no CIP general status, 0 to 255")
            self._simulator.set_error(self._name, status)
            return status
        first, count = self._span(command)
        given = (
            [self._value(part) for part in value.split(",")] if count > 1 else [self._value(value)]
        )
        if len(given) not in (1, count):
            raise Refused(f"{len(given)} values for {count} elements")
        try:
            self._variable.set(given * (count // len(given)), first)
        except ProtocolError as error:
            raise Refused(str(error)) from None
        return given[0] if len(given) == 1 else given

    def _value(self, text: str) -> Any:
        return as_current(self._variable.type.zero(), text)

    def _span(self, command: str) -> tuple[int, int]:
        """(first, count) of `attribute`, `attribute[3]` or `attribute[2-5]`."""
        found = _INDEX.match(command)
        if not found:
            raise Refused(repr(command))
        length = self._variable.length
        if found[1] is None:
            return 0, length
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < length:
            raise Refused(f"elements {first} to {last} of a tag with {length}")
        return first, last - first + 1


class ServerModel:
    """What the API shows of the controllers in this process."""

    def __init__(self, simulators: Sequence[Simulator], stopping: asyncio.Event) -> None:
        self._simulators = simulators
        self._stopping = stopping
        self._times = {"latency": 0.1, "timeout": 0.2}
        self._ranged = isinstance(simulators[0].delay, tuple)

    def groups(self) -> Mapping[str, Mapping[str, Entity]]:
        """Options, connections, tags and server control."""
        return {
            "options": {"delay": self._delay()},
            "connections": self._connections(),
            "tags": self._tags(),
            "server": {"control": self._control()},
        }

    def _delay(self) -> Entity:
        delay = self._simulators[0].delay

        async def set_value_s(value: float) -> None:
            if not 0 <= value <= LONGEST_S:
                raise Refused(f"{value:g}: a delay is between 0 and 10 years")
            for simulator in self._simulators:
                simulator.delay = value

        async def set_range(text: str) -> None:
            try:
                given = parse_delay(text)
            except TagError as error:
                raise Refused(str(error)) from None
            for simulator in self._simulators:
                simulator.delay = given if isinstance(given, tuple) else (given, given)

        low, high = delay if isinstance(delay, tuple) else (float(delay), float(delay))
        if not self._ranged:
            return _Plain({"value": low}, {"value": set_value_s})
        return _Plain(
            {"value": low, "range": f"{low:g}-{high:g}"},
            {"value": set_value_s, "range": set_range},
        )

    def _connections(self) -> dict[str, Entity]:
        found: dict[str, Entity] = {}
        for simulator in self._simulators:
            if simulator.endpoint is not None:
                for connection in simulator.endpoint.connections:
                    address, port = connection.peer
                    found[f"{address.replace('.', '_')}_{port}"] = _connection(connection)
        return found

    def _tags(self) -> dict[str, Entity]:
        found: dict[str, Entity] = {}
        for number, simulator in enumerate(self._simulators):
            prefix = f"{SocketAddress(*simulator.address)}/" if number else ""
            for name, variable in simulator.variables.items():
                found[prefix + name] = TagEntity(simulator, name, variable)
        return found

    def _control(self) -> Entity:
        first = self._simulators[0]

        async def disable(value: bool) -> None:
            for simulator in self._simulators:
                try:
                    await (simulator.disable() if value else simulator.enable())
                except OSError as error:
                    raise Refused(error.strerror or str(error)) from None

        async def done(value: bool) -> None:
            if value:
                # after the reply has left
                asyncio.get_running_loop().call_later(0.2, self._stopping.set)

        def remember(name: str) -> Callable[[Any], Awaitable[None]]:
            async def store(value: float) -> None:
                self._times[name] = value

            return store

        return _Plain(
            {
                "address": list(first.address),
                "address_udp": list(first.udp_address),
                "disable": first.disabled,
                "done": False,
                **self._times,
            },
            {
                "disable": disable,
                "done": done,
                "latency": remember("latency"),
                "timeout": remember("timeout"),
            },
        )


def _connection(connection: EnipConnection) -> Entity:
    session = connection.session

    async def end(value: bool) -> None:
        if value:
            connection.abort()

    return _Plain(
        {
            "eof": False,
            "interface": connection.peer[0],
            "port": connection.peer[1],
            "received": session.received if session is not None else 0,
            "requests": session.requests if session is not None else 0,
        },
        {"eof": end},
    )


async def start_web(
    address: tuple[str, int],
    arguments: argparse.Namespace,
    simulators: Sequence[Simulator],
    stopping: asyncio.Event,
) -> Callable[[], Awaitable[None]]:
    """Serve the API of these controllers at `address`; how to stop.

    Raises:
        OSError: the address is not to be had.
    """
    host, port = address
    api = WebApi(
        ServerModel(simulators, stopping),
        legacy=arguments.web_legacy,
        loopback=is_loopback(host),
    )
    bound, stop = await serve(api.application, host, port)
    if arguments.address_output:
        print(f"Web API address = {(host, bound)}", flush=True)
    return stop
