"""Which processes the plant takes, and what each is told: the plant cut into settings files.

    role       worker                  owns
    listener   listener-NAME           one EtherNet/IP address
    router     router                  the routes
    poller     poller-DEVICE           one TCP device, up to 16 devices in all, or `isolate = true`
               poller-1, poller-2 ...  beyond that: a share of them, chosen by their names
    serial     serial-LINE             one line with every unit on it
    computed   computed                every computed tag, where there is one
    control                           one
    an outlet  feed, historian ...    one for its section; OUTLET-NAME for each of an array's tables

Shares are stable: the name alone decides (highest random weight), so one more share moves few;
and over a reload a device stays with the worker that has it as long as that worker is there.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpppod.protocols.model.plant import (
    COMPUTED,
    Device,
    Line,
    Plant,
    Route,
    RunningOutlet,
    Worker,
    to_plain,
)
from cpppod.workers.devices.spec import DRIVERS, relays, shares_address
from cpppod.workers.outlets.roles import CORE_ROLES
from cpppod.workers.outlets.spec import OUTLETS, Source

ALONE_UP_TO = 16  # TCP devices: up to here each has a worker of its own
NAME_LENGTH = 40
JOURNAL_LIMITS = {"journal_bytes": 2_000_000_000, "journal_age_s": 259_200.0}  # without history
SETTINGS = "settings"
CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Directories:
    """Where a running gateway keeps its things."""

    runtime: Path
    state: Path

    @property
    def bus(self) -> Path:
        """The sockets that only the gateway's own user may reach (mode 0700)."""
        return self.runtime / "bus"

    @property
    def supervisor(self) -> Path:
        """supervisord's socket."""
        return self.bus / "supervisor.sock"

    def generation(self, generation: int) -> Path:
        """The folder of one generation's settings files."""
        return self.runtime / SETTINGS / str(generation)

    def settings(self, worker: str) -> Path:
        """The settings file that `worker` starts from: the current generation's."""
        return self.runtime / SETTINGS / CURRENT / f"{worker}.json"


def workers(
    plant: Plant,
    generation: int,
    directories: Directories,
    *,
    files: tuple[str, ...] = (),
    owners: Mapping[str, str] | None = None,
) -> list[Worker]:
    """Every worker of the plant, in the order to start them.

    A serial port that is not an absolute path lies in the runtime directory.

    Args:
        files: the configuration's, for control to read again at a reload.
        owners: device -> worker of the running generation, to stay with.
    """
    plant = replace(plant, lines=tuple(_with_port(line, directories) for line in plant.lines))
    routes, devices = _with_routed_devices(plant)
    owned = assign(devices, plant.devices_per_worker, owners or {})
    base = replace(_nobody(plant, generation, directories), owners=owned)
    all_owned = replace(base, devices=devices)
    outlines = tuple(replace(device, groups=()) for device in devices)
    outlined = replace(base, devices=outlines)  # who needs no tags reads a shorter file
    before, after = _outlets(plant, replace(all_owned, listeners=plant.listeners), outlined)
    found = [
        *before,
        replace(outlined, name="router", role="router", routes=routes),
        *_listeners(plant, all_owned),
        *_owners(plant, replace(base, owners={}), devices, owned),
        *after,
    ]
    control = replace(
        all_owned,
        name="control",
        role="control",
        lines=plant.lines,
        routes=routes,
        listeners=plant.listeners,
        options=_control_options(plant, directories, found, files),
    )
    return [control, *found]


def _nobody(plant: Plant, generation: int, directories: Directories) -> Worker:
    """What all workers' settings begin with."""
    return Worker(
        name="",
        role="",
        bus_dir=str(directories.bus),
        state_dir=str(directories.state),
        runtime_dir=str(directories.runtime),
        generation=generation,
        log_level=plant.log_level,
        gateway=plant.id,
        gateway_name=plant.name,
    )


def _with_port(line: Line, directories: Directories) -> Line:
    if "://" in line.port:
        return line
    return replace(line, port=str(directories.runtime / line.port))


