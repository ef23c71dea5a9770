"""A listener's target out of its settings: structures, local tags, devices as structures.

    Listener ─ structures ─ LocalTag   -> Variable of its type and dimensions
    Device   ─ Group ─ Tag             -> one Variable, a structure whose members are the tags

A layout's template id is allotted under its name and content, so that a changed structure gets a
new id and what clients have cached of the old one stays unambiguous. A device's members keep their
places over reloads: new ones come last, one that goes leaves a hidden one.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cpppod.protocols.cip import epath, structures, types
from cpppod.protocols.cip.image import Kind, Variable
from cpppod.protocols.cip.objects.identity import configured
from cpppod.protocols.cip.personality import personality
from cpppod.protocols.cip.route_table import RoutePolicy, networks, within
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.symbols import Allotment, ScopedAllotment, declare
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.addresses import listen_address
from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.plant import Device, Listener, LocalTag, Tag
from cpppod.protocols.model.writing import RateLimit

MAX_NESTING = 8  # structures within structures
MAX_GONE = 100  # places of removed tags that a device keeps; with more, it is laid out anew


def make_target(
    listener: Listener,
    devices: Sequence[Device],
    allotment: Allotment,
    *,
    random_u32: Callable[[], int],
    clock_us: Callable[[], int],
) -> Target:
    """The target that these settings describe.

    Raises:
        ProtocolError: they contradict each other; the text says where.
    """
    kind = replace(personality(listener.personality), symbols=True)  # a gateway's tags have names
    local = epath.parse_route_path(listener.route_path) if listener.route_path else None
    target = Target(
        random_u32=random_u32,
        clock_us=clock_us,
        personality=kind,
        identity=configured(kind.identity, listener.identity),
        objects={"tcpip": listener.tcpip, **listener.objects},
        policy=RoutePolicy(local=local, forwards=True),
        allotment=allotment,
        program_name=listener.name,
        lenient_types=listener.lenient_types,
    )
    known = declare_structures(target, listener.structures)
    for tag in listener.tags:
        add_local(target, tag, known)
    for device in devices:
        add_device(target, device)
    return target


def kind_of(name: str, known: Mapping[str, Structure]) -> Kind:
    """The type of that name: elementary, predefined or declared.

    Raises:
        EncodeError: there is no such type.
    """
    folded = name.strip().casefold()
    return (
        known.get(folded) or structures.PREDEFINED.get(name.strip().upper()) or types.by_name(name)
    )


def declare_structures(target: Target, declared: Mapping[str, Any]) -> dict[str, Structure]:
    """Structures by folded name; they may contain each other, in any order.

    Raises:
        EncodeError: one contains itself, or an unknown type.
    """
    known: dict[str, Structure] = {}
    wanted = {name.casefold(): (name, members) for name, members in declared.items()}
    for folded in wanted:
        _declare_one(target, folded, wanted, known, 0)
    return known


def _declare_one(
    target: Target,
    folded: str,
    wanted: Mapping[str, tuple[str, Any]],
    known: dict[str, Structure],
    depth: int,
) -> None:
    if folded in known:
        return
    name, members = wanted[folded]
    if depth > MAX_NESTING:
        raise EncodeError(f"structure {name} contains itself, or is nested too deep", status=0)
    fields: list[tuple[str, Kind, int]] = []
    for member in members:
        inner = str(member["type"]).casefold()
        if inner in wanted:
            _declare_one(target, inner, wanted, known, depth + 1)
        kind = kind_of(str(member["type"]), known)
        length = int(member.get("length", 1))
        fields.append((str(member["name"]), _fixed(kind), 0 if length <= 1 else length))
    known[folded] = allotted(target.symbols.allotment, name, fields)


def _fixed(kind: Kind) -> Kind:
    """Strings of a gateway are Logix strings of 82 characters, which every client knows."""
    return kind if kind.size else structures.STRING


def allotted(allotment: Allotment, name: str, fields: Sequence[tuple[str, Kind, int]]) -> Structure:
    """The structure of these fields under the template id that belongs to this very layout."""
    layout = ";".join(f"{field} {_type_key(kind)} {length}" for field, kind, length in fields)
    key = f"{name.casefold()}#{zlib.crc32(layout.encode()):08x}"
    return structures.define(name, fields, template_id=allotment.template(key))


def _type_key(kind: Kind) -> str:
    return f"{kind.name}#{kind.template_id}" if isinstance(kind, Structure) else kind.name


def add_local(target: Target, tag: LocalTag, known: Mapping[str, Structure]) -> Variable:
    """Take in a local tag with its first value.

    Raises:
        EncodeError: its type, dimensions or value make no sense.
    """
    kind = kind_of(tag.type, known)
    if target.personality.short_strings and kind in (types.STRING, types.SSTRING):
        kind = types.SSTRING
    else:
        kind = _fixed(kind)
    variable = declare(tag.name, kind, tuple(tag.dimensions))
    variable.writable = tag.writable
    variable.retain = tag.retain
    variable.rate = RateLimit(tag.write_rate) if tag.write_rate else None
    if tag.value is not None:
        set_value(variable, tag.value)
    address = None
    if tag.address:
        numbers = [int(part, 0) for part in tag.address.lstrip("@").split("/")]
        address = (numbers[0], numbers[1], numbers[2])
    target.add_tag(variable, address)
    target.image.written.pop(variable.name, None)
    return variable


def set_value(variable: Variable, value: Any) -> None:
    """Set all elements: from a list, or each to the one value.

    Raises:
        EncodeError: it does not fit.
    """
    if not variable.dimensions:
        variable.set([value])
    elif isinstance(value, list | tuple):
        variable.set(_flat(value))
    else:
        variable.set([value] * variable.length)


def _flat(values: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat.extend(_flat(value) if isinstance(value, list | tuple) else [value])
    return flat


def device_tags(device: Device) -> list[tuple[str, Tag]]:
    """(group, tag) of a device, in the configuration's order."""
    return [(group.name, tag) for group in device.groups for tag in group.tags]


