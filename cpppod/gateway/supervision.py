"""What supervisord is told: a program for every worker, each in a group of its own.

    RUNTIME/bus/supervisord.conf     the daemon itself, its socket, its RPC interfaces
    RUNTIME/bus/workers.conf         [program:feed] ... the plant's processes, from the topology
    RUNTIME/bus/simulators.conf      the demo's simulated devices, and nothing else

A program that is not named in a [group:x] is a group of its own, so one that changes restarts
alone. Its settings file keeps its path over a reload: what is added or removed is all that
supervisord sees.
"""

import os
import resource
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpppod.gateway.topology import Directories
from cpppod.protocols.model.plant import Worker
from cpppod.workers.outlets.spec import UNKNOWN, roles

STOP_WAIT_S = 2  # SIGTERM to SIGKILL: a worker that needs longer is stuck
START_RETRIES = 1_000_000_000  # never FATAL: a worker backs off by itself, without end
OPEN_FILES = 1024  # supervisord holds four a program
MAX_SOCKET_PATH = 107  # bytes of sun_path, less its end
LONGEST_SOCKET_NAME = "supervisor.sock.99999999"  # bound under its pid, then renamed
BLANKED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")


class PathTooLong(ValueError):
    """The runtime directory leaves no room for the names of the sockets in it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program of supervisord's, a group of its own.

    Attributes:
        command: the program and its arguments.
        environment: variables beside those that supervisord has itself.
    """

    name: str
    command: tuple[str, ...]
    priority: int = 999
    environment: Mapping[str, str] = field(default_factory=dict)

    def section(self) -> str:
        """The program's section of the configuration."""
        blanked = dict.fromkeys(BLANKED, "")
        variables = ",".join(
            f'{name}="{value}"' for name, value in {**blanked, **self.environment}.items()
        )
        lines = {
            "command": shlex.join(self.command),
            "process_name": self.name,
            "priority": str(self.priority),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": str(START_RETRIES),
            "stopsignal": "TERM",
            "stopwaitsecs": str(STOP_WAIT_S),
            "killasgroup": "true",
            "environment": variables,
            "redirect_stderr": "true",
            "stdout_logfile": "/dev/fd/1",
            "stdout_logfile_maxbytes": "0",
        }
        return _section(f"program:{self.name}", lines)


def worker_programs(workers: Iterable[Worker], directories: Directories) -> list[Program]:
    """A program for each worker."""
    known, found = roles(), []
    for worker in workers:
        order = known.get(worker.role, UNKNOWN)
        settings = str(directories.settings(worker.name))
        command = (sys.executable, "-m", order.program, settings)
        found.append(Program(worker.name, command, order.priority))
    return found


def check_path(directories: Directories) -> None:
    """That the sockets' paths are as the kernel and supervisord's file can take them.

    Raises:
        PathTooLong: too long, or with characters that would be read as something else.
    """
    longest = directories.bus / LONGEST_SOCKET_NAME
    if len(bytes(longest)) > MAX_SOCKET_PATH:
        most = MAX_SOCKET_PATH - len(f"/bus/{LONGEST_SOCKET_NAME}")
        raise PathTooLong(f"{directories.runtime}: longer than {most} bytes")
    if not str(directories.runtime).isprintable() or set(str(directories.runtime)) & set(' ;#"%\\'):
        raise PathTooLong(f'{directories.runtime}: contains blanks or one of ; # " % \\')


def write(
    directories: Directories,
    workers: Iterable[Worker],
    *,
    simulators: Iterable[Program] = (),
    loglevel: str = "warn",
) -> Path:
    """Write supervisord's configuration; the path of its main file.

    Raises:
        PathTooLong: the runtime directory's path cannot be used.
    """
    check_path(directories)
    bus = directories.bus
    bus.mkdir(mode=0o700, exist_ok=True)
    path = bus / "supervisord.conf"
    sections = _main_sections(directories, loglevel).items()
    path.write_text("".join(_section(name, lines) for name, lines in sections))
    write_programs(bus / "simulators.conf", simulators)
    write_workers(directories, workers)
    return path


def _main_sections(directories: Directories, loglevel: str) -> dict[str, dict[str, str]]:
    """What the main file says: supervisord itself, its socket, its RPC interfaces."""
    bus = directories.bus
    return {
        "supervisord": {
            "nodaemon": "true",
            "logfile": "/dev/null",
            "logfile_maxbytes": "0",
            "loglevel": loglevel,
            "pidfile": str(bus / "supervisord.pid"),
            "identifier": "cpppod",
            "minfds": str(min(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
            "minprocs": "1",  # limits are their owner's: supervisord must not ask for more
            "umask": "077",
            "childlogdir": str(bus),
            **({"user": "root"} if os.getuid() == 0 else {}),  # else it warns of being root
        },
        "unix_http_server": {"file": str(directories.supervisor), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "rpcinterface:cpppod": {
            "supervisor.rpcinterface_factory": "cpppod.gateway.supervisor_rpc:make_interface"
        },
        "include": {"files": "workers.conf simulators.conf"},
    }


def write_workers(directories: Directories, workers: Iterable[Worker]) -> None:
    """Write the workers' programs anew; supervisord reads them at its next `reloadConfig`."""
    write_programs(directories.bus / "workers.conf", worker_programs(workers, directories))


def write_programs(path: Path, programs: Iterable[Program]) -> None:
    """Write `programs` to `path`, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text("".join(program.section() for program in programs))
    fresh.replace(path)


def _section(name: str, lines: Mapping[str, str]) -> str:
    """A section of supervisord's file; `%` would begin a replacement there.

    Raises:
        ValueError: a value has a line break, with which it could add lines of its own.
    """
    if not all(value.isprintable() for value in lines.values()):
        raise ValueError(f"[{name}]: values are single lines")
    text = "".join(f"{key} = {value.replace('%', '%%')}\n" for key, value in lines.items())
    return f"[{name}]\n{text}\n"
