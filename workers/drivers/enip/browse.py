"""What a controller has, as tags that can be polled: its tags, and the members of its structures.

Speed           REAL        Speed
Counts          DINT[10]    Counts               length 10
Flags           BOOL[64]    Flags                DWORD, length 2, as the controller holds it
Pump            Motor       Pump.Speed ...       its members, theirs in turn
Pumps           Motor[2]    Pumps[0].Speed ...   those of each element
"""

import itertools
import math
from collections.abc import Iterator

from cpppod.protocols.cip import types
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.enip.originator.errors import OriginatorError, ReplyTimeout
from cpppod.protocols.enip.originator.structures import BrowseRefused, TagTree
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.naming import Names
from cpppod.protocols.model.plant import Device, Tag
from cpppod.protocols.model.values import INTEGER_RANGES, REAL_TYPES
from cpppod.workers.devices.driver import DeviceError, DeviceFrame
from cpppod.workers.devices.spec import Browsed, Progress
from cpppod.workers.drivers.enip.driver import EnipDriver, shown
from cpppod.workers.drivers.enip.whole import ask_tree

MOST_TAGS = 20_000  # of one device: more is an array of structures that nobody polls whole
LONGEST_TAG = 65_535  # elements: what one read counts
POLLED = frozenset({"BOOL", "STRING", "SSTRING", *INTEGER_RANGES, *REAL_TYPES})

Leaf = tuple[str, types.DataType | Structure, int]  # path, type, elements (1: a scalar)


async def browse_tags(device: Device, where: str, progress: Progress) -> Browsed:
    """The tags of `device` whose names begin with `where`.

    Raises:
        DeviceError: it is not there, or tells nothing.
    """
    driver = EnipDriver(device, DeviceFrame())
    await driver.open()
    try:
        tree = await ask_tree(driver.ask, progress)
    except BrowseRefused as error:
        raise DeviceError(Failure.CIP_STATUS, shown(error), codes=(error.reply.status,)) from None
    except ReplyTimeout:
        raise DeviceError(Failure.TIMEOUT, "no reply in time") from None
    except (OSError, OriginatorError, ProtocolError) as error:
        raise DeviceError(Failure.BAD_REPLY, shown(error)) from None
    finally:
        await driver.close()
    return tags_of(tree, where)


def tags_of(tree: TagTree, where: str = "") -> Browsed:
    """The tree's tags that begin with `where`, as tags that can be polled."""
    names = Names()
    tags: list[Tag] = []
    left_out = [each for each in tree.left_out if _chosen(each[0], where)]
    for info in tree.tags:
        if not _chosen(info.name, where):
            continue
        leaves = _leaves(info.name, info.type, info.dimensions)
        for path, kind, count in leaves:
            if len(tags) >= MOST_TAGS:
                left_out.append((path, f"more than {MOST_TAGS} tags: choose by their beginning"))
                break
            if reason := _unpolled(kind, count):
                left_out.append((path, reason))
                continue
            type_ = "STRING" if isinstance(kind, Structure) else kind.name
            tags.append(Tag(names.give(path), path, type_, count))
    return Browsed(tuple(tags), tuple(left_out))


def _chosen(name: str, where: str) -> bool:
    return name.lower().startswith(where.lower())


def _unpolled(kind: types.DataType | Structure, count: int) -> str:
    """Why such a value cannot be polled, "" where it can."""
    if not isinstance(kind, Structure) and kind.name not in POLLED:
        return f"{kind.name} is not a type that is polled"
    return "" if count <= LONGEST_TAG else f"{count} elements: one read has {LONGEST_TAG}"


def _leaves(
    path: str, kind: types.DataType | Structure, dimensions: tuple[int, ...]
) -> Iterator[Leaf]:
    """The values that a tag or member is made of."""
    if not isinstance(kind, Structure) or kind.is_string:
        yield path, kind, math.prod(dimensions)
        return
    for place in itertools.product(*map(range, dimensions)):
        at = f"{path}[{','.join(map(str, place))}]" if place else path
        for member in kind.members:
            if not member.hidden:
                size = (member.length,) if member.length else ()
                yield from _leaves(f"{at}.{member.name}", member.type, size)
