"""What holds where nothing is said."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from typing import IO, Any

from cpppod import cpppo_cfg
from cpppod.client.route import DEFAULT_ROUTE_PATH, DEFAULT_SEND_PATH
from cpppod.protocols.cip.connection_manager import TRANSPORT_CLASS_3, NetworkParameters
from cpppod.protocols.enip.discovery import PORT
from cpppod.protocols.enip.originator.route import PRIORITY_TIME_TICK, TIMEOUT_TICKS

from ...dotdict import dotdict

__all__ = [
    "ConfigNotFoundError",
    "address",
    "config_files",
    "config_name",
    "config_open",
    "config_open_deduced",
    "forward_open_default",
    "latency",
    "priority_time_tick",
    "route_path_default",
    "send_path_default",
    "timeout",
    "timeout_ticks",
]

latency = 0.1
timeout = 20.0
address = ("", PORT)
route_path_default = DEFAULT_ROUTE_PATH
send_path_default = DEFAULT_SEND_PATH
priority_time_tick, timeout_ticks = PRIORITY_TIME_TICK, TIMEOUT_TICKS
config_name = "cpppo.cfg"
config_files = [str(path) for path in cpppo_cfg.places()]  # programs add theirs before `main`
ConfigNotFoundError = FileNotFoundError

_DIRECTION = {
    "RPI": 2_000_000,
    "size": 510,
    "type": 2,
    "priority": 0,
    "variable": 1,
    "redundant": 0,
}
forward_open_default = dotdict(
    {
        "path": "@6/1",
        "connection_path": "1/0/@2/1",
        "transport_class_triggers": TRANSPORT_CLASS_3,
        "priority_time_tick": priority_time_tick,
        "timeout_ticks": timeout_ticks,
        "connection_timeout_multiplier": 0,
        "O_serial": 1,
        "O_vendor": 0x1234,
        "T_O": dict(_DIRECTION),
        "O_T": dict(_DIRECTION),
    }
)


def config_paths(filename: str, extra: Iterable[str] | None = None) -> Iterator[str]:
    """Where a file of this name is looked for, the least important place first."""
    base, _, extension = filename.rpartition(".")
    places = [str(path) for path in cpppo_cfg.places(base or filename)]
    if extension not in ("cfg", ""):
        places = [path.removesuffix("cfg") + extension for path in places]
    return iter([*places[:-1], *(os.path.join(place, filename) for place in extra or ()), filename])


def config_open(
    name: str,
    mode: str | None = None,
    extra: Iterable[str] | None = None,
    skip: str | Callable[[str], bool] | None = None,
    reverse: bool = True,
    **how: Any,
) -> Iterator[IO[Any]]:
    """The files of this name (or pattern) that can be opened, the most important one first."""
    places = list(config_paths(name, extra))
    for place in reversed(places) if reverse else places:
        for path in sorted(glob.glob(place)):
            if fnmatch(path, skip) if isinstance(skip, str) else skip is not None and skip(path):
                continue
            try:
                yield open(path, mode or "r", **how)
            except OSError:
                continue


def config_open_deduced(
    basename: str | None = None,
    mode: str | None = None,
    extension: str | None = None,
    filename: str | None = None,
    package: str | None = None,
    **how: Any,
) -> Iterator[IO[Any]]:
    """As `config_open`, for a name made of a file's or a package's.

    Raises:
        AssertionError: neither is given.
    """
    assert basename or filename or package, "a name, a file or a package"
    name = basename
    if name is None:
        name = os.path.splitext(os.path.basename(filename))[0] if filename else package
        name = str(name).partition(".")[0]
    if extension and "." not in name:
        name = f"{name}.{extension.lstrip('.')}"
    return config_open(name, mode, **how)


class Connection:
    """The parameters of one direction of a class 3 connection, as a number and by name."""

    def __init__(
        self,
        large: bool | None = None,
        size: int | None = None,
        variable: int | None = None,
        priority: int | None = None,
        type: int | None = None,
        redundant: int | None = None,
        NCP: int | None = None,
        **others: Any,
    ) -> None:
        self.other = dotdict(others)
        if large is None:
            large = (size or 0) > 0x1FF or (NCP or 0) > 0xFFFF
        self._large = bool(large)
        if NCP is None:
            most = 0xFFFF if self._large else 0x1FF
            size = (4000 if self._large else 510) if size is None else size
            assert 0 < size <= most, f"Connection size {size} is not 1 to {most}"
            parameters = NetworkParameters(
                size,
                bool(1 if variable is None else variable),
                priority or 0,
                2 if type is None else type,
                redundant or 0,
            )
            NCP = parameters.encode(large=self._large)
        self._NCP = NCP

    @property
    def encoding(self) -> int:
        """The number."""
        return self._NCP

    @property
    def decoding(self) -> dotdict:
        """The parameters by name."""
        found = NetworkParameters.decode(self._NCP, large=self._large)
        made = dotdict(size=found.size, variable=int(found.variable), priority=found.priority)
        made.update(type=found.kind, redundant=found.owner, large=self._large, NCP=self._NCP)
        made.update(self.other)
        return made
