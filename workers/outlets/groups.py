"""Which groups an outlet is for: patterns of `device/group`, as its section has them."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from cpppod.protocols.model.plant import Device


def matching(patterns: Sequence[str], devices: Iterable[Device]) -> list[str]:
    """The groups of `devices` that a pattern is for, as `device/group`: `*` is every group,
    `boiler` or `boiler/*` every one of a device."""
    wanted = [pattern if "/" in pattern else f"{pattern}/*" for pattern in patterns]
    return [
        topic
        for device in devices
        for group in device.groups
        if any(fnmatchcase(topic := f"{device.name}/{group.name}", each) for each in wanted)
    ]


def idle(patterns: Sequence[str], devices: Sequence[Device]) -> list[str]:
    """The patterns that no group matches, where there are groups; `*` is for whatever comes."""
    named = [pattern for pattern in patterns if pattern != "*"] if devices else []
    return [pattern for pattern in named if not matching([pattern], devices)]