def add_device(target: Target, device: Device) -> Variable | None:
    """Take in a device as a structure; None where it has no tags.

    Raises:
        EncodeError: a tag's type cannot be a member.
    """
    tags = [tag for _, tag in device_tags(device)]
    if not tags:
        return None
    fields = _fields(target.symbols.allotment, device.name, tags)
    variable = Variable(device.name, allotted(target.symbols.allotment, device.name, fields))
    variable.device = device.name
    variable.writable = any(tag.writable for tag in tags)
    variable.device_tags = {tag.name.casefold(): tag for tag in tags}
    groups = {
        group.name: (group.stale_after_s, [tag.name for tag in group.tags])
        for group in device.groups
    }
    flat_names = {tag.flat_name: tag.name for tag in tags if tag.flat_name}
    target.add_device(variable, groups, flat_names)
    return variable


def route_target(base: Target, device: str) -> Target | None:
    """What a request along a route to `device` is sent to: its tags, and no others of `base`.

    Its memory is the image of `base`. None where the device has no tags there.
    """
    variable = base.image.devices.get(device)
    if variable is None:
        return None
    target = Target(
        random_u32=base.manager.random_u32,
        clock_us=base.clock_us,
        personality=base.personality,
        identity=base.identity,
        image=base.image,
        allotment=ScopedAllotment(base.symbols.allotment, device.casefold()),
        program_name=device,
        lenient_types=base.lenient_types,
    )
    target.refused = base.refused
    target.symbols.add(variable)
    for tag in variable.device_tags.values():
        target.symbols.add_flat(tag.name, variable, tag.name)
    return target


def _fields(allotment: Allotment, device: str, tags: Sequence[Tag]) -> list[tuple[str, Kind, int]]:
    """The members of a device's structure, each always where it first came.

    Clients go on decoding by the template that they know, so a reload neither puts a member between
    others nor moves those behind one that goes: it leaves a hidden member, to which it may return.
    """
    left = {_place(tag).partition(" ")[0]: _place(tag) for tag in tags}
    present = {_place(tag): tag for tag in tags}
    places = []
    for place in allotment.members.get(device.casefold(), ()):
        name, _, kind = place.partition(" ")
        if left.get(name) == place or (not kind and name in left):
            places.append(left.pop(name))
        elif kind:
            places.append(place)
    if sum(place not in present for place in places) > MAX_GONE:
        places = [place for place in places if place in present]
    places += left.values()
    allotment.remember_members(device.casefold(), places)
    fields = []
    for position, place in enumerate(places):
        _, kind, length = place.split(" ")
        tag = present.get(place)
        name = tag.name if tag else f"{structures.HIDDEN_PREFIX}_{position}"
        fields.append((name, _fixed(kind_of(kind, {})), 0 if int(length) <= 1 else int(length)))
    return fields


def _place(tag: Tag) -> str:
    """A tag as the allotment remembers it: its name, type and length."""
    return f"{tag.name.casefold()} {tag.cip_type} {tag.length}"


def write_check(sources: Sequence[str]) -> Callable[[str], bool]:
    """Which addresses may write.

    Raises:
        EncodeError: a source is no network.
    """
    allowed = networks(sources)
    if not allowed:
        return lambda address: True
    return lambda address: within(address, allowed)


def problems_of(listener: Listener, devices: Sequence[Device], allotment: Allotment) -> list[str]:
    """What is wrong with these settings; an empty list where they can be served."""
    try:
        make_target(
            listener,
            devices,
            Allotment(allotment.plain),
            random_u32=lambda: 1,
            clock_us=lambda: 0,
        )
        write_check(listener.write_sources)
        listen_address(listener.address, any_port=True)
    except (ProtocolError, KeyError, ValueError, TypeError) as error:
        return [f"listener {listener.name}: {error}"]
    return []