def _outlets(
    plant: Plant, with_tags: Worker, outlined: Worker
) -> tuple[list[Worker], list[Worker]]:
    """The workers of outlets that start before the router, and of those that start after."""
    before: list[Worker] = []
    after: list[Worker] = []
    for outlet in plant.outlets:
        spec = OUTLETS.find(outlet.kind)
        if spec is None or not spec.program:
            continue
        base = with_tags if spec.tags else outlined
        options = outlet.options
        if spec.reads is Source.JOURNALS:
            options = options | _reading(plant)
        worker = replace(base, name=outlet.name, role=outlet.kind, options=options)
        (before if spec.priority < CORE_ROLES["router"].priority else after).append(worker)
    return before, after


def _reading(plant: Plant) -> dict[str, Any]:
    """What every reader of the journals is told of the others."""
    names = [each.name for each in plant.outlets if _reads_journals(each.kind)]
    historised = {
        f"{device.name}/{group.name}"
        for device in plant.devices
        for group in device.groups
        if group.history
    }
    told: dict[str, Any] = {"readers": names} if len(names) > 1 else {}
    unstored = sorted(_journalled(plant) - historised)
    return told | {"unstored": unstored} if unstored else told


def _reads_journals(kind: str) -> bool:
    spec = OUTLETS.find(kind)
    return spec is not None and spec.reads is Source.JOURNALS


def _journalled(plant: Plant) -> set[str]:
    """Groups that outlets have journalled, as `device/group`."""
    return {group for outlet in plant.outlets for group in outlet.groups}


def _listeners(plant: Plant, base: Worker) -> list[Worker]:
    return [
        replace(
            base,
            name=f"listener-{listener.name}",
            role="listener",
            listeners=(listener,),
            options={"audit": plant.audit} if plant.audit else {},
        )
        for listener in plant.listeners
    ]


def _owners(
    plant: Plant, base: Worker, devices: tuple[Device, ...], owned: Mapping[str, str]
) -> list[Worker]:
    """Pollers and serial workers, each with its devices; a line without a device needs none."""
    journal: dict[str, Any] = {}
    journalled = _journalled(plant)
    limits = plant.options("history") or (JOURNAL_LIMITS if journalled else None)
    if limits:  # each has its share: together they keep to it
        share = limits["journal_bytes"] // max(len(set(owned.values())), 1)
        journal = {
            "journal_bytes": max(share, 1),
            "journal_age_s": limits["journal_age_s"],
        }
    lines = {f"serial-{line.name}": line for line in plant.lines}
    found = []
    for name in sorted(set(owned.values())):
        theirs = tuple(device for device in devices if owned[device.name] == name)
        groups = {f"{device.name}/{group.name}" for device in theirs for group in device.groups}
        own = {"journalled": sorted(groups & journalled)} if groups & journalled else {}
        owner = replace(base, name=name, options=journal | own)
        if name == COMPUTED:  # which reads everybody's tags
            found.append(replace(owner, role=name, devices=devices, listeners=plant.listeners))
            continue
        line = lines.get(name)
        role = "serial" if line else "poller"
        own_lines = (line,) if line else ()
        found.append(replace(owner, role=role, devices=theirs, lines=own_lines))
    return found


def _control_options(
    plant: Plant, directories: Directories, found: list[Worker], files: tuple[str, ...]
) -> dict[str, Any]:
    return {
        **plant.control,
        "audit": plant.audit,
        **_by_section(plant.outlets),
        "workers": {worker.name: worker.role for worker in found} | {"control": "control"},
        "supervisor": str(directories.supervisor),
        "files": list(files),
        "name": plant.name,
    }


def _by_section(outlets: tuple[RunningOutlet, ...]) -> dict[str, Any]:
    """Section -> its outlet's options; those of an array of tables by the names of the workers."""
    found: dict[str, Any] = {}
    for outlet in outlets:
        if outlet.name == outlet.kind:
            found[outlet.section] = outlet.options
        else:
            found.setdefault(outlet.section, {})[outlet.name] = outlet.options
    return found


