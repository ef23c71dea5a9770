"""Structures that are read whole: the values of their members are of one moment.

    structures = ["Recipe", "Line[2]"]      of the device
    Recipe.Speed, Line[2].Timer.ACC         addresses below one of them: taken out of its bytes

The layout comes from the controller, by the handle that its reply carries; a type changed there
has another handle, and is asked for anew.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure, load
from cpppod.protocols.cip.types import DWORD
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.structures import TagTree, browse
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import Sample
from cpppod.workers.drivers.enip.tags import TYPE_MISMATCH, TagAccess, as_sample, same_type

Path = list[dict[str, Any]]

ABSENT = (None, quality(Quality.NOT_CONFIGURED))


@dataclass(frozen=True, slots=True)
class Whole:
    """A structure that one operation reads.

    Attributes:
        members: the tags in it, each with its path below the structure.
    """

    operation: Operation
    members: list[tuple[TagAccess, Path]]

    @property
    def tag(self) -> Tag:
        """The first of them, which stands for all."""
        return self.members[0][0].tag


def structure_path(address: str) -> Path:
    """The path of a structure's address.

    Raises:
        EncodeError: it is no address of a tag, or says more than one.
    """
    (operation,) = parse_operations([address])
    if operation.keys() != {"path"} or "symbolic" not in operation["path"][0]:
        raise EncodeError(f"{address!r:.60} is no structure's address", status=0x04)
    path: Path = operation["path"]
    return path


def gathered(accesses: Iterable[TagAccess], structures: Sequence[str]) -> list[TagAccess | Whole]:
    """The accesses, with those below a structure in the place of the first of them."""
    bases = [(_folded(path), path) for path in map(structure_path, structures)]
    found: list[TagAccess | Whole] = []
    wholes: dict[int, Whole] = {}
    for access in accesses:
        path = access.operation["path"]
        fitting = [
            (len(base), number)
            for number, (base, _) in enumerate(bases)
            if not access.attribute and len(path) > len(base) and _folded(path[: len(base)]) == base
        ]
        if not fitting:
            found.append(access)
            continue
        length, number = max(fitting)
        if number not in wholes:
            wholes[number] = Whole({"path": bases[number][1]}, [])
            found.append(wholes[number])
        wholes[number].members.append((access, path[length:]))
    return found


def _folded(path: Path) -> Path:
    """A path as names are compared."""
    return [
        {key: value.casefold() if isinstance(value, str) else value for key, value in each.items()}
        for each in path
    ]


def member_sample(access: TagAccess, path: Path, structure: Structure, data: bytes) -> Sample:
    """The sample of a tag whose member lies at `path` in the structure's bytes."""
    kind: Any = structure
    base, value, values = 0, None, [None]
    for number, segment in enumerate(path):
        if "symbolic" in segment:
            member = kind.member(segment["symbolic"]) if isinstance(kind, Structure) else None
            if member is None:
                return ABSENT
            value, kind = load(data, member, base), member.type
            if kind is DWORD and member.length and access.kind is not None:
                value = _bits(value) if access.kind.name == "BOOL" else value
            base += member.offset
            values = value if isinstance(value, list) else [value]
        elif set(segment) == {"element"}:
            first = segment["element"]
            rest = number + 1 < len(path)
            values = values[first : first + (1 if rest else access.tag.length)]
            base += first * kind.size
        else:
            return ABSENT
    return _sample(access, kind, values)


def _sample(access: TagAccess, kind: Any, values: list[Any]) -> Sample:
    tag = access.tag
    if isinstance(kind, Structure) and not kind.is_string:
        return None, TYPE_MISMATCH
    values = values[: tag.length]
    if len(values) < tag.length:
        return ABSENT
    if (bit := access.operation.get("bit")) is not None and isinstance(values[0], int):
        return bool(values[0] >> bit & 1), int(Quality.GOOD)
    is_bool = all(isinstance(value, bool) for value in values)
    code = access.kind.code if is_bool and access.kind is not None else getattr(kind, "code", 0)
    if is_bool and (access.kind is None or access.kind.name != "BOOL"):
        return None, TYPE_MISMATCH
    if not is_bool and not same_type(access.kind, code, 0, values):
        return None, TYPE_MISMATCH
    return as_sample(tag, values if tag.length > 1 else values[0])


def _bits(words: list[int]) -> list[bool]:
    return [bool(word >> bit & 1) for word in words for bit in range(32)]


async def ask_tree(
    ask: Callable[[bytes], Awaitable[MessageRouterReply]],
    progress: Callable[[int, int], None] = lambda asked, of: None,
) -> TagTree:
    """What a controller has, each question asked and its reply taken in turn.

    Raises:
        BrowseRefused, SessionViolated: it tells nothing, or nonsense; and what `ask` raises.
    """
    conversation = browse()
    request = next(conversation)
    for asked in itertools.count(1):
        reply = await ask(request)
        progress(asked, 0)
        try:
            request = conversation.send(reply)
        except StopIteration as finished:
            tree: TagTree = finished.value
            return tree
    raise AssertionError("a count has no end")
