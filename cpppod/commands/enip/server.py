"""enip_server: a simulated EtherNet/IP controller on the command line.

    enip_server --print SCADA=INT[1000] TEXT=SSTRING[100] FLOAT=REAL
    enip_server -a 127.0.0.2-127.0.0.201 Total=DINT --move Total=counter
    enip_server -c plant.toml

Options as cpppo's `enip_server`; docs/enip_server.md describes them and what is new.
"""

import argparse
import asyncio
import importlib
import logging
import logging.handlers
import signal
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from cpppod import cpppo_cfg
from cpppod.commands.arguments import log_file, whole
from cpppod.commands.enip.trace import DETAIL, REQUESTS
from cpppod.commands.parser import USAGE, CommandParser
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.enip.target.faults import KINDS
from cpppod.protocols.model.addresses import ANY, AddressError, SocketAddress, socket_address
from cpppod.protocols.model.errors import ProtocolError
from cpppod.simulator import Settings, Simulator
from cpppod.simulator.attribute import Attribute
from cpppod.simulator.files import addresses, read_controllers
from cpppod.simulator.tags import FileError, TagError, parse_delay
from cpppod.workers.transport.enip_discovery import Discovery
from cpppod.workers.transport.enip_endpoint import Limits

log = logging.getLogger("cpppod.enip_server")

MOVE_HELP = (
    "have a tag move: TAG=counter[,step=1], TAG=sine[,offset=,amplitude=,period=], "
    "TAG=walk[,low=,high=,step=]; each takes every=SECONDS"
)
FAULT_HELP = (
    "misbehave, for all requests or those for a tag: "
    + " ".join(KINDS)
    + "; docs/enip_server.md says what they do, and what the gateway says to them"
)
EPILOG = """\
A tag is NAME[@class/instance/attribute][=TYPE[length]]; types: BOOL SINT INT DINT LINT USINT UINT
UDINT ULINT REAL LREAL STRING SSTRING STRING82 BYTE WORD DWORD LWORD TIMER COUNTER CONTROL.
Serves every network interface unless -a says otherwise.

examples:
  enip_server --print 'SCADA=INT[1000]' 'TEXT=SSTRING[100]' FLOAT=REAL
  enip_server -a 127.0.0.1:44819 Total=DINT --move Total=counter
  enip_server -S 'SCADA@0x4/0x96/3=INT[18]'
  enip_server 'T=DINT[10]' U=REAL --fault hang-up --fault refused:0x08,tag=U
  enip_server -c plant.toml

exit status: 0 stopped, 1 refused or failed, 2 wrong usage
"""
DEFAULT_TAG = "SCADA=DINT[1000]"  # served where no tag is named, so that there is something to try
LATENCY_S = 0.1  # how often `control` is looked at, and the idle service called
AttributeMaker = Callable[[str, Any], Any]  # (name, variable): a subclass of Attribute, for one
LOG_BYTES, LOG_FILES = 10_000_000, 5
_LEVELS = (logging.WARNING, logging.INFO, logging.INFO, logging.INFO, logging.DEBUG)
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-8.8s %(name)-12.12s %(message)s"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = CommandParser(
        prog="enip_server",
        description="Simulate an EtherNet/IP controller: tags to read and write over CIP.",
        epilog=EPILOG,
    )
    add = made.add_argument
    add("-v", "--verbose", action="count", default=0, help="log more; -vv: connections and each "
        "request as a dict; -vvv: replies too; -vvvv: their bytes")  # fmt: skip
    add("-a", "--address", default=":44818", help="[interface][:port] (default :44818); also "
        "a range, 127.0.0.2-127.0.0.201: a controller on each")  # fmt: skip
    add("-A", "--address-output", action="store_true", help="print the addresses bound")
    add("-u", "--udp", dest="udp", action="store_true", default=True, help=argparse.SUPPRESS)
    add("-U", "--no-udp", dest="udp", action="store_false", help="do not serve UDP (discovery)")
    add("-t", "--tcp", dest="tcp", action="store_true", default=True, help=argparse.SUPPRESS)
    add("-T", "--no-tcp", dest="tcp", action="store_false", help="do not serve TCP")
    add("-p", "--print", dest="print_io", action="store_true", default=False,
        help="print each read and write")  # fmt: skip
    add("--no-print", dest="print_io", action="store_false", help="do not (default)")
    add("-l", "--log", type=log_file, metavar="FILE", help="log to FILE, 10 MB x 5; SIGHUP opens "
        "it anew")  # fmt: skip
    add("-w", "--web", metavar="[HOST]:[PORT]", help="serve the web API, on loopback unless HOST "
        "is named, port 80 unless PORT is")  # fmt: skip
    add("--web-legacy", action="store_true", help="let GET requests of the web API change state")
    add(
        "-d",
        "--delay",
        default="0",
        metavar="S[-S]",
        help="hold replies back: 0.5, 100ms-1s",
    )
    add(
        "-s",
        "--size",
        type=whole(1, 65_511),
        metavar="BYTES",
        help="longest encapsulated request taken",
    )
    add("--route-path", metavar="PATH", help="serve only this route path: 1/0, 2/10.0.0.5, JSON; "
        "0 or false: none (default: any)")  # fmt: skip
    add("-S", "--simple", action="store_true", help="serve only requests without a route path")
    add("--plc", default="controllogix", choices=tuple(PERSONALITIES), help="which controller to "
        "pass for (default controllogix)")  # fmt: skip
    add("--lenient", action="store_true", help="take writes of another type too, where no value "
        "changes by it (default: refused, as a controller does)")  # fmt: skip
    add("-f", "--fault", action="append", default=[], metavar="KIND[:ARGUMENT][,tag=NAME]",
        help=FAULT_HELP)  # fmt: skip
    add("--move", action="append", default=[], metavar="TAG=KIND", help=MOVE_HELP)
    add("--attribute-class", metavar="MODULE:CLASS", help="a class of yours that answers the tags")
    add("-b", "--config-basename", default="cpppo", metavar="NAME", help="read NAME.cfg")
    add("-c", "--config", action="append", default=[], metavar="FILE", help="one more "
        "configuration: a cpppo.cfg, or a .toml with [[controller]] tables")  # fmt: skip
    add("--no-config", action="store_true", help="read no cpppo.cfg but those of -c")
    add("-P", "--profile", metavar="FILE", help="write a profile of the run")
    add("-D", "--defined-tags", metavar="FILE", help="structures and tags in a JSON file")
    add("tags", nargs="*", metavar="TAG", help=f"tags to serve (default {DEFAULT_TAG})")
    return made


