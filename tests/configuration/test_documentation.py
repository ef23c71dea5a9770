"""docs/configuration.md names every key, and its example loads."""

import re
from pathlib import Path

import pytest

from cpppod import configuration
from cpppod.configuration import sections
from cpppod.workers.settings import Section

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
PLAIN: list[type[Section]] = [
    sections.Gateway,
    sections.Limits,
    sections.listener(),
    *sections.object_tables().values(),
    sections.LocalTag,
    sections.Structure,
    sections.Member,
    sections.Route,
    sections.Line,
    sections.Rs485,
    sections.Device,
    *(model for _spec, model in sections.drivers().values()),
    sections.Group,
    sections.Tag,
    sections.Computed,
]
PREFIXED: dict[str, type[Section]] = {
    **{section: model for section, (_, model) in sections.outlet_sections().items()},
    "control": sections.Control,
}


@pytest.mark.parametrize("model", PLAIN, ids=lambda model: model.__name__)
def test_every_key_is_described(model: type[Section]) -> None:
    missing = [key for key in model.model_fields if f"`{key}`" not in TEXT and key != "group"]
    assert not missing


@pytest.mark.parametrize("name", PREFIXED)
def test_every_key_of_a_single_section_is_described(name: str) -> None:
    missing = [key for key in PREFIXED[name].model_fields if f"`{name}.{key}`" not in TEXT]
    assert not missing


def test_the_example_loads(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.toml"
        path.write_text(example)
        assert configuration.load([path], old_files=[]).plant.devices
