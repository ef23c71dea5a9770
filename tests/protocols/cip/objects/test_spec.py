"""CIP objects are told by manifests: what a controller is made of, and which settings it has."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cpppod import configuration
from cpppod.configuration import sections
from cpppod.gateway import topology
from cpppod.protocols.cip.objects import spec as specs
from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance, constant
from cpppod.protocols.cip.objects.spec import (
    Controller,
    Number,
    ObjectSpec,
    Setting,
    object_specs,
)
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.plant import Worker, from_plain, to_plain
from cpppod.workers.listener.target import make_target
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask

HERE = topology.Directories(Path("/run/cpppod"), Path("/var/lib/cpppod"))

SETTINGS = [
    (spec, key, setting) for spec in object_specs() for key, setting in spec.settings.items()
]


def classes(plc: str) -> list[int]:
    target = Target(random_u32=lambda: 1, clock_us=lambda: 0, personality=PERSONALITIES[plc])
    return sorted(target.classes)


def test_a_controller_has_the_objects_of_its_family() -> None:
    network = [0x01, 0x02, 0x04, 0x06, 0xF4, 0xF5, 0xF6]
    assert classes("slc500") == network
    assert classes("controllogix") == sorted([*network, 0x43, 0x48, 0x64, 0x8B, 0xAC, 0xB2])


def test_no_two_objects_have_one_class_or_one_table() -> None:
    ids = [spec.class_id for spec in object_specs()]
    tables = [spec.table for spec in object_specs() if spec.table]
    assert len(ids) == len(set(ids))
    assert len(tables) == len(set(tables))


def load(text: str, folder: Path) -> configuration.Configuration:
    path = folder / "plant.toml"
    path.write_text(f"[[listener]]\n{text}\n")
    return configuration.load([path], old_files=[])


@pytest.mark.parametrize(
    ("spec", "key", "setting"), SETTINGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_setting_is_taken_up_to_its_limit_and_refused_by_its_place_beyond(
    spec: ObjectSpec, key: str, setting: Setting, tmp_path: Path
) -> None:
    if isinstance(setting, Number):
        most, beyond = f"{setting.most}", f"{setting.most + 1}"
    elif setting.longest:
        most, beyond = f"'{'a' * setting.longest}'", f"'{'a' * (setting.longest + 1)}'"
    else:
        most, beyond = "'10.255.255.255'", "10"
    (listener,) = load(f"{spec.table} = {{ {key} = {most} }}", tmp_path).plant.listeners
    make_target(listener, (), Allotment(), random_u32=lambda: 1, clock_us=lambda: 0)
    with pytest.raises(configuration.ConfigurationError) as refused:
        load(f"{spec.table} = {{ {key} = {beyond} }}", tmp_path)
    assert [problem.path for problem in refused.value.problems] == [
        ("listener", 0, spec.table, key)
    ]


CACHES = (object_specs, sections.object_tables, sections.listener, sections.whole_file)


def forget() -> None:
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module with one object, and the line that names it."""

    def make(controller: Controller) -> CipClass:
        found = CipClass(0x300)
        depth = int(controller.settings["probe"].get("depth", 1))
        found.add(1, CipInstance({1: constant(bytes((depth,)))}))
        return found

    module = ModuleType("probe")
    settings = {"depth": Number(10)}
    spec = ObjectSpec(0x300, make, title="Probe", table="probe", settings=settings)
    monkeypatch.setattr(module, "OBJECTS", (spec,), raising=False)
    monkeypatch.setitem(sys.modules, "cpppod.protocols.cip.objects.probe", module)
    monkeypatch.setattr(specs, "MODULES", (*specs.MODULES, "probe"))
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.usefixtures("probe")
def test_one_line_brings_an_object_with_its_settings(tmp_path: Path) -> None:
    plant = load("probe = { depth = 7 }", tmp_path).plant
    (worker,) = (each for each in topology.workers(plant, 1, HERE) if each.role == "listener")
    travelled = from_plain(Worker, json.loads(json.dumps(to_plain(worker))))
    target = make_target(
        travelled.listeners[0], (), Allotment(), random_u32=lambda: 1, clock_us=lambda: 0
    )
    assert ask(target, request(0x0E, "@0x300/1/1")).data == b"\x07"
    with pytest.raises(configuration.ConfigurationError, match=r"probe\.depth: 11: expected 10 or"):
        load("probe = { depth = 11 }", tmp_path)
