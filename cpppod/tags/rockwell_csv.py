"""Rockwell's CSV export of tags: rows of a controller, brought into the form of its L5X.

    TYPE,SCOPE,NAME,DESCRIPTION,DATATYPE,SPECIFIER,ATTRIBUTES     behind remarks and a version
    TAG,,Speed,"of the belt",DINT[10],,"(ExternalAccess := Read/Write)"
    ALIAS,Main,Go,,,Local:1:I.Data.0,...                            SPECIFIER: what it stands for
    COMMENT,,Speed,"the first",,Speed[0],                          ... or the member it is about

Such a file has no layouts: tags of structures that are not predefined are left out, and said.

Source: Logix 5000 Import/Export (1756-RM084).
"""

import csv
import io
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, tostring

COLUMNS = ["TYPE", "SCOPE", "NAME", "DESCRIPTION", "DATATYPE", "SPECIFIER", "ATTRIBUTES"]
_TYPE = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<dimensions>[\d, ]+)\])?")
_ATTRIBUTE = re.compile(r"(\w+) := ([^,()]+)")
_ESCAPED = re.compile(r"\$(.)")
_MEANT = {"N": "\n", "L": "\n", "R": "\n", "T": "\t", "Q": '"'}


def is_export(text: str) -> bool:
    """Whether the text is one: by the row of its columns."""
    return any(row == COLUMNS for row in _rows(text))


def as_l5x(text: str, *, name: str) -> bytes:
    """The same tags as the L5X of a controller called `name`."""
    root = Element("RSLogix5000Content")
    controller = SubElement(root, "Controller", Name=name)
    scopes = {"": SubElement(controller, "Tags")}
    programs = SubElement(controller, "Programs")
    tags: dict[tuple[str, str], Element] = {}
    rows = _rows(text)
    for row in rows:
        if row == COLUMNS:
            break
    for row in rows:
        kind, scope, tag, words, type_, specifier, attributes = [*row, *[""] * 7][:7]
        if kind == "COMMENT":
            _comment(tags.get((scope, tag)), tag, specifier, words)
        elif kind in ("TAG", "ALIAS"):
            if scope not in scopes:
                scopes[scope] = SubElement(SubElement(programs, "Program", Name=scope), "Tags")
            made = tags[scope, tag] = SubElement(scopes[scope], "Tag", Name=tag)
            _fill(made, type_, specifier if kind == "ALIAS" else "", attributes)
            if words:
                SubElement(made, "Description").text = _meant(words)
    return tostring(root)


def _rows(text: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))


def _fill(made: Element, type_: str, target: str, attributes: str) -> None:
    if target:
        made.set("TagType", "Alias")
        made.set("AliasFor", target)
    if found := _TYPE.fullmatch(type_.strip()):
        made.set("DataType", found["name"])
        if found["dimensions"]:
            made.set("Dimensions", found["dimensions"].replace(",", " "))
    for key, value in _ATTRIBUTE.findall(attributes):
        made.set(key, value.strip())


def _comment(tag: Element | None, name: str, specifier: str, words: str) -> None:
    if tag is None:
        return
    comments = tag.find("Comments")
    if comments is None:
        comments = SubElement(tag, "Comments")
    operand = specifier[len(name) :] if specifier.lower().startswith(name.lower()) else specifier
    SubElement(comments, "Comment", Operand=operand).text = _meant(words)


def _meant(text: str) -> str:
    """A text of such a file without its escapes: `$N` is a new line, `$'` a quote."""
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1].upper(), found[1]), text)
