"""What expressions may read, out of the plant's records; and a plan's groups as records of it.

boiler.pressure   a tag of a device           pressure_psi   its flat name
shift             a local tag                 efficiency     a computed tag: computed.efficiency
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cpppod.protocols.bus.topics import LOCAL
from cpppod.protocols.computed.engine import ComputedTag, Definition, Names, Source
from cpppod.protocols.model.plant import COMPUTED, Device, Group, Listener, Tag

NEVER_S = 10 * 365 * 86_400.0  # of what comes from local tags alone, which are never too old


def known_names(devices: Iterable[Device], listeners: Iterable[Listener]) -> Names:
    """Every name of a tag that is not computed."""
    names = Names()
    for device in devices:
        for group in device.groups if device.driver != COMPUTED else ():
            for tag in group.tags:
                limit_s, period_s = group.stale_after_s, group.period_s
                place = device.name, group.name, tag.name
                source = Source(*place, tag.cip_type, tag.length, limit_s, period_s)
                names.add(f"{device.name}.{tag.name}", source)
                if tag.flat_name:
                    names.add(tag.flat_name, source)
    seen: set[str] = set()
    for listener in listeners:
        for local in listener.tags:
            if local.name.lower() not in seen:  # a tag of every listener is that of the first
                seen.add(local.name.lower())
                length = 1
                for size in local.dimensions:
                    length *= size
                source = Source(LOCAL, listener.name, local.name, local.type, length)
                names.add(local.name, source)
    return names


def add_definitions(names: Names, definitions: Iterable[Definition]) -> None:
    """The names of computed tags, with and without their device."""
    for each in definitions:
        source = Source(each.device, "", each.name, each.type)
        names.add(f"{each.device}.{each.name}", source)
        names.add(each.name, source)


def definitions_of(devices: Iterable[Device]) -> list[Definition]:
    """The computed tags among the plant's records: the address of each is its expression."""
    return [
        Definition(device.name, tag.name, tag.address, tag.cip_type, group.history)
        for device in devices
        if device.driver == COMPUTED
        for group in device.groups
        for tag in group.tags
    ]


def device_of(name: str, planned: Sequence[ComputedTag], tags: dict[str, Tag]) -> Device:
    """The device that planned tags are of, in their groups; `tags` are their records by name.

    Its options have the inputs of each tag: a bad quality has the number of the one to blame.
    """
    groups: dict[str, Group] = {}
    for each in planned:
        definition = each.definition
        group = groups.setdefault(each.group, _group_of(each))
        own = (*group.tags, tags[definition.name])
        groups[each.group] = replace(group, tags=own)
    inputs = {
        each.definition.name: [str(wanted) for wanted in each.expression.inputs] for each in planned
    }
    return Device(name, COMPUTED, "", groups=tuple(groups.values()), options={"inputs": inputs})


def _group_of(tag: ComputedTag) -> Group:
    """A group as fast as its fastest input, and too old when its slowest one is."""
    leaves = tag.leaves.values()
    limits = [leaf.stale_after_s for leaf in leaves if leaf.stale_after_s]
    return Group(
        tag.group,
        min((leaf.period_s for leaf in leaves), default=1.0),
        history=tag.definition.history,
        max_age_s=max(limits, default=NEVER_S),
    )