def assign(
    devices: tuple[Device, ...], per_worker: int, owners: Mapping[str, str]
) -> dict[str, str]:
    """Device -> the worker that owns it."""
    tcp = [device for device in devices if not is_serial(device)]
    shared = [device for device in tcp if not (device.isolate or _is_routed(device))]
    shares = -(-len(shared) // per_worker) if len(shared) > ALONE_UP_TO else 0
    names = [f"poller-{number}" for number in range(1, shares + 1)]
    first = _first_at_address(tcp, owners)
    owned: dict[str, str] = {}
    for device in devices:
        leader = first.get(device.name, device)
        alone = f"poller-{leader.name}"
        before = owners.get(leader.name, "")
        if device.driver == COMPUTED:
            owned[device.name] = COMPUTED
        elif is_serial(device):
            owned[device.name] = f"serial-{device.address}"
        elif leader not in shared:
            owned[device.name] = alone
        elif before == alone or before in names:
            owned[device.name] = before
        else:
            owned[device.name] = max(names, key=_weight(leader.name)) if names else alone
    return owned


def _first_at_address(devices: list[Device], owners: Mapping[str, str]) -> dict[str, Device]:
    """Device -> the one that decides for it: units behind one address share a connection.

    It is the first of them that has an owner already, so that a new unit moves nobody.
    """
    first: dict[tuple[str, str], Device] = {}
    units = [device for device in devices if shares_address(device.driver)]
    for device in sorted(units, key=lambda each: each.name not in owners):
        first.setdefault((device.driver, device.address.lower()), device)
    return {device.name: first[device.driver, device.address.lower()] for device in units}


def _weight(device: str) -> Any:
    """The weight of a share's name for `device`: the same on every machine and in every run."""
    return lambda share: hashlib.sha256(f"{share}/{device}".encode()).digest()


def is_serial(device: Device) -> bool:
    """Whether the device is on a line: what has no port in its address names one."""
    return ":" not in device.address


def _with_routed_devices(plant: Plant) -> tuple[tuple[Route, ...], tuple[Device, ...]]:
    """Routes that all name a device: a bare `host:port` becomes one that is not polled."""
    devices = {device.name: device for device in plant.devices}
    routes = []
    for route in plant.routes:
        if route.address:
            name = routed_name(route.address)
            devices[name] = Device(
                name=name,
                driver=next(spec.name for spec in DRIVERS.ours() if spec.relay),
                address=route.address,
                options={"routed": True},
                description=f"target of routes to {route.address}",
            )
            route = replace(route, device=name)
        elif route.device in devices:
            route = replace(route, relayed=relays(devices[route.device].driver))
        routes.append(route)
    return tuple(routes), tuple(devices.values())


def _is_routed(device: Device) -> bool:
    return bool(device.options.get("routed"))


def routed_name(address: str) -> str:
    """The name of the unpolled device at `host:port`: `_10_0_0_5_44818`."""
    name = "_" + re.sub(r"[^A-Za-z0-9]", "_", address)
    if len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    return f"{name[: NAME_LENGTH - 9]}_{digest}"


def write_generation(found: list[Worker], directories: Directories, generation: int) -> Path:
    """Write a settings file per worker into the generation's folder; it is not current yet.

    Files may hold secrets: only the gateway's own user reads them.
    """
    folder = directories.generation(generation)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    for worker in found:
        path = folder / f"{worker.name}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(to_plain(worker), file)
    return folder


def make_current(directories: Directories, generation: int) -> None:
    """Let workers that start from now on start from `generation`; atomic."""
    link = directories.runtime / SETTINGS / CURRENT
    fresh = link.with_name(f"{CURRENT}.{generation}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(str(generation))
    fresh.replace(link)


def current_generation(directories: Directories) -> int:
    """The generation that workers start from; 0 where none is written yet."""
    try:
        return int(os.readlink(directories.runtime / SETTINGS / CURRENT))
    except (OSError, ValueError):
        return 0
