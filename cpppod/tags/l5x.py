"""Rockwell's L5X: a controller's tags and structures, out of an export of a project or a program.

    Controller ─ DataTypes, AddOnInstructionDefinitions     layouts
               ├ Tags                                       Speed      ->  Speed
               └ Programs ─ Program ─ Tags                  Main.Speed ->  Program:Main.Speed

    a scalar or array of an elementary type    a tag; BOOL[64] is DWORD[2], as it is held
    a structure                                its members, theirs in turn, element by element
    an alias                                   what it stands for, under its own name

The file is untrusted: no entity is resolved and nothing outside it is opened (defusedxml).

Source: Logix 5000 Import/Export (1756-RM084).
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cpppod.protocols.cip.structures import HIDDEN_PREFIX, PREDEFINED
from cpppod.protocols.cip.structures import Structure as Layout
from cpppod.tags.source import ImportRefused, Refused, Wishes
from cpppod.tags.tables import DeviceList, Imported, Table, device_name, one_line, place_of

ELEMENTARY = frozenset(
    "BOOL SINT INT DINT LINT USINT UINT UDINT ULINT REAL LREAL BYTE WORD DWORD LWORD".split()
)
MOST_PARTS = 5000  # of one tag: more is a table that nobody polls whole
MOST_NESTING = 32
NO_ACCESS, READ_ONLY = "None", "Read Only"
IN_OUT = "InOut"  # a parameter that stands for another tag: it is not in the memory of its own


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: `length` 0 is a scalar."""

    name: str
    type: str
    length: int = 0
    access: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A value that a tag is made of.

    Attributes:
        operand: what follows the tag's name: `[1].Speed`.
        elements: 0 is a scalar.
    """

    operand: str
    type: str
    elements: int
    access: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SourceTag:
    """One tag of the file."""

    scope: str  # a program's name, "" the controller
    element: Element

    @property
    def name(self) -> str:
        """As the file has it."""
        return self.element.get("Name", "")

    @property
    def address(self) -> str:
        """As a client names it."""
        return f"Program:{self.scope}.{self.name}" if self.scope else self.name


@dataclass(slots=True)
class Project:
    """What the file has."""

    name: str
    tags: list[SourceTag] = field(default_factory=list)
    structures: dict[str, list[Member]] = field(default_factory=dict)
    strings: set[str] = field(default_factory=lambda: {"STRING"})


def read(text: str | bytes, wishes: Wishes) -> Imported:
    """The tags of the file, for a controller that is polled.

    Raises:
        ImportRefused: it is no L5X.
    """
    project = parse(text)
    place = place_of("enip", wishes.address)
    if wishes.route_path:
        place["route_path"] = wishes.route_path
    made = Imported()
    device = DeviceList(device_name(wishes.name or project.name), "enip", place)
    made.devices.append(device)
    if not wishes.address:
        made.report.remarks.append(
            f"device {device.name}: the file has no address: it is not enabled; --address gives one"
        )
    for tag in project.tags:
        try:
            _take(made, device, project, tag, wishes)
        except Refused as refused:
            made.report.leave_out(tag.address, str(refused))
    return made


def parse(text: str | bytes) -> Project:
    """The file's tags and layouts.

    Raises:
        ImportRefused: it is no L5X, or has what XML from strangers may not have.
    """
    try:
        root = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ImportRefused(f"no L5X: {str(error) or type(error).__name__:.200}") from None
    controller = root.find("Controller") if root.tag == "RSLogix5000Content" else None
    if controller is None:
        raise ImportRefused("no L5X: it has no controller")
    project = Project(controller.get("Name", ""))
    for element in controller.iterfind("DataTypes/DataType"):
        name = element.get("Name", "").upper()
        if element.get("Family") == "StringFamily":
            project.strings.add(name)
        project.structures[name] = [_member(each) for each in element.iterfind("Members/Member")]
    for element in controller.iterfind("AddOnInstructionDefinitions/AddOnInstructionDefinition"):
        project.structures[element.get("Name", "").upper()] = list(_parameters(element))
    project.tags += [SourceTag("", each) for each in controller.iterfind("Tags/Tag")]
    for program in controller.iterfind("Programs/Program"):
        scope = program.get("Name", "")
        project.tags += [SourceTag(scope, each) for each in program.iterfind("Tags/Tag")]
    return project


def _member(element: Element) -> Member:
    type_ = element.get("DataType", "")
    hidden = element.get("Hidden") == "true"
    return Member(
        element.get("Name", ""),
        "BOOL" if type_ == "BIT" else type_,
        _number(element.get("Dimension")),
        NO_ACCESS if hidden else element.get("ExternalAccess", ""),
        _text(element.find("Description")),
    )


def _parameters(element: Element) -> Iterator[Member]:
    """Parameters and local tags of an add-on instruction, as its instances have them."""
    for each in element.iterfind("Parameters/Parameter"):
        if each.get("Usage") != IN_OUT:
            yield Member(
                each.get("Name", ""),
                each.get("DataType", ""),
                _count(each),
                each.get("ExternalAccess", ""),
                _text(each.find("Description")),
            )
    for each in element.iterfind("LocalTags/LocalTag"):
        yield Member(
            each.get("Name", ""),
            each.get("DataType", ""),
            _count(each),
            each.get("ExternalAccess", ""),
            _text(each.find("Description")),
        )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _dimensions(element: Element) -> tuple[int, ...]:
    """`10 5`, `10,5`; () for a scalar."""
    text = (element.get("Dimensions") or "").replace(",", " ")
    return tuple(int(part) for part in text.split() if part.isdecimal() and int(part))


def _count(element: Element) -> int:
    """Its elements; 0 is a scalar."""
    dimensions = _dimensions(element)
    return math.prod(dimensions) if dimensions else 0


def _text(element: Element | None) -> str:
    """A description on one line; of several languages the first."""
    if element is None:
        return ""
    words = element.text or ""
    if not words.strip():
        words = next((each.text or "" for each in element if (each.text or "").strip()), "")
    return one_line(words)


# One tag


def _take(
    made: Imported, device: DeviceList, project: Project, tag: SourceTag, wishes: Wishes
) -> None:
    """Take a tag over, part by part.

    Raises:
        Refused: nothing of it can come over.
    """
    access = tag.element.get("ExternalAccess", "")
    if access == NO_ACCESS:
        raise Refused("it has no external access")
    constant = tag.element.get("Constant") == "true"
    comments = _operands(tag.element, "Comments/Comment")
    units = _operands(tag.element, "EngineeringUnits/EngineeringUnit")
    own = _text(tag.element.find("Description"))
    group = (f"{tag.scope or 'controller'}"[:40], wishes.period)
    names: list[str] = []
    notes: list[str] = []
    for part in _parts_of(project, tag, notes):
        address = f"{tag.address}{part.operand}"
        table: Table = {"address": address, **_held(project, part)}
        operand = part.operand.upper()
        if unit := units.get(operand):
            table["unit"] = unit
        if description := comments.get(operand) or part.description or own:
            table["description"] = description
        if wishes.writable and not constant and READ_ONLY not in (access, part.access):
            table["writable"] = True
        name, why = device.add(tag.address, address, (group[0], group[1]), table)
        if why:
            notes.append(f"{part.operand or tag.name} is left out: {why}")
        else:
            names.append(name)
    if not names:
        raise Refused("; ".join(notes[:3]) or "it has no member that clients may read")
    made.report.take(tag.address, tuple(names), *_few(notes))


def _few(notes: list[str]) -> list[str]:
    return notes if len(notes) <= 5 else [*notes[:5], f"and {len(notes) - 5} more"]


def _operands(element: Element, path: str) -> dict[str, str]:
    """Texts by what they stand at: `.SPEED`, `[3]`."""
    return {each.get("Operand", "").upper(): _text(each) for each in element.iterfind(path)}


def _held(project: Project, part: Part) -> Table:
    """Type and length of a part, as the controller holds it."""
    type_, count = part.type.upper(), part.elements
    if type_ in project.strings:
        type_ = "STRING"
    if type_ == "BOOL" and count:
        type_, count = "DWORD", -(-count // 32)
    return {"type": type_} | ({"length": count} if count > 1 else {})


def _parts_of(project: Project, tag: SourceTag, notes: list[str]) -> list[Part]:
    """The values that a tag is made of.

    Raises:
        Refused: its type is not told, or it has too many.
    """
    type_, dimensions = tag.element.get("DataType", ""), _dimensions(tag.element)
    if tag.element.get("TagType") == "Alias":
        type_, dimensions = _aliased(project, tag)
    parts = list(
        itertools.islice(
            _parts(_Layouts(project, tag, notes), "", type_, dimensions, "", "", 0), MOST_PARTS + 1
        )
    )
    if len(parts) > MOST_PARTS:
        raise Refused(f"it has more than {MOST_PARTS} values")
    return parts


class _Layouts:
    """The layouts that the file tells, in definitions or beside a tag's data."""

    def __init__(self, project: Project, tag: SourceTag, notes: list[str]) -> None:
        self._project = project
        self._tag = tag
        self._shown: dict[str, list[Member]] | None = None
        self.notes = notes

    def members(self, type_: str) -> list[Member] | None:
        """The members of a structure, None where the file does not tell them."""
        name = type_.upper()
        if (found := self._project.structures.get(name)) is not None:
            return found
        if (layout := PREDEFINED.get(name)) is not None:
            return [_predefined(member) for member in layout.members if not member.hidden]
        if self._shown is None:
            self._shown = {}
            for data in self._tag.element.iterfind("Data[@Format='Decorated']"):
                for structure in itertools.chain(
                    data.iter("Structure"), data.iter("StructureMember")
                ):
                    members = [_decorated(each) for each in structure]
                    self._shown.setdefault(structure.get("DataType", "").upper(), members)
        return self._shown.get(name)

    def is_leaf(self, type_: str) -> bool:
        """Whether a value of it is one tag."""
        return type_.upper() in ELEMENTARY or type_.upper() in self._project.strings