def main(
    argv: Sequence[str] | None = None,
    *,
    attribute_class: AttributeMaker | None = None,
    control: MutableMapping[str, Any] | None = None,
    idle_service: Callable[[], object] | None = None,
    prepare: Callable[[Simulator], object] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> int:
    """Serve until stopped; 0, or 1 where something is wrong. It may run in any thread.

    Args:
        attribute_class: answers the tags' reads and writes, as `--attribute-class` does.
        control: steers it from elsewhere: it ends once `done` is true, closes its ports while
            `disable` is; `address` is set to where it listens. Looked at every `latency` seconds.
        idle_service: called in a thread of its own every `latency` seconds.
        prepare: called with each controller before it serves, to add objects to it.
        changes: of `Settings`, over what the command line says.
    """
    arguments = parser().parse_args(argv)
    if control is None or not logging.getLogger().handlers:
        start_logging(arguments.verbose, arguments.log)
    steering = Steering(control, idle_service)
    try:
        simulators = simulators_of(arguments, attribute_class, changes or {})
        if arguments.web is not None:
            web_address(arguments.web)
        for simulator in simulators:
            if prepare is not None:
                prepare(simulator)
    except (FileError, OSError) as error:
        print(f"enip_server: {error}; see docs/enip_server.md", file=sys.stderr)
        return 1
    except ProtocolError as error:
        print(f"enip_server: {error}; try enip_server --help", file=sys.stderr)
        return USAGE
    if arguments.profile:
        return _profiled(arguments, simulators, steering)
    return _run(arguments, simulators, steering)


def _profiled(
    arguments: argparse.Namespace, simulators: list[Simulator], steering: "Steering"
) -> int:
    import cProfile

    profile = cProfile.Profile()
    try:
        return profile.runcall(_run, arguments, simulators, steering)
    finally:
        profile.dump_stats(arguments.profile)


def _run(arguments: argparse.Namespace, simulators: list[Simulator], steering: "Steering") -> int:
    try:
        import uvloop

        return uvloop.run(serve(arguments, simulators, steering))
    except ImportError:
        return asyncio.run(serve(arguments, simulators, steering))
    except OSError as error:
        print(
            f"enip_server: cannot listen: {error.strerror or error}; try another -a",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 0


def start_logging(verbose: int, path: str | None) -> None:
    """Log to stderr, or to a file that is kept small."""
    logging.addLevelName(DETAIL, "DETAIL")
    handler: logging.Handler
    if path:
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, delay=True
        )
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: handler.close())
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT, "%m-%d %H:%M:%S"))
    logging.basicConfig(
        level=_LEVELS[min(verbose, len(_LEVELS) - 1)], handlers=[handler], force=True
    )


