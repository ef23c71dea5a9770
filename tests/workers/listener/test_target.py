"""A listener's target out of its settings, and what it keeps in the state directory."""

import json
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.request import Origin, Pending
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Tag
from cpppod.workers.listener.locals import plain, restore
from cpppod.workers.listener.state import ListenerState
from cpppod.workers.listener.target import (
    make_target,
    problems_of,
    route_target,
    write_check,
)
from cpppod.workers.state import StateDirectory
from tests.enip_frames import read, write

STRUCTURES: dict[str, Any] = {
    "order": [{"name": "number", "type": "DINT"}, {"name": "lines", "type": "line", "length": 2}],
    "line": [{"name": "text", "type": "STRING"}, {"name": "weight", "type": "REAL"}],
}


def target_of(listener: Listener, *devices: Device, allotment: Allotment | None = None) -> Target:
    return make_target(
        listener,
        devices,
        allotment or Allotment(),
        random_u32=lambda: 1,
        clock_us=lambda: 0,
    )


def status(target: Target, message: bytes) -> int:
    outcome = target.execute(message, Origin(target.image))
    return (outcome if isinstance(outcome, bytes) else outcome.render())[2]  # type: ignore[union-attr]


def test_local_tags_have_their_first_values() -> None:
    tags = (
        LocalTag("shift", "DINT", value=3),
        LocalTag("setpoints", "REAL", (4,), value=20.0),
        LocalTag("grid", "INT", (2, 2), value=[[1, 2], [3, 4]]),
        LocalTag("name", "STRING", value="press"),
        LocalTag("job", "order", value={"number": 7, "lines": [{"text": "bolt", "weight": 1.5}]}),
    )
    target = target_of(Listener("main", tags=tags, structures=STRUCTURES))
    values = {name: variable.value for name, variable in target.image.variables.items()}
    assert values["shift"] == 3
    assert values["setpoints"] == [20.0] * 4
    assert values["grid"] == [1, 2, 3, 4]
    assert values["name"] == "press"
    assert values["job"]["lines"][0] == {"text": "bolt", "weight": 1.5}
    assert not target.image.written


def test_device_is_a_structure_whose_tags_are_members_and_may_have_flat_names() -> None:
    tags = (
        Tag("pressure", "1", "INT", scale=0.1, flat_name="boiler_pressure"),
        Tag("alarm", "2", "UINT", bit=3),
        Tag("counters", "3", "DINT", length=4),
    )
    device = Device("boiler", "modbus-tcp", "x:1", groups=(Group("fast", 1.0, tags),))
    target = target_of(Listener("main"), device)
    image = target.image
    structure = image.devices["boiler"].type
    assert isinstance(structure, Structure)
    kinds = {member.name: member.type.name for member in structure.members if not member.hidden}
    assert kinds == {"pressure": "REAL", "alarm": "BOOL", "counters": "DINT"}
    image.apply_block(
        "boiler", "fast", publisher="poller-a", epoch=1, sequence=1, read_at=0.0,
        tags=["pressure", "alarm", "counters"], values=[2.5, True, [1, 2, 3, 4]],
        qualities=0, now=0.0,
    )  # fmt: skip
    for name in ("boiler.pressure", "BOILER_PRESSURE", "boiler.alarm", "boiler.counters[3]"):
        assert status(target, read(name)) == 0
    listed = {entry.name: entry for entry in target.symbols.controller.entries.values()}
    assert listed["boiler_pressure"].type_word == 0x00CA
    assert listed["boiler"].type_word == 0x8000 | structure.template_id


@pytest.mark.parametrize("lenient", [False, True])
def test_writes_of_another_type_are_taken_where_the_listener_is_told_so(lenient: bool) -> None:
    listener = Listener("main", tags=(LocalTag("wide", "DINT"),), lenient_types=lenient)
    tags = (Tag("speed", "1", "DINT", writable=True),)
    device = Device("mill", "modbus-tcp", "x:1", groups=(Group("g", 1.0, tags),))
    target = target_of(listener, device)
    along = route_target(target, "mill")
    assert along is not None
    narrow = b"\5\0"
    assert status(target, write("wide", 0xC3, narrow)) == (0 if lenient else 0xFF)
    for served, name in ((target, "mill.speed"), (along, "speed")):
        outcome = served.execute(write(name, 0xC3, narrow), Origin(served.image))
        assert isinstance(outcome, Pending) is lenient


@pytest.mark.parametrize(("personality", "code"), [("micro800", 0xDA), ("controllogix", 0x02A0)])
def test_text_of_a_micro800_is_a_short_string_and_of_others_a_logix_string(
    personality: str, code: int
) -> None:
    listener = Listener(
        "main", personality=personality, tags=(LocalTag("name", "STRING", value="press"),)
    )
    target = target_of(listener)
    outcome = target.execute(read("name"), Origin(target.image))
    reply = outcome if isinstance(outcome, bytes) else outcome.render()  # type: ignore[union-attr]
    assert int.from_bytes(reply[4:6], "little") == code
    assert b"press" in reply


