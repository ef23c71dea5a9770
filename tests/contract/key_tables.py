"""The tables of drivers' own keys in docs/configuration.md, made from their settings.

python -m tests.contract.key_tables      writes them anew, between `<!-- keys of NAME -->` lines
"""

from pathlib import Path
from typing import Any

from cpppod.workers.devices.spec import DRIVERS, DriverSpec
from cpppod.workers.settings import Section

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def own_keys() -> dict[str, tuple[list[DriverSpec], type[Section]]]:
    """What is called by the names of its drivers: those that have the same settings, together."""
    found: dict[type[Section], list[DriverSpec]] = {}
    for spec in DRIVERS.ours():
        found.setdefault(DRIVERS.settings(Section)[spec.name][1], []).append(spec)
    return {", ".join(s.name for s in specs): (specs, model) for model, specs in found.items()}


def table(model: type[Section]) -> str:
    """The keys as a table of Markdown."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        default = _shown("" if field.is_required() else field.get_default())
        rows.append(f"| `{key}` | {default} | {field.description} |")
    return "\n".join(rows)


def _shown(value: Any) -> str:
    if value is None:
        return "the model's"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value == "" else f"`{value}`"


def block(name: str, specs: list[DriverSpec], model: type[Section]) -> str:
    """The part of the page that is made."""
    about = "; ".join(f"`{spec.name}`: {spec.title}" for spec in specs)
    return f"<!-- keys of {name} -->\n{about}.\n\n{table(model)}\n<!-- end -->"


def page(text: str) -> str:
    """The page with every part made anew."""
    for name, (specs, model) in own_keys().items():
        before, begin, rest = text.partition(f"<!-- keys of {name} -->\n")
        _old, end, after = rest.partition("<!-- end -->")
        assert begin and end, f"{PAGE}: no place for the keys of {name}"
        text = before + block(name, specs, model) + after
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
