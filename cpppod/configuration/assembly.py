"""From tables to the plant's records: every item validated by itself, then seen together.

An item that is wrong is left out and noted, so that one mistake hides no other. References are
checked against the names that the files give, whether or not the item of that name is well.
"""

from pathlib import Path
from typing import Any

from cpppod.configuration import checks, sections
from cpppod.configuration.computed import computed_devices
from cpppod.configuration.devices import DeviceTables
from cpppod.configuration.files import Tables
from cpppod.configuration.items import Names, named, names_of, present, sound_part, validate
from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.cpppo_cfg import Settings
from cpppod.protocols.enip.discovery import PORT
from cpppod.protocols.model import plant
from cpppod.protocols.model.addresses import ANY, AddressError, is_loopback, socket_address
from cpppod.workers.devices.spec import relays
from cpppod.workers.settings import CIP_TYPES, PREDEFINED_STRUCTURES

DEFAULT_LISTENER = "main"
AUDIT_FILES = 16  # of one process: workers.audit.files.AuditLimits


def assemble(
    tables: Tables, old: Settings, *, model_folders: list[Path], findings: Findings
) -> plant.Plant:
    """The plant that `tables` describe, completed from an `old` setup's file.

    Problems are left in `findings`; where there are any, the plant is incomplete and not for use.
    """
    gateway = validate(sections.Gateway, tables.get("gateway", {}), ("gateway",), findings)
    lines = _lines(tables, findings)
    device_tables = DeviceTables(tables, model_folders, findings)
    devices = device_tables.devices()
    listeners = _listeners(tables, old, findings)
    routes = _routes(tables, old, devices, listeners, findings)
    symbols = Names(findings, "name among the local tags, devices and flat names")
    for index, tag in enumerate(tables.get("tag", [])):
        if isinstance(tag, dict):
            symbols.add(tag.get("name"), ("tag", index, "name"))
    device_tables.add_symbols(symbols)
    computed = computed_devices(tables, devices, listeners, symbols, findings)
    devices = (*devices, *computed)
    gateway = gateway or sections.Gateway()
    taken = Names(findings, "TCP address")  # one serves one thing
    for index, listener in enumerate(listeners):
        taken.add(listener.address, ("listener", index, "address"))
    outlets = _outlets(tables, devices, taken, findings)
    audit = validate(sections.Audit, tables.get("audit", {}), ("audit",), findings)
    control = validate(sections.Control, tables.get("control", {}), ("control",), findings)
    return plant.Plant(
        name=gateway.name,
        id=gateway.id,
        log_level=gateway.log_level,
        state_dir=gateway.state_directory,
        devices_per_worker=gateway.devices_per_worker,
        listeners=listeners,
        routes=routes,
        lines=lines,
        devices=devices,
        outlets=outlets,
        control=_control(control) if control else {},
        audit=_audit(audit) if audit else {},
    )


def _lines(tables: Tables, findings: Findings) -> tuple[plant.Line, ...]:
    names, ports, lines = Names(findings, "name of a line"), Names(findings, "port"), []
    for name, table in tables.get("line", {}).items():
        path: KeyPath = ("line", name)
        names.add(name, path)
        line = validate(sections.Line, table, path, findings)
        if line is None:
            continue
        ports.add(line.port, (*path, "port"))
        rs485 = line.rs485.model_dump(exclude_none=True) if line.rs485 else {}
        kept = present(line, "port", "baudrate", "bytesize", "parity", "stopbits", "strip_echo")
        lines.append(
            plant.Line(
                name,
                rs485=rs485,
                late_window_s=line.late_window,
                description=line.description,
                **kept,
            )
        )
    return tuple(lines)


def _listeners(tables: Tables, old: Settings, findings: Findings) -> tuple[plant.Listener, ...]:
    names = Names(findings, "name of a listener")
    structures = _structures(tables, findings)
    tags = _local_tags(tables, structures, findings)
    listeners = []
    given = tables.get("listener") or [{"name": DEFAULT_LISTENER}]
    for index, table in enumerate(given):
        path: KeyPath = ("listener", index)
        if old.route_path is not None and isinstance(table, dict):
            table = {"route_path": old.route_path, **table}
        listener = validate(sections.listener(), table, path, findings)
        if listener is None:
            continue
        names.add(listener.name, (*path, "name"))
        objects = {
            name: old.table(name) | getattr(listener, name).model_dump(exclude_none=True)
            for name in sections.object_tables()
        }
        limits = listener.limits.model_dump(exclude_none=True)
        if "idle" in limits:
            limits["idle_s"] = limits.pop("idle")
        listeners.append(
            plant.Listener(
                name=listener.name,
                address=listener.address,
                udp=listener.udp,
                personality=listener.personality,
                route_path=listener.route_path,
                identity=objects.pop("identity"),
                tcpip=objects.pop("tcpip"),
                objects=objects,
                tags=tuple(tag for owner, tag in tags if owner in ("", listener.name)),
                structures=structures,
                write_sources=tuple(listener.write_sources),
                limits=limits,
                lenient_types=listener.lenient_types,
            )
        )
    return tuple(listeners)


