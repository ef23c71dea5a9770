"""Symbols: which tag a path names, and the instance ids that clients remember.

    91 "Tag" [28 i ...] [91 "Member" [28 i] ...]     by name, program tags behind  91 "Program:x"
    20 6B 24 id [28 i ...] ...                       by symbol instance
    20 68 24 p  20 6B 24 id ...                      a program's tag by instance

`Allotment` gives out ids that never change (clients cache them; a moved id would read another tag
with status 0); whoever owns the state directory stores its `plain` form. A removed id answers 0x05.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.epath import Logical, LogicalType, Segment, Symbol
from cpppod.protocols.cip.image import Image, Kind, Sample, Variable
from cpppod.protocols.cip.status import CipError, GeneralStatus, TagStatus
from cpppod.protocols.cip.structures import Member, Structure
from cpppod.protocols.model.errors import DecodeError

SYMBOL_CLASS = 0x6B
TEMPLATE_CLASS = 0x6C
PROGRAM_CLASS = 0x68
PROGRAM_PREFIX = "program:"
MAX_SYMBOL_ID = 0xFFFF  # pylogix and libplctag keep 16 bits
MAX_DEPTH = 16  # names in a path; no controller nests structures deeper


class Allotment:
    """Ids given out once: `symbols` and `templates` by key, never moved and not reused.

    Args:
        plain: what was stored.
        after: a symbol's and a template's id; those up to there may have been given out before.

    Raises:
        DecodeError: `plain` is not what such a one stored; of `status` 1 if a newer version did.
    """

    def __init__(self, plain: Any = None, after: tuple[int, int] = (0, 0)) -> None:
        self.symbols: dict[str, int] = {}
        self.templates: dict[str, int] = {}
        self.members: dict[str, list[str]] = {}  # a device's tags as they lie in its structure
        self.changed = False
        if plain is not None:
            self._take(plain)
        self._last_symbol = max(self.symbols.values(), default=after[0])
        self._last_template = max(
            self.templates.values(), default=max(after[1], structures.FIRST_USER_TEMPLATE - 1)
        )

    def _take(self, plain: Any) -> None:
        if not isinstance(plain, dict):
            raise DecodeError("allotted ids: no map", status=0)
        version = plain.get("version", 1)
        if version != 1:
            newer = isinstance(version, int) and version > 1
            raise DecodeError(f"allotted ids of version {version!r:.20}", status=int(newer))
        try:
            self.symbols = {str(key): int(value) for key, value in plain["symbols"].items()}
            self.templates = {str(key): int(value) for key, value in plain["templates"].items()}
            self.members = {
                str(key): [str(name) for name in names]
                for key, names in plain.get("members", {}).items()
            }
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DecodeError(f"allotted ids: {error!r}", status=0) from None
        for ids, last in (
            (self.symbols.values(), MAX_SYMBOL_ID),
            (self.templates.values(), structures.LAST_USER_TEMPLATE),
        ):
            if len(set(ids)) < len(ids) or not all(0 < number <= last for number in ids):
                raise DecodeError("allotted ids: one twice, or none that can be", status=0)

    @property
    def plain(self) -> dict[str, Any]:
        """What is stored, as JSON can say it."""
        return {
            "version": 1,
            "symbols": self.symbols,
            "templates": self.templates,
            "members": self.members,
        }

    def remember_members(self, device: str, places: list[str]) -> None:
        """Keep how a device's tags lie."""
        if self.members.get(device) != places:
            self.members[device] = places
            self.changed = True

    def symbol(self, key: str) -> int:
        """The instance id of the symbol `key`, a new one where it has none yet.

        Raises:
            CipError: all 65,535 are given out.
        """
        found = self.symbols.get(key)
        if found is None:
            if self._last_symbol >= MAX_SYMBOL_ID:
                raise CipError("no symbol ids left", status=GeneralStatus.RESOURCE_UNAVAILABLE)
            found = self._last_symbol = self._last_symbol + 1
            self.symbols[key] = found
            self.changed = True
        return found

    def template(self, key: str) -> int:
        """The template id of the layout `key`, a new one where it has none yet.

        Raises:
            CipError: no template ids are left.
        """
        found = self.templates.get(key)
        if found is None:
            number = self._last_template + 1
            while not structures.template_id_is_safe(number):
                number += 1
            if number > structures.LAST_USER_TEMPLATE:
                raise CipError("no template ids left", status=GeneralStatus.RESOURCE_UNAVAILABLE)
            found = self.templates[key] = self._last_template = number
            self.changed = True
        return found