def load_attribute_class(name: str) -> type[Attribute]:
    """The class that `module:Class` names.

    Raises:
        TagError: it cannot be imported, or it is not an `Attribute`.
    """
    module, colon, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise TagError(f"--attribute-class {name!r}: {error}; expected module:Class") from None
    if not colon or not isinstance(found, type) or not issubclass(found, Attribute):
        raise TagError(f"--attribute-class {name!r}: no subclass of cpppod.simulator.Attribute")
    return found


def settings_of(
    arguments: argparse.Namespace, attribute_class: AttributeMaker | None = None
) -> Settings:
    """The settings that the command line and the configuration files describe.

    Raises:
        ProtocolError: they make no sense; the text says where.
    """
    old = read_old_settings(arguments)
    route_path = arguments.route_path if arguments.route_path is not None else old.route_path
    if route_path is not None:
        ports = epath.parse_route_path(route_path)
        route_path = "/".join(str(port) for port in ports)
    if arguments.attribute_class:
        attribute_class = load_attribute_class(arguments.attribute_class)
    limits = Limits() if arguments.size is None else Limits(frame_size=arguments.size)
    return Settings(
        plc=arguments.plc,
        route_path=route_path,
        simple=arguments.simple,
        routes=old.routes,
        identity=old.identity,
        tcpip=old.tcpip,
        delay=parse_delay(arguments.delay),
        attribute_class=attribute_class,
        moves=tuple(arguments.move),
        limits=limits,
        lenient_types=arguments.lenient,
        faults=tuple(arguments.fault),
        tcp=arguments.tcp,
        udp=arguments.udp,
    )


def read_old_settings(arguments: argparse.Namespace) -> cpppo_cfg.Settings:
    """What the cpppo.cfg files say.

    Raises:
        FileError: a value in them makes no sense.
    """
    paths: list[Any] = [] if arguments.no_config else [*cpppo_cfg.places(arguments.config_basename)]
    paths += [path for path in arguments.config if not path.endswith(".toml")]
    old = cpppo_cfg.read(paths)
    if old.problems:
        file, option, value, expected = old.problems[0]
        raise FileError(f"{file}: {option} = {value}: expected {expected}")
    if old.files:
        log.info("Loaded config files: %s", list(old.files))
    return old