def _predefined(member: Any) -> Member:
    type_ = member.type.name
    return Member(member.name, type_, member.length)


def _decorated(element: Element) -> Member:
    """A member as its data shows it."""
    dimensions = _dimensions(element)
    return Member(
        element.get("Name", ""),
        element.get("DataType", ""),
        math.prod(dimensions) * bool(dimensions),
    )


def _parts(
    layouts: _Layouts,
    operand: str,
    type_: str,
    dimensions: tuple[int, ...],
    access: str,
    description: str,
    depth: int,
) -> Iterator[Part]:
    if layouts.is_leaf(type_):
        yield Part(operand, type_, math.prod(dimensions) * bool(dimensions), access, description)
        return
    members = layouts.members(type_) if depth < MOST_NESTING else None
    if members is None:
        if not operand:
            raise Refused(f"its type {type_ or '(none)'} is not described in the file")
        layouts.notes.append(f"{operand} is left out: its type {type_} is not described")
        return
    for place in itertools.product(*map(range, dimensions)):
        at = f"{operand}[{','.join(map(str, place))}]" if place else operand
        for member in members:
            if member.access == NO_ACCESS or member.name.startswith(HIDDEN_PREFIX):
                continue
            rights = READ_ONLY if READ_ONLY in (access, member.access) else ""
            sizes = (member.length,) if member.length else ()
            yield from _parts(
                layouts, f"{at}.{member.name}", member.type, sizes, rights,
                member.description or description, depth + 1,
            )  # fmt: skip