def test_same_settings_have_the_same_ids_and_changed_layouts_new_ones() -> None:
    allotment = Allotment()
    listener = Listener("main", tags=(LocalTag("job", "order"),), structures=STRUCTURES)
    first = target_of(listener, allotment=allotment).symbols
    again = target_of(listener, allotment=Allotment(allotment.plain)).symbols
    assert first.controller.entries.keys() == again.controller.entries.keys()
    assert first.templates.keys() == again.templates.keys()
    longer = STRUCTURES | {"line": [*STRUCTURES["line"], {"name": "more", "type": "INT"}]}
    changed = Listener("main", tags=listener.tags, structures=longer)
    later = target_of(changed, allotment=Allotment(allotment.plain)).symbols
    assert not {entry.type_word for entry in later.controller.entries.values()} & {
        entry.type_word for entry in first.controller.entries.values()
    }


@pytest.mark.parametrize(
    "listener",
    [
        Listener("main", tags=(LocalTag("x", "FOO"),)),
        Listener("main", tags=(LocalTag("x", "INT", value=1e9),)),
        Listener("main", tags=(LocalTag("x", "INT"), LocalTag("X", "INT"))),
        Listener("main", structures={"a": [{"name": "m", "type": "a"}]}),
        Listener("main", address="nowhere:44818"),
        Listener("main", write_sources=("10.0.0.0/99",)),
        Listener("main", personality="abacus"),
        Listener("main", identity={"serial_number": 1 << 40}),
    ],
)
def test_settings_that_cannot_be_served_are_a_problem_in_words(listener: Listener) -> None:
    (problem,) = problems_of(listener, [], Allotment())
    assert problem.startswith("listener main: ")


def test_addresses_that_may_write_are_those_of_the_networks() -> None:
    allowed = write_check(("10.0.0.0/24",))
    assert allowed("10.0.0.7")
    assert not allowed("10.0.1.7")
    assert write_check(())("192.168.0.1")


def offsets(allotment: Allotment, *tags: Tag) -> dict[str, int]:
    device = Device("boiler", "modbus-tcp", "x:1", groups=(Group("fast", 1.0, tags),))
    again = Allotment(json.loads(json.dumps(allotment.plain)))  # as if restarted
    structure = target_of(Listener("main"), device, allotment=again).image.devices["boiler"].type
    allotment.members = again.members
    assert isinstance(structure, Structure)
    return {member.name: member.offset for member in structure.members if not member.hidden}


def test_a_member_stays_where_clients_know_it_whatever_comes_and_goes() -> None:
    allotment = Allotment()
    level, state, total = Tag("level", "1", "INT"), Tag("state", "2", "BOOL"), Tag("total", "3")
    before = offsets(allotment, level, state, total)
    assert before == {"level": 0, "state": 2, "total": 4}
    assert offsets(allotment, Tag("new", "9"), level, total) == {"level": 0, "total": 4, "new": 6}
    assert offsets(allotment, total, state, level) == before
    changed = offsets(allotment, Tag("level", "1", "REAL"), state, total)
    assert changed == {"state": 2, "total": 4, "level": 8}
    assert offsets(allotment, level, state, total) == before


def test_places_of_an_older_release_are_kept_and_many_gone_tags_let_go() -> None:
    allotment = Allotment({"symbols": {}, "templates": {}, "members": {"boiler": ["b", "x", "a"]}})
    assert offsets(allotment, Tag("a", "1"), Tag("b", "2")) == {"b": 0, "a": 2}
    many = [Tag(f"t{number}", "1") for number in range(150)]
    assert offsets(allotment, *many)["t0"] == 4
    assert offsets(allotment, Tag("z", "1")) == {"z": 0}


def test_ids_and_values_survive_in_the_state_directory(tmp_path: Path) -> None:
    state = ListenerState(StateDirectory(tmp_path), "listener-main")
    assert state.load_ids().symbols == {}
    assert state.load_values() == {}
    state.save_ids({"version": 1, "symbols": {"a": 5}, "templates": {}, "members": {}})
    state.save_values({"a": 1, "b": {"hex": "00ff"}})
    assert state.load_ids().symbol("b") == 6
    assert state.load_values() == {"a": 1, "b": {"hex": "00ff"}}


def test_state_of_a_newer_version_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "symbols").mkdir()
    (tmp_path / "symbols" / "l.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(ProtocolError):
        ListenerState(StateDirectory(tmp_path), "l").load_ids()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (LocalTag("x", "DINT"), 7),
        (LocalTag("x", "REAL", (3,)), [1.0, 2.0, 3.0]),
        (LocalTag("x", "STRING"), "text"),
        (LocalTag("x", "line"), bytes(range(92))),
        (LocalTag("x", "line", (2,)), [bytes(92), bytes(range(92))]),
    ],
)
def test_value_as_the_feed_says_it_restores_the_tag(tag: LocalTag, value: Any) -> None:
    def fresh() -> Variable:
        listener = Listener("main", tags=(tag,), structures=STRUCTURES)
        return target_of(listener).image.variables["x"]

    variable = fresh()
    restore(variable, value)
    assert plain(variable) == value
    other = fresh()
    restore(other, plain(variable))
    assert other.data == variable.data


@pytest.mark.parametrize(
    "value",
    ["text", None, [], {}, {"hex": "zz"}, {"hex": 5}, {"hex": [None]}, 1e999, 1 << 80, {1: 2}],
)
def test_value_that_does_not_fit_leaves_the_tag_as_configured(value: Any) -> None:
    for length in ((), (3,)):
        tag = LocalTag("x", "INT", length, value=[5] * 3 if length else 5)
        variable = target_of(Listener("main", tags=(tag,))).image.variables["x"]
        restore(variable, value)
        assert variable.value == ([5, 5, 5] if length else 5)
