"""Starting the gateway: directories claimed, settings written, supervisord run.

configuration ─ topology ─> RUNTIME/settings/1/*.json, current -> 1
              ─ supervision ─> RUNTIME/bus/{supervisord,workers,simulators}.conf
under systemd or in a container: this process becomes supervisord
elsewhere: it stays as the parent (`cpppod.gateway.foreground`)
"""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cpppod.configuration import Configuration
from cpppod.gateway import supervision, topology
from cpppod.gateway.directories import Claim, DirectoryError, choose
from cpppod.gateway.supervision import Program
from cpppod.protocols.model.plant import Plant
from cpppod.workers.identity import IdentityError, settle

FIRST_GENERATION = 1


@dataclass(frozen=True, slots=True)
class Start:
    """What the command line asks for.

    Attributes:
        runtime, state: directories, "" for those of `cpppod.gateway.directories`.
        become: become supervisord rather than stay its parent; None decides by the surroundings.
        plain: lines rather than the live table; None decides by whether there is a terminal.
        simulators: programs beside the plant's (the demo's devices).
        demo: run on a copy of the configuration below the runtime directory, which the page may
            change, and hand out a token for that page.
        state_below_runtime: keep the state in the runtime directory, and so nothing after the end.
    """

    runtime: str = ""
    state: str = ""
    become: bool | None = None
    plain: bool | None = None
    simulators: tuple[Program, ...] = ()
    state_below_runtime: bool = False
    demo: bool = False


def becomes_supervisord(environment: Mapping[str, str], pid: int) -> bool:
    """Whether something above us supervises already: systemd, or a container's engine."""
    return bool(environment.get("NOTIFY_SOCKET") or environment.get("container")) or pid == 1


def start(configuration: Configuration, how: Start) -> int:
    """Run the gateway to its end; the exit status.

    Raises:
        DirectoryError: the directories cannot be used.
    """
    directories = choose(how.runtime, how.state, configured_state=configuration.plant.state_dir)
    if how.state_below_runtime and not how.state:
        directories = replace(directories, state=directories.runtime / "demo" / "state")
    try:
        supervision.check_path(directories)
    except supervision.PathTooLong as error:
        raise DirectoryError(f"{error}; try --runtime DIR") from None
    claim = Claim(directories)
    try:
        identity = settle(directories.state, configuration.plant.id)
        if identity.news:
            print(f"cpppod: {identity.news}", file=sys.stderr, flush=True)
        plant = replace(configuration.plant, id=identity.id)
        configuration = replace(configuration, plant=plant)
        if how.simulators:
            (directories.runtime / "demo").mkdir(exist_ok=True)
        if how.demo:
            configuration = _copied(configuration, directories.runtime / "demo" / "etc")
        main_file = write(configuration, directories, how.simulators)
    except IdentityError as error:
        claim.release()
        raise DirectoryError(f"{error}; try --state DIR") from None
    except BaseException:
        claim.release()
        raise
    become = how.become
    if become is None:
        become = becomes_supervisord(os.environ, os.getpid())
    if become:
        claim.keep_over_exec()
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "cpppod.supervisord", str(main_file)])
    from cpppod.gateway.foreground import Foreground

    plain = not _draws() if how.plain is None else how.plain
    places = where_it_listens(configuration.plant, directories)
    return Foreground(claim, main_file, places=places, plain=plain, demo=how.demo).run()


def _draws() -> bool:
    """Whether stdout is a terminal on which a cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def _copied(configuration: Configuration, folder: Path) -> Configuration:
    """The configuration, from copies of its files in a new `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copies = [shutil.copyfile(file, folder / Path(file).name) for file in configuration.files]
    return replace(configuration, files=tuple(map(str, copies)))


def write(
    configuration: Configuration,
    directories: topology.Directories,
    simulators: Iterable[Program] = (),
) -> Path:
    """Write the first generation's settings and supervisord's files; the main one's path."""
    found = topology.workers(
        configuration.plant, FIRST_GENERATION, directories, files=configuration.files
    )
    topology.write_generation(found, directories, FIRST_GENERATION)
    topology.make_current(directories, FIRST_GENERATION)
    return supervision.write(directories, found, simulators=simulators)


def where_it_listens(plant: Plant, directories: topology.Directories) -> list[str]:
    """A line for every address at which the gateway can be reached."""
    found = [
        (f"EtherNet/IP ({listener.name})", f"{listener.address} TCP{' and UDP' * listener.udp}")
        for listener in plant.listeners
    ]
    for outlet in plant.outlets:
        found += outlet.places.items()
    found.append(("control", f"{directories.runtime / 'control.sock'}"))
    return [f"cpppod: {what:<24} {where}" for what, where in found]