# Aliases


def _aliased(project: Project, tag: SourceTag) -> tuple[str, tuple[int, ...]]:
    """Type and dimensions of what an alias stands for.

    Raises:
        Refused: the file does not tell them.
    """
    target = tag.element.get("AliasFor", "")
    seen = {tag.address.upper()}
    scope = tag.scope
    while True:
        name, operand = _split(target)
        found = _find(project, scope, name)
        if found is None:
            if target.rpartition(".")[2].isdecimal():
                return "BOOL", ()
            raise Refused(f"it is an alias for {target}, whose type the file does not tell")
        if found.element.get("TagType") != "Alias":
            type_, dimensions = found.element.get("DataType", ""), _dimensions(found.element)
            return _walk(_Layouts(project, found, []), target, operand, type_, dimensions)
        if found.address.upper() in seen:
            raise Refused(f"it is an alias for itself, by {target}")
        seen.add(found.address.upper())
        scope = found.scope
        target = found.element.get("AliasFor", "") + operand


def _split(path: str) -> tuple[str, str]:
    """The name and the operand of `Pump[3].Speed`."""
    cut = min((at for at in (path.find("."), path.find("[")) if at >= 0), default=len(path))
    return path[:cut], path[cut:]


def _find(project: Project, scope: str, name: str) -> SourceTag | None:
    """A tag of that scope, else of the controller."""
    for wanted in dict.fromkeys((scope, "")):
        for each in project.tags:
            if each.scope == wanted and each.name.upper() == name.upper():
                return each
    return None