class ScopedAllotment(Allotment):
    """Ids out of `base` for the names of a scope of their own, such as the tags along a route."""

    def __init__(self, base: Allotment, scope: str) -> None:
        super().__init__()
        self._base = base
        self._scope = scope

    def symbol(self, key: str) -> int:
        """The instance id of the symbol `key` of this scope.

        Raises:
            CipError: all 65,535 are given out.
        """
        return self._base.symbol(f"{self._scope}/{key}")

    def template(self, key: str) -> int:
        """The template id of the layout `key`: layouts have no scope."""
        return self._base.template(key)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tag listing; `variable` is None for programs and tasks."""

    instance: int
    name: str
    type_word: int
    dimensions: tuple[int, int, int]
    size: int
    read_only: bool = False
    alias: bool = False
    variable: Variable | None = None
    member: str = ""


@dataclass(slots=True)
class Reference:
    """What a path came down to.

    Attributes:
        at: byte in the variable's memory, or element number where it has `strings`.
        available: elements from there to the end.
        bit: for a packed BOOL, else None.
        samples: what decides whether it is fresh; () for local tags.
        member: the device's tag that it lies in, or None.
        array: whether what it lies in is one; `indexed`: whether one element of it is named.
    """

    variable: Variable
    kind: Kind
    at: int = 0
    available: int = 1
    bit: int | None = None
    samples: tuple[Sample, ...] = ()
    member: Member | None = None
    first: int = 0
    whole: int = 1
    array: bool = False
    indexed: bool = False


def unknown(what: str = "") -> CipError:
    """What a path to nothing is answered with; the extended word keeps cpppo's client in step."""
    return CipError(what, status=GeneralStatus.PATH_DESTINATION_UNKNOWN, extended=(0,))