def simulators_of(
    arguments: argparse.Namespace,
    attribute_class: AttributeMaker | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Simulator]:
    """The controllers to serve.

    Raises:
        ProtocolError: the command line or a file makes no sense.
        OSError: a file cannot be read.
    """
    settings = replace(settings_of(arguments, attribute_class), **(changes or {}))
    found: list[Simulator] = []
    for path in arguments.config:
        if path.endswith(".toml"):
            found += read_controllers(path, replace(settings, moves=()))
    tags: list[Any] = list(arguments.tags)
    if arguments.defined_tags:
        from cpppod.simulator.defined import read_defined

        structures, defined = read_defined(arguments.defined_tags)
        settings = replace(settings, structures=structures)
        tags += defined
    if tags or not found:
        for address in addresses(arguments.address):
            found.append(Simulator(tags or [DEFAULT_TAG], replace(settings, address=address)))
    for simulator in found:
        if arguments.print_io:
            simulator.observe = print_access
        if arguments.verbose >= REQUESTS:
            from cpppod.commands.enip.server_trace import connection_type

            simulator.connection_type = connection_type(
                arguments.verbose, simulator.connection_type
            )
    return found


def print_access(kind: str, name: str, first: int, values: list[Any]) -> None:
    """One line for a read or a write."""
    sign = "<=" if kind == "write" else "=="
    print(f"{name:>20}[{first:5}-{first + len(values) - 1:<5}] {sign} {values}", flush=True)


def web_address(text: str) -> tuple[str, int]:
    """Host and port of `[host]:[port]`: loopback and 80 where they are not named.

    Raises:
        TagError: the port is no number.
    """
    try:
        return socket_address(text, host="127.0.0.1", port=80, any_port=True)
    except AddressError:
        raise TagError(f"--web {text!r}: expected [host]:[port]") from None


async def serve(
    arguments: argparse.Namespace, simulators: list[Simulator], steering: "Steering"
) -> int:
    """Serve all controllers until SIGINT, SIGTERM, the web API or `steering` ends it."""
    discovery = Discovery()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM) if _in_main_thread() else ():
        try:
            loop.add_signal_handler(number, stopping.set)
        except (NotImplementedError, RuntimeError):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
    web = None
    try:
        for simulator in simulators:
            await simulator.start(discovery)
            _announce(arguments, simulator)
        if arguments.web is not None:
            from cpppod.commands.enip.server_web import start_web

            web = await start_web(web_address(arguments.web), arguments, simulators, stopping)
        await steering.run(simulators, stopping)
    finally:
        if web is not None:
            await web()
        for simulator in simulators:
            await simulator.stop()
        discovery.close()
    return 0


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class Steering:
    """What a program that serves from within says while it serves; see `main`."""

    def __init__(
        self,
        control: MutableMapping[str, Any] | None = None,
        idle_service: Callable[[], object] | None = None,
    ) -> None:
        self._control: MutableMapping[str, Any] = {} if control is None else control
        self._idle_service = idle_service
        self._needed = control is not None or idle_service is not None

    async def run(self, simulators: Sequence[Simulator], stopping: asyncio.Event) -> None:
        """Return once `stopping` is set, or `control` says so."""
        if not self._needed:
            await stopping.wait()
            return
        control = self._control
        control["address"] = simulators[0].address
        while not stopping.is_set() and not control.get("done"):
            for simulator in simulators:
                disabled = bool(control.get("disable"))
                await (simulator.disable() if disabled else simulator.enable())
            if self._idle_service is not None:
                await asyncio.to_thread(self._idle_service)
            try:
                async with asyncio.timeout(float(control.get("latency") or LATENCY_S)):
                    await stopping.wait()
            except TimeoutError:
                continue


def _announce(arguments: argparse.Namespace, simulator: Simulator) -> None:
    host, port = simulator.address
    if host in ANY:
        text = "enip_server: listening on every network interface, port %d; -a confines it"
        print(text % port, file=sys.stderr, flush=True)
    log.info("serving address=%s tags=%d", SocketAddress(host, port), len(simulator.tags))
    if arguments.address_output:
        if simulator.settings.tcp:
            print(f"Network TCP Server address = {simulator.address}", flush=True)
        if simulator.udp_address[1]:
            print(f"Network UDP Server address = {simulator.udp_address}", flush=True)