def _walk(
    layouts: _Layouts, target: str, operand: str, type_: str, dimensions: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    """Type and dimensions at an operand of a value."""
    for step in operand.replace("[", ".[").strip(".").split(".") if operand else ():
        if step.startswith("["):
            dimensions = ()
        elif step.isdecimal():
            return "BOOL", ()
        else:
            found = next(
                (m for m in layouts.members(type_) or () if m.name.upper() == step.upper()), None
            )
            if found is None:
                raise Refused(f"it is an alias for {target}, whose type the file does not tell")
            type_, dimensions = found.type, (found.length,) if found.length else ()
    return type_, dimensions


# A simulator of it


def simulated(text: str | bytes) -> dict[str, Any]:
    """The file as `enip_server --defined-tags` reads it: every tag and structure that it knows.

    Raises:
        ImportRefused: it is no L5X.
    """
    project = parse(text)
    structures: dict[str, list[dict[str, Any]]] = {}
    tags: dict[str, str] = {}
    for tag in project.tags:
        if tag.element.get("ExternalAccess") == NO_ACCESS:
            continue
        layouts = _Layouts(project, tag, [])
        try:
            type_, dimensions = tag.element.get("DataType", ""), _dimensions(tag.element)
            if tag.element.get("TagType") == "Alias":
                type_, dimensions = _aliased(project, tag)
            name = _define(layouts, type_, structures, 0)
        except Refused:
            continue
        size = f"[{','.join(map(str, dimensions))}]" if dimensions else ""
        tags[tag.address] = f"{name}{size}"
    return {"structures": structures, "tags": tags}


def _define(
    layouts: _Layouts, type_: str, structures: dict[str, list[dict[str, Any]]], depth: int
) -> str:
    """The name of a type in the simulator; its structure is defined before those that have it."""
    name = type_.upper()
    if name in ELEMENTARY:
        return name
    if isinstance(PREDEFINED.get(name), Layout) or name == "STRING":
        return "STRING82" if name == "STRING" else name
    members = layouts.members(type_) if depth < MOST_NESTING else None
    if members is None:
        raise Refused(f"its type {type_} is not described in the file")
    known = {each.upper() for each in structures}
    fields = [
        {"name": member.name, "type": _define(layouts, member.type, structures, depth + 1)}
        | ({"length": member.length} if member.length else {})
        for member in members
        if not member.name.startswith(HIDDEN_PREFIX)
    ]
    if name not in known:
        structures[type_] = fields
    return type_