class Scope:
    """The tags of the controller or of one program, by name and by instance."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.by_name: dict[str, Variable] = {}
        self.members: dict[str, str] = {}  # flat name -> the device's tag that it stands for
        self.entries: dict[int, Entry] = {}
        self._ids: list[int] | None = None

    def add(self, entry: Entry) -> None:
        """Take in an entry, replacing one of the same instance."""
        self.entries[entry.instance] = entry
        self._ids = None
        if entry.variable is not None:
            self.by_name[entry.name.casefold()] = entry.variable
        if entry.member:
            self.members[entry.name.casefold()] = entry.member

    def remove(self, variable: Variable) -> None:
        """Forget a tag and its other names; their ids answer 0x05 from now on."""
        gone = [number for number, item in self.entries.items() if item.variable is variable]
        for number in gone:
            name = self.entries.pop(number).name.casefold()
            self.by_name.pop(name, None)
            self.members.pop(name, None)
        self._ids = None

    def page(self, start: int) -> Iterator[int]:
        """Instances from `start` on, ascending."""
        if self._ids is None:
            self._ids = sorted(self.entries)
        ids = self._ids
        return (ids[place] for place in range(bisect_left(ids, start), len(ids)))


class Symbols:
    """All scopes of one target, and the way from a path to the memory that it names."""

    def __init__(self, image: Image, allotment: Allotment | None = None) -> None:
        self.image = image
        self.allotment = allotment or Allotment()
        self.controller = Scope()
        self.programs: dict[str, Scope] = {}
        self.program_ids: dict[int, Scope] = {}
        self.templates: dict[int, Structure] = {}
        self._bodies: dict[int, bytes] = {}
        for structure in structures.PREDEFINED.values():
            self.templates[structure.template_id] = structure

    def scope(self, program: str) -> Scope:
        """The scope of a program (`Program:Main`), made if need be; "" is the controller's."""
        if not program:
            return self.controller
        found = self.programs.get(program.casefold())
        if found is None:
            found = self.programs[program.casefold()] = Scope(program)
            number = self.allotment.symbol(program.casefold())
            self.controller.add(Entry(number, program, 0x1068, (0, 0, 0), 0))
            self.program_ids[number] = found
        return found

    def add(self, variable: Variable, name: str = "") -> None:
        """List a variable, under its own name or, as an alias, under `name`."""
        shown = name or variable.name
        program, _, tag = shown.rpartition(".")
        scope = self.scope(program) if program.casefold().startswith(PROGRAM_PREFIX) else None
        if scope is None:
            scope, tag = self.controller, shown
        self._learn(variable.type)
        dimensions = variable.dimensions
        padded = (*dimensions, 0, 0, 0)[:3]
        scope.add(
            Entry(
                self.allotment.symbol(shown.casefold()),
                tag,
                structures.symbol_type(variable.type, len(dimensions)),
                (padded[0], padded[1], padded[2]),
                variable.type.size,
                read_only=not variable.writable,
                alias=bool(name),
                variable=variable,
            )
        )

    def add_flat(self, name: str, variable: Variable, member_name: str) -> None:
        """List a device's tag under a flat name of its own."""
        assert isinstance(variable.type, Structure)
        member = variable.type.member(member_name)
        if member is None:
            raise unknown(member_name)
        dimensions = 1 if member.length else 0
        self.controller.add(
            Entry(
                self.allotment.symbol(name.casefold()),
                name,
                structures.symbol_type(member.type, dimensions),
                (member.length, 0, 0),
                member.type.size,
                read_only=not variable.device_tags[member_name.casefold()].writable,
                alias=True,
                variable=variable,
                member=member.name,
            )
        )

    def remove_variable(self, variable: Variable) -> None:
        """Forget a tag under all its names."""
        self.controller.remove(variable)
        for scope in self.programs.values():
            scope.remove(variable)

    def template_body(self, number: int) -> bytes:
        """What Read Template gives of a structure.

        Raises:
            CipError: PATH_DESTINATION_UNKNOWN.
        """
        body = self._bodies.get(number)
        if body is None:
            structure = self.templates.get(number)
            if structure is None:
                raise unknown("template")
            body = self._bodies[number] = structure.template()
        return body

    def _learn(self, kind: Kind) -> None:
        if isinstance(kind, Structure):
            self.templates[kind.template_id] = kind
            for member in kind.members:
                self._learn(member.type)

    def resolve(self, path: Sequence[Segment]) -> Reference:
        """The memory that `path` names.

        Raises:
            CipError: PATH_DESTINATION_UNKNOWN for no such tag, member or element,
                PATH_SEGMENT_ERROR for a path of the wrong shape.
        """
        return self.within(*self._base(path))

    def within(self, variable: Variable, rest: Sequence[Segment]) -> Reference:
        """The memory of a tag that the rest of a path names; raises as `resolve`."""
        reference = Reference(variable, variable.type, available=variable.length)
        reference.whole = variable.length
        reference.array = bool(variable.dimensions)
        position = _index(reference, variable.dimensions, rest, 0)
        depth = 0
        while position < len(rest):
            segment = rest[position]
            depth += 1
            if not isinstance(segment, Symbol) or depth > MAX_DEPTH:
                raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
            member = _descend(reference, segment.name)
            if depth == 1 and variable.device:
                reference.member = member
            dimensions = (member.length,) if member.length else ()
            position = _index(reference, dimensions, rest, position + 1)
        reference.samples = _samples(variable, reference.member)
        return reference

    def _base(self, path: Sequence[Segment]) -> tuple[Variable, Sequence[Segment]]:
        scope, position = self.controller, 0
        first = path[0] if path else None
        if isinstance(first, Symbol) and first.name[:8].casefold() == PROGRAM_PREFIX:
            found = self.programs.get(first.name.casefold())
            if found is None:
                raise unknown(first.name)
            scope, position = found, 1
        elif first == Logical(LogicalType.CLASS, PROGRAM_CLASS):
            number = path[1].value if len(path) > 1 and isinstance(path[1], Logical) else 0
            if number not in self.program_ids:
                raise unknown()
            scope, position = self.program_ids[number], 2
        head = path[position] if len(path) > position else None
        if isinstance(head, Symbol):
            variable = scope.by_name.get(head.name.casefold())
            if variable is None:
                raise unknown(head.name)
            member = scope.members.get(head.name.casefold()) if scope.members else None
            rest = path[position + 1 :]
            return variable, (Symbol(member), *rest) if member else rest
        instance = path[position + 1] if len(path) > position + 1 else None
        if head != Logical(LogicalType.CLASS, SYMBOL_CLASS) or not isinstance(instance, Logical):
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        entry = scope.entries.get(instance.value)
        if instance.kind is not LogicalType.INSTANCE or entry is None or entry.variable is None:
            raise unknown()
        rest = path[position + 2 :]
        return entry.variable, (Symbol(entry.member), *rest) if entry.member else rest