def _structures(tables: Tables, findings: Findings) -> dict[str, Any]:
    names, structures = Names(findings, "name of a structure"), {}
    known = {*CIP_TYPES, *PREDEFINED_STRUCTURES, *names_of(tables.get("structure"))}
    for index, table in enumerate(tables.get("structure", [])):
        path: KeyPath = ("structure", index)
        structure = validate(sections.Structure, table, path, findings)
        if structure is None:
            continue
        names.add(structure.name, (*path, "name"))
        members = Names(findings, "name of a member")
        for place, member in enumerate(structure.members):
            members.add(member.name, (*path, "members", place, "name"))
            if member.type not in known:
                wanted = "a CIP type, or the name of a structure"
                findings.add((*path, "members", place, "type"), member.type, wanted)
        structures[structure.name] = [member.model_dump() for member in structure.members]
    return structures


def _local_tags(
    tables: Tables, structures: dict[str, Any], findings: Findings
) -> list[tuple[str, plant.LocalTag]]:
    """(the listener's name or "", tag) of every local tag."""
    listeners = names_of(tables.get("listener")) or [DEFAULT_LISTENER]
    tags, addresses = [], Names(findings, "address")
    for index, table in enumerate(tables.get("tag", [])):
        path: KeyPath = ("tag", index)
        tag = validate(sections.LocalTag, table, path, findings)
        checked = tag or sound_part(sections.LocalTag, named(table), "type", "value")
        if checked is None:
            continue
        if checked.listener and checked.listener not in listeners:
            known = ", ".join(listeners)
            findings.add((*path, "listener"), checked.listener, f"the name of a listener: {known}")
        if checked.address:
            addresses.add(checked.address, (*path, "address"))
        kind = _local_kind(checked, structures, path, findings)
        if tag is None or kind is None:
            continue
        keys = ("name", "value", "address", "retain", "writable", "write_rate", "description")
        kept = present(tag, *keys)
        record = plant.LocalTag(type=kind[0], dimensions=kind[1], **kept)
        tags.append((tag.listener, record))
    return tags


def _local_kind(
    tag: sections.LocalTag, structures: dict[str, Any], path: KeyPath, findings: Findings
) -> tuple[str, tuple[int, ...]] | None:
    """A local tag's type and dimensions, None where it has no such type; its value is checked."""
    kind = checks.local_type(tag.type)
    if kind is None or (kind[0] not in (*CIP_TYPES, *PREDEFINED_STRUCTURES, *structures)):
        wanted = "a CIP type or a structure, with dimensions: DINT[10]"
        findings.add((*path, "type"), tag.type, wanted)
        return None
    if wanted := checks.local_value(*kind, tag.value):
        findings.add((*path, "value"), tag.value, wanted)
    if checks.elements(kind[1]) > checks.MAX_TAG_ELEMENTS:
        most = checks.MAX_TAG_ELEMENTS
        findings.add((*path, "type"), tag.type, f"at most {most} elements")
    return kind


def _routes(
    tables: Tables,
    old: Settings,
    devices: tuple[plant.Device, ...],
    listeners: tuple[plant.Listener, ...],
    findings: Findings,
) -> tuple[plant.Route, ...]:
    known = [*names_of(tables.get("device")), *(device.name for device in devices)]
    local = {listener.route_path for listener in listeners}
    covered: dict[str, str] = {}
    routes = []
    for index, table in enumerate(tables.get("route", [])):
        path: KeyPath = ("route", index)
        route = validate(sections.Route, table, path, findings)
        if route is None:
            if rest := sound_part(sections.Route, table, "device", "address"):
                _check_route(rest, path, known, findings)
            continue
        _check_route(route, path, known, findings)
        _check_circle(route, path, devices, listeners, findings)
        segments = checks.first_segments(route.path)
        if not segments:
            findings.add(
                (*path, "path"), route.path, 'port/link: "1/1", a range "1/2-7", or "2/10.0.0.5"'
            )
        for segment in segments:
            if segment in local:
                findings.add((*path, "path"), route.path, f"not {segment}: it is the local one")
            first = covered.setdefault(segment, route.path)
            if first is not route.path:
                wanted = f"other links: {first} covers {segment} already"
                findings.add((*path, "path"), route.path, wanted)
        record = plant.Route(
            classes=tuple(route.classes),
            sources=tuple(route.sources),
            **present(route, "path", "device", "address", "read_only", "limit"),
        )
        routes.append(record)
    return (*routes, *_old_routes(old, covered))


