"""One item of a configuration at a time: validated, its name kept unique."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.workers.settings import Section

_Section = TypeVar("_Section", bound=Section)


def validate(
    model: type[_Section],
    table: Any,
    path: KeyPath,
    findings: Findings,
    beside: Iterable[str] = (),
) -> _Section | None:
    """The table as `model`, or None with its problems noted.

    Args:
        beside: keys of the same table that another model has, for "did you mean".
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        findings.add_validation(path, error, [*model.model_fields, *beside])
        return None


def sound_part(model: type[_Section], table: Any, *needs: str) -> _Section | None:
    """A table with mistakes less the keys that have them, so that the rest can be checked as well.

    None where that leaves no whole item, or where one of the keys that the checks need is wrong.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    if not isinstance(table, dict) or not wrong & table.keys() or not wrong.isdisjoint(needs):
        return None
    return sound_part(model, {key: table[key] for key in table if key not in wrong}, *needs)


def named(table: Any) -> Any:
    """A table under a name that is well: what is wrong with its own has been said."""
    return {**table, "name": "t"} if isinstance(table, dict) else table


def names_of(tables: Any) -> list[str]:
    """The names that a list of tables or a table of tables gives, well or not."""
    if isinstance(tables, dict):
        return list(tables)
    items = tables if isinstance(tables, list) else []
    return [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]


def present(section: Section, *keys: str) -> dict[str, Any]:
    """The values of `keys`, to hand to a record that names them alike."""
    return {key: getattr(section, key) for key in keys}


class Names:
    """Names in use, without regard to case; the second use of one is noted as a problem."""

    def __init__(self, findings: Findings, what: str) -> None:
        self._findings = findings
        self._what = what
        self._seen: set[str] = set()

    def add(self, name: Any, path: KeyPath) -> None:
        """Take `name`; what is not a text is some other check's business."""
        if not isinstance(name, str):
            return
        if name.lower() in self._seen:
            wanted = f"a {self._what} that is not in use (case is ignored)"
            self._findings.add(path, name, wanted)
        self._seen.add(name.lower())