def _index(
    reference: Reference, dimensions: Sequence[int], rest: Sequence[Segment], position: int
) -> int:
    """Apply the element segments at `position`; the position after them."""
    indices: list[int] = []
    while position < len(rest):
        segment = rest[position]
        if not isinstance(segment, Logical) or segment.kind is not LogicalType.ELEMENT:
            break
        indices.append(segment.value)
        position += 1
    if not indices:
        return position
    if len(indices) > 3:
        raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
    sizes = tuple(dimensions) or (1,)
    if len(indices) > len(sizes):
        raise unknown("more indices than dimensions")
    linear = 0
    for place, size in enumerate(sizes):
        index = indices[place] if place < len(indices) else 0
        if index >= size:
            raise CipError(
                status=GeneralStatus.GENERAL_ERROR, extended=(TagStatus.ELEMENTS_BEYOND_END,)
            )
        linear = linear * size + index
    reference.indexed = True
    reference.first = linear
    reference.at += linear * (reference.kind.size or 1)
    reference.available -= linear
    return position


def _descend(reference: Reference, name: str) -> Member:
    kind = reference.kind
    member = kind.member(name) if isinstance(kind, Structure) else None
    if member is None or member.hidden:
        raise unknown(name)
    reference.at += member.offset
    reference.bit = member.bit
    reference.kind = member.type
    reference.available = reference.whole = max(member.length, 1)
    reference.first = 0
    reference.array, reference.indexed = bool(member.length), False
    return member


def _samples(variable: Variable, member: Member | None) -> tuple[Sample, ...]:
    if not variable.device:
        return ()
    if member is None:
        return tuple(variable.samples.values())
    sample = variable.samples.get(member.name.casefold())
    return (sample,) if sample is not None else ()


def bool_array(length: int) -> bool:
    """Whether a BOOL array of that length is Logix' packed kind: those come in multiples of 32."""
    return length > 0 and length % 32 == 0


def declare(name: str, kind: Kind, dimensions: tuple[int, ...] = ()) -> Variable:
    """A local tag; a BOOL array of a multiple of 32 is DWORDs, as a controller has it."""
    if kind is types.BOOL and len(dimensions) == 1 and bool_array(dimensions[0]):
        return Variable(name, types.DWORD, (dimensions[0] // 32,))
    return Variable(name, kind, dimensions)
