"""Simulated EtherNet/IP controllers: the listener's decisions in any program, without a gateway.

    with Simulator(["SCADA=INT[1000]", "FLOAT=REAL"]) as plc:     in a thread of its own
        print(plc.address)
        plc["FLOAT"] = 1.5

    async with Simulator([...]) as plc: ...                        on the running loop
    Simulator([...]).run()                                         in the foreground

Tags are read and written by name, made to fail (`set_error`) or slow (`delay`), and may be answered
by the user's own `Attribute`. Objects with attributes and services are added by class and instance.
Calls from other threads are safe.
"""

import asyncio
import concurrent.futures
import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cpppod.protocols.cip import epath, types
from cpppod.protocols.cip.image import Kind, Variable
from cpppod.protocols.cip.message_router import REPLY, MessageRouterReply
from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance, constant
from cpppod.protocols.cip.objects.identity import configured
from cpppod.protocols.cip.personality import personality
from cpppod.protocols.cip.request import CallNeeded, Command, Origin
from cpppod.protocols.cip.route_table import RoutePolicy
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.cip.symbols import declare
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.target.faults import Faults, parse_fault
from cpppod.protocols.model.addresses import listen_address
from cpppod.protocols.model.errors import EncodeError
from cpppod.simulator.attribute import Attribute
from cpppod.simulator.tags import (
    Declaration,
    Movement,
    TagError,
    parse_declaration,
    parse_movement,
)
from cpppod.workers.listener.target import declare_structures, kind_of, set_value
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.simulators.enip_faults import faulty_connection
from cpppod.workers.transport.enip_discovery import Discovery
from cpppod.workers.transport.enip_endpoint import (
    Done,
    Endpoint,
    EnipConnection,
    Limits,
    random_u32,
)

__all__ = ["Attribute", "CipError", "Settings", "Simulator", "TagError"]

log = logging.getLogger("cpppod.enip")