def _check_route(
    route: sections.Route, path: KeyPath, devices: list[str], findings: Findings
) -> None:
    if bool(route.device) == bool(route.address):
        findings.add((*path, "device"), route.device or None, "either a device or an address")
    if route.device and route.device not in devices:
        known = ", ".join(sorted(set(devices))) or "none is configured"
        findings.add((*path, "device"), route.device, f"the name of a device: {known}")


def _check_circle(
    route: sections.Route,
    path: KeyPath,
    devices: tuple[plant.Device, ...],
    listeners: tuple[plant.Listener, ...],
    findings: Findings,
) -> None:
    """A route that leads to a listener of the gateway's own goes round in a circle."""
    named = {each.name: each.address for each in devices if relays(each.driver)}
    address = route.address or named.get(route.device, "")
    if not address:
        return
    try:
        host, port = socket_address(address, host="127.0.0.1", port=PORT)
        own = [socket_address(each.address, host="0.0.0.0", port=PORT) for each in listeners]
    except AddressError:
        return  # which is said elsewhere
    for listener, (ours, at) in zip(listeners, own, strict=True):
        anywhere = ours in ANY and is_loopback(host)
        if at == port and (host == ours or anywhere):
            wanted = f"another device: that is the gateway's own listener {listener.name!r}"
            findings.add((*path, "address" if route.address else "device"), address, wanted)


def _old_routes(old: Settings, covered: dict[str, str]) -> list[plant.Route]:
    """Routes of the old setup, less what the TOML file routes elsewhere."""
    routes = []
    for path, address in old.routes.items():
        segments = checks.first_segments(path)
        free = [segment for segment in segments if segment not in covered]
        if len(free) == len(segments):
            routes.append(plant.Route(path=path, address=address))
        else:
            routes += [plant.Route(path=segment, address=address) for segment in free]
    return routes


def _outlets(
    tables: Tables, devices: tuple[plant.Device, ...], taken: Names, findings: Findings
) -> tuple[plant.RunningOutlet, ...]:
    """The outlets that run; the TCP addresses of theirs are added to those `taken`."""
    found = []
    for section, (spec, model) in sections.outlet_sections().items():
        given = tables.get(section, {} if spec.always else None)
        names = Names(findings, f"name of [[{section}]]")
        for path, table in _each(section, given):
            settings = validate(model, table, path, findings)
            if (checked := settings or sound_part(model, table)) is not None:
                for key, value, expected in checked.mistakes(devices):
                    findings.add((*path, key), value, expected)
            if settings is None:
                continue
            name = spec.name
            if spec.many:
                own = dict(settings)["name"]  # `outlet_sections` saw that there is one
                names.add(own, (*path, "name"))
                name = f"{name}-{own}"
            if (options := settings.options(devices)) is None:
                continue
            addresses, places = settings.addresses(), settings.places()
            for key, address in addresses.items():
                taken.add(address, (*path, key))
            groups = tuple(settings.journalled(devices))
            found.append(
                plant.RunningOutlet(spec.name, name, section, options, addresses, places, groups)
            )
    return tuple(found)


def _each(section: str, given: Any) -> list[tuple[KeyPath, Any]]:
    """The tables of a section that is one or an array of them, each with its place."""
    if isinstance(given, list):
        return [((section, index), table) for index, table in enumerate(given)]
    return [] if given is None else [((section,), given)]


def _audit(audit: sections.Audit) -> dict[str, Any]:
    return {"required": audit.required, "file_bytes": audit.size // AUDIT_FILES}


def _control(control: sections.Control) -> dict[str, Any]:
    groups = {
        "viewer": control.viewer_group,
        "operator": control.operator_group,
        "engineer": control.engineer_group,
    }
    return {"groups": groups}