THREADS = 32  # for the users' own attributes; a slow one keeps one thread busy
MOVE_S = 0.05  # turn of the moving values
START_S = 10.0  # for a thread's server to listen
Delay = float | tuple[float, float]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a simulated controller behaves beyond its tags.

    Attributes:
        address: `host:port`; "" is all interfaces, port 0 takes a free one.
        plc: `controllogix`, `compactlogix`, `micro800`, `micrologix`, `slc500`, `plc5`, `simple`.
        route_path: the only one served; None serves any, as long as there are no `routes`.
        simple: serve only requests without a route path.
        routes: `{"1/1-15": "host:port"}`.
        identity, tcpip: values of those objects, keyed as in cpppo.cfg or the TOML file.
        structures: name -> [{name, type, length}] of its members.
        delay: seconds each reply is held back, or (least, most).
        attribute_class: answers reads and writes of the tags (`Attribute`).
        moves: `NAME=counter`, `NAME=sine,...`, `NAME=walk,...`.
        write_sources: networks that may write, () for all.
        faults: what its replies become on the wire, as `protocols.enip.target.faults` has them.
        lenient_types: take writes of another type too, where no value changes by it; a controller
            refuses them with 0xFF/0x2107.
    """

    address: str = "127.0.0.1:0"
    plc: str = "controllogix"
    route_path: str | None = None
    simple: bool = False
    routes: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    tcpip: Mapping[str, Any] = field(default_factory=dict)
    structures: Mapping[str, Any] = field(default_factory=dict)
    delay: Delay = 0.0
    attribute_class: Callable[[str, Variable], Any] | None = None
    moves: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    tcp: bool = True
    udp: bool = True
    name: str = "cpppod"
    writable_identity: bool = False
    write_sources: Sequence[str] = ()
    data_files: Sequence[str] = ()
    lenient_types: bool = False
    faults: Sequence[str] = ()


class Simulator:
    """One controller.

    Attributes:
        address: (host, port) it listens on, once started.
        observe: called with ("read" or "write", tag name, first, values) after each access; set it
            before starting.
        connection_type: what is made for each client; of a class of one's own before starting.
        faults: those in force; they may change while it runs, where there were some at first.
    """

    def __init__(
        self,
        tags: Iterable[str | Declaration] = (),
        settings: Settings | None = None,
        **changes: Any,
    ) -> None:
        self.settings = settings or Settings(**changes)
        self.address: tuple[str, int] = ("", 0)
        self.udp_address: tuple[str, int] = ("", 0)
        self.observe: Callable[[str, str, int, list[Any]], None] | None = None
        self.faults = Faults(random.random)
        for text in self.settings.faults:
            self.faults.add(parse_fault(text))
        self.connection_type = EnipConnection
        if self.faults.active:
            self.connection_type = faulty_connection(self.faults)
        self.disabled = False
        self._target = self._make_target()
        self._structures = declare_structures(self._target, self.settings.structures)
        self._variables: dict[str, Variable] = {}
        self._names: dict[str, str] = {}
        for tag in tags:
            self._declare(tag)
        self._movements: list[Movement] = [
            parse_movement(text, self._variable) for text in self.settings.moves
        ]
        self._delay: Delay = self.settings.delay
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._endpoint: Endpoint | None = None
        self._discovery: Discovery | None = None
        self._own_discovery = False
        self._mover: asyncio.Task[None] | None = None
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._routes: Any = None

    def _make_target(self) -> Target:
        settings = self.settings
        kind = personality(settings.plc)
        local = None
        if settings.route_path is not None:
            local = epath.parse_route_path(settings.route_path)
        simple = settings.simple or local == ()
        target = Target(
            random_u32=random_u32,
            clock_us=lambda: time.time_ns() // 1000,
            personality=kind,
            identity=configured(kind.identity, settings.identity),
            objects={"tcpip": settings.tcpip},
            policy=RoutePolicy(local or None, simple, forwards=bool(settings.routes)),
            program_name=settings.name,
            writable_identity=settings.writable_identity,
            lenient_types=settings.lenient_types,
        )
        if kind.pccc:
            from cpppod.protocols.cip.objects.pccc import pccc_class

            target.add_class(pccc_class(kind.pccc, settings.data_files))
        return target

    # Tags

    def _declare(self, tag: str | Declaration) -> Variable:
        given = parse_declaration(tag, self._structures) if isinstance(tag, str) else tag
        kind = kind_of(given.type, self._structures)
        if kind is types.STRING and self._target.personality.short_strings:
            kind = types.SSTRING
        shared = self._target.addressed.get(given.address) if given.address else None
        if shared is not None:
            return self._alias(given, kind, shared)
        variable = declare(given.name, kind, given.dimensions)
        variable.writable = given.writable
        if given.value is not None:
            set_value(variable, given.value)
        if self.settings.attribute_class is not None:
            variable.attribute = self.settings.attribute_class(given.name, variable)
        self._target.add_tag(variable, given.address)
        self._variables[given.name.casefold()] = variable
        self._names[given.name.casefold()] = given.name
        return variable

    def _alias(self, given: Declaration, kind: Kind, shared: Variable) -> Variable:
        """Two names for one address, as long as type and size agree."""
        if kind is not shared.type or tuple(given.dimensions) != tuple(shared.dimensions):
            raise TagError(f"tag {given.name}: {shared.name} has its address, and another type")
        self._target.symbols.add(shared, given.name)
        self._variables[given.name.casefold()] = shared
        self._names[given.name.casefold()] = given.name
        return shared

    def _variable(self, name: str) -> Variable:
        found = self._variables.get(name.casefold())
        if found is None:
            raise TagError(f"no tag {name!r}; known: {', '.join(self.tags) or 'none'}")
        return found

    @property
    def target(self) -> Target:
        """The controller's objects and tags, for what this class has no method for."""
        return self._target

    @property
    def variables(self) -> dict[str, Variable]:
        """The tags' memory by name."""
        return {name: self._variables[folded] for folded, name in self._names.items()}

    @property
    def endpoint(self) -> Endpoint | None:
        """The listening socket and its connections, while it runs."""
        return self._endpoint

    @property
    def tags(self) -> list[str]:
        """Names of all tags."""
        return list(self._names.values())

    def add_tag(self, tag: str | Declaration) -> None:
        """Declare one more tag, also while it runs."""
        self._on_loop(lambda: self._declare(tag))

    def read(self, name: str, first: int = 0, count: int | None = None) -> list[Any]:
        """Values of a tag's elements."""
        return self._on_loop(lambda: self._variable(name).get(first, count))

    def write(self, name: str, values: Sequence[Any], first: int = 0) -> None:
        """Set a tag's elements.

        Raises:
            EncodeError: a value does not fit.
        """
        self._on_loop(lambda: self._variable(name).set(values, first))

    def __getitem__(self, name: str) -> Any:
        """A tag's value: of a scalar, or the list of an array's."""
        return self._on_loop(lambda: self._variable(name).value)

    def __setitem__(self, name: str, value: Any) -> None:
        self._on_loop(lambda: set_value(self._variable(name), value))

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._variables

    def set_error(self, name: str, status: int) -> None:
        """Have every access to a tag answer this CIP general status; 0 ends it."""
        self._on_loop(lambda: self._target.set_error(self._variable(name), status))

    def error(self, name: str) -> int:
        """The general status that accesses to a tag answer, 0 for none."""
        return self._variable(name).error

    @property
    def delay(self) -> Delay:
        """Seconds that each reply is held back, or (least, most)."""
        return self._delay

    @delay.setter
    def delay(self, value: Delay) -> None:
        self._delay = value
        self._on_loop(self._apply_delay)

    def _apply_delay(self) -> None:
        if self._endpoint is None:
            return
        delay = self._delay
        if not delay or delay == (0, 0):
            self._endpoint.delay = None
        elif isinstance(delay, tuple):
            low, high = delay
            self._endpoint.delay = lambda: random.uniform(low, high)
        else:
            self._endpoint.delay = lambda: delay

    # Objects of the user's

    def add_object(
        self,
        class_id: int,
        instance: int,
        attributes: Mapping[int, Any] | None = None,
        services: Mapping[int, Callable[[bytes], bytes]] | None = None,
        everything: Sequence[int] | None = None,
    ) -> None:
        """Serve an object: attributes as (type, value), or as objects of yours that are asked.

        Such an object has a `type` (a CIP type's name), a `scalar` (whether it is a single value),
        a length, and is read and set by index or slice, as a tag's `Attribute` is. Settable ones
        are such objects, or tags with an address.

        A service gets the request's data and returns the reply's; raising `CipError` refuses it.
        Get Attributes All gives the attributes named in `everything`, all without it.
        """
        self._on_loop(
            lambda: self._add_object(
                class_id, instance, attributes or {}, services or {}, everything
            )
        )

    def _add_object(
        self,
        class_id: int,
        instance_id: int,
        attributes: Mapping[int, Any],
        services: Mapping[int, Callable[[bytes], bytes]],
        everything: Sequence[int] | None,
    ) -> None:
        found = self._target.classes.setdefault(class_id, CipClass(class_id))
        instance = found.instances.setdefault(instance_id, CipInstance())
        for number, given in attributes.items():
            if isinstance(given, tuple):
                type_name, value = given
                instance.attributes[number] = constant(types.by_name(type_name).pack([value]))
                continue
            dimensions = () if given.scalar else (len(given),)
            name = f"@{class_id}/{instance_id}/{number}"
            variable = Variable(name, types.by_name(given.type), dimensions)
            variable.attribute = given
            self._target.add_attribute(variable, (class_id, instance_id, number))
        for code, function in services.items():
            instance.services[code] = _service(code, function)
        if everything is not None:
            instance.everything = everything

    # Life

    async def start(self, discovery: Discovery | None = None) -> tuple[str, int]:
        """Listen; the address bound. `discovery` may be shared by many controllers.

        Raises:
            OSError: the address is not to be had.
        """
        self._loop = asyncio.get_running_loop()
        endpoint = Endpoint(
            self._target,
            self._perform,
            limits=self.settings.limits,
            may_write=_may_write(self.settings.write_sources),
        )
        endpoint.connection_type = self.connection_type
        host, port = listen_address(self.settings.address, any_port=True)
        if self.settings.routes and self._routes is None:
            from cpppod.simulator.routes import Routes

            self._routes = Routes(self.settings.routes)
        if self._routes is not None:
            endpoint.send_groups = self._routes.send
            self._routes.replied = endpoint.replied
        if self.observe is not None:
            self._target.remember = False
            self._target.observe = self._observed
        self._endpoint = endpoint
        self._discovery = discovery
        await self._listen(endpoint, host, self.address[1] or port)
        self._apply_delay()
        if self._movements and self._mover is None:
            self._mover = self._loop.create_task(self._move())
        return self.address

    async def _listen(self, endpoint: Endpoint, host: str, port: int) -> None:
        if self.settings.tcp:
            self.address = await endpoint.start(host, port)
            port = self.address[1]
        if not self.settings.udp:
            return
        if self._discovery is None:
            self._discovery, self._own_discovery = Discovery(), True
        try:
            self.udp_address = await self._discovery.add(self._target, host, port)
        except OSError:
            if not self.settings.tcp:
                raise
            log.warning("no discovery port=%d", port)
        if not self.settings.tcp:
            self.address = self.udp_address

    async def stop(self) -> None:
        """Close the ports and all connections."""
        if self._mover is not None:
            self._mover.cancel()
            self._mover = None
        if self._endpoint is not None:
            await self._endpoint.stop()
        if self._routes is not None:
            self._routes.close()
            self._routes = None
        self._close_discovery()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        self._endpoint = None
        self._loop = None
        if self._stopping is not None:
            self._stopping.set()

    def _close_discovery(self) -> None:
        if self._discovery is None:
            return
        if self._own_discovery:
            self._discovery.close()
            self._discovery, self._own_discovery = None, False
        elif self.udp_address[1]:
            self._discovery.remove(*self.udp_address)

    async def disable(self) -> None:
        """Close the port and all connections, and wait for `enable`."""
        if self._endpoint is not None and not self.disabled:
            self.disabled = True
            await self._endpoint.stop()
            self._close_discovery()

    async def enable(self) -> None:
        """Listen again, on the same address."""
        if self._endpoint is not None and self.disabled:
            self.disabled = False
            host, _ = listen_address(self.settings.address, any_port=True)
            await self._listen(self._endpoint, host, self.address[1])

    async def __aenter__(self) -> "Simulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> "Simulator":
        """Serve in a thread of its own until the block ends.

        Raises:
            OSError: the address is not to be had.
        """
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: _new_runner(self._serve(started)), name="simulator", daemon=True
        )
        self._thread.start()
        started.result(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        loop, thread, stopping = self._loop, self._thread, self._stopping
        if loop is not None and stopping is not None:
            loop.call_soon_threadsafe(stopping.set)
        if thread is not None:
            thread.join(START_S)
        self._thread = None

    async def _serve(self, started: "concurrent.futures.Future[None]") -> None:
        self._stopping = asyncio.Event()
        try:
            await self.start()
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._stopping.wait()
        await self.stop()

    def run(self) -> None:
        """Serve in the foreground until SIGINT or SIGTERM."""
        _new_runner(self.serve_until_stopped())

    async def serve_until_stopped(self) -> None:
        """Serve until `request_stop`, SIGINT or SIGTERM."""
        self._stopping = asyncio.Event()
        await self.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._stopping.set)
            except (NotImplementedError, RuntimeError):
                pass
        try:
            await self._stopping.wait()
        finally:
            if self._endpoint is not None:
                await self.stop()

    def request_stop(self) -> None:
        """Have `run` and the thread end."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            loop.call_soon_threadsafe(stopping.set)

    def _on_loop(self, function: Callable[[], _Result]) -> _Result:
        """Call on the server's loop where that runs in another thread."""
        loop = self._loop
        if loop is None or not loop.is_running():
            return function()
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            return function()
        future: concurrent.futures.Future[_Result] = concurrent.futures.Future()

        def call() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # whatever it is belongs to the caller
                future.set_exception(error)

        loop.call_soon_threadsafe(call)
        return future.result(START_S)

    # What requests need

    def _perform(self, command: Command, done: Done) -> None:
        if isinstance(command, CallNeeded):
            self._call(command, done)

    def _call(self, command: CallNeeded, done: Done) -> None:
        loop = asyncio.get_running_loop()
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(THREADS, "attribute")

        def work() -> None:
            try:
                result: Any = command.call()
            except CipError as error:  # so it refuses
                result = error
            except Exception as error:  # the user's code may raise anything: its request fails
                strangers.error(log, "%s failed why=%r", command.what, error, exc_info=error)
                result = error
            try:
                loop.call_soon_threadsafe(done, result)
            except RuntimeError:
                return

        self._executor.submit(work)

    def _observed(self, kind: str, variable: Variable, first: int, count: int) -> None:
        if self.observe is None or variable.attribute is not None:
            return
        count = max(0, min(count, variable.length - first))
        try:
            values = variable.get(first, count)
        except EncodeError:
            values = []
        self.observe(kind, variable.name, first, values)

    async def _move(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for movement in self._movements:
                movement.move(now)
            await asyncio.sleep(MOVE_S)


def _service(
    code: int, function: Callable[[bytes], bytes]
) -> Callable[[CipInstance, bytes, Origin], bytes]:
    def serve(_instance: CipInstance, data: bytes, _origin: Origin) -> bytes:
        try:
            return MessageRouterReply(code | REPLY, 0, (), function(data)).encode()
        except CipError:
            raise
        except Exception as error:  # the user's code may raise anything: its request fails
            strangers.error(log, "service failed code=0x%02x why=%r", code, error, exc_info=error)
            raise CipError(str(error), status=GeneralStatus.GENERAL_ERROR) from None

    return serve


def _may_write(sources: Sequence[str]) -> Callable[[str], bool]:
    from cpppod.workers.listener.target import write_check

    return write_check(sources)


def _new_runner(work: Any) -> None:
    """Run to the end on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
        return
    uvloop.run(work)
