"""The image of devices: freshness, order of blocks, replies that are dropped when tags change."""

from dataclasses import replace

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Image, Variable
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.listener.target import add_device, make_target

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "10.0.0.5:502",
    groups=(
        Group("fast", 0.5, (Tag("pressure", "40001", "REAL"), Tag("burner", "1", "BOOL"))),
        Group("slow", 10.0, (Tag("name", "40010", "STRING", flat_name="boiler_name"),)),
    ),
)


def device_image() -> Image:
    listener = Listener("main", tags=(LocalTag("shift", "DINT"),))
    target = make_target(listener, [BOILER], Allotment(), random_u32=lambda: 1, clock_us=lambda: 0)
    return target.image


def block(
    image: Image,
    sequence: int,
    now: float = 100.0,
    *,
    owner: tuple[str, int] = ("poller-a", 1),
    repeat: bool = False,
    **values: object,
) -> bool:
    return image.apply_block(
        "boiler",
        "fast",
        publisher=owner[0],
        epoch=owner[1],
        sequence=sequence,
        repeat=repeat,
        read_at=now,
        tags=list(values),
        values=list(values.values()),
        qualities=0,
        now=now,
    )


def refused(image: Image, tag: str, now: float = 100.0) -> CipError | None:
    return image.devices["boiler"].samples[tag].refuse(now)


def test_tag_never_read_is_not_yet_known() -> None:
    error = refused(device_image(), "pressure")
    assert error is not None
    assert (error.status, error.extended) == (0xFF, (0x8011, 0xFFFF))


def test_block_makes_its_group_fresh_and_no_other() -> None:
    image = device_image()
    assert block(image, 1, pressure=2.5, burner=True)
    assert refused(image, "pressure") is None
    assert refused(image, "name") is not None


def test_values_older_than_the_group_s_limit_are_stale_with_their_age() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    image.expire(102.9)
    assert refused(image, "pressure") is None
    image.expire(103.0)
    error = refused(image, "pressure", 105.0)
    assert error is not None
    assert error.extended == (0x8002, 5)


def test_unnamed_members_are_confirmed_by_a_later_block() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    image.expire(104.0)
    block(image, 2, now=104.5, pressure=2.6)
    assert refused(image, "burner") is None


def test_older_block_changes_nothing() -> None:
    image = device_image()
    block(image, 5, pressure=2.5, burner=True)
    assert not block(image, 4, pressure=9.9)
    assert image.devices["boiler"].type.unpack(image.devices["boiler"].data)[0]["pressure"] == 2.5


def value_of(image: Image, tag: str) -> object:
    boiler = image.devices["boiler"]
    return boiler.type.unpack(boiler.data)[0][tag]


def test_device_that_moves_to_a_worker_older_than_its_former_owner_is_followed() -> None:
    image = device_image()
    block(image, 50, owner=("poller-young", 2_000), pressure=2.5, burner=True)
    assert block(image, 7, owner=("poller-old", 1_000), pressure=3.5, burner=True)
    assert value_of(image, "pressure") == 3.5


def test_repeat_of_the_block_that_is_here_brings_what_was_lost_before_it() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    block(image, 3, burner=False)  # block 2, which changed the pressure, never came
    assert not block(image, 3, pressure=9.0, burner=True)
    assert block(image, 3, repeat=True, pressure=3.5, burner=False)
    assert value_of(image, "pressure") == 3.5


def test_repeat_of_an_old_block_does_not_make_an_uncertain_tag_good() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    image.set_uncertain("boiler", ["pressure"])
    block(image, 1, repeat=True, pressure=2.5, burner=True)
    assert refused(image, "pressure") is not None
    assert refused(image, "burner") is None


def test_bad_quality_carries_the_device_s_status() -> None:
    image = device_image()
    bad = quality(Quality.DEVICE_STATUS, status=2)
    image.apply_block(
        "boiler", "fast", publisher="poller-a", epoch=1, sequence=1, read_at=99.0,
        tags=["pressure", "burner"], values=[None, True], qualities=[bad, 0], now=100.0,
    )  # fmt: skip
    error = refused(image, "pressure")
    assert error is not None
    assert error.extended == (0x8014, 1, 2)
    assert refused(image, "burner") is None


def test_unknown_write_outcome_makes_the_tag_uncertain_until_it_is_read_again() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    image.set_uncertain("boiler", ["pressure"])
    assert refused(image, "pressure") is not None
    block(image, 2, pressure=2.5)
    assert refused(image, "pressure") is None


def test_inserted_tag_moves_no_other_of_the_device() -> None:
    allotment = Allotment()
    listener = Listener("main")
    make_target(listener, [BOILER], allotment, random_u32=lambda: 1, clock_us=lambda: 0)
    first = Group("first", 1.0, (Tag("new", "40100", "DINT"),))
    changed = Device("boiler", "modbus-tcp", "x:1", groups=(first, *BOILER.groups))
    target = make_target(listener, [changed], allotment, random_u32=lambda: 1, clock_us=lambda: 0)
    structure = target.image.devices["boiler"].type
    assert isinstance(structure, Structure)
    names = [member.name for member in structure.members if not member.hidden]
    assert names == ["pressure", "burner", "name", "new"]


def test_device_declared_anew_keeps_what_did_not_change() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    former, groups = image.devices["boiler"], image.groups_of("boiler")
    listener = Listener("main")
    target = make_target(listener, [], Allotment(), random_u32=lambda: 1, clock_us=lambda: 0)
    variable = add_device(target, BOILER)
    assert variable is not None
    target.image.carry_over(former, variable, groups)
    assert variable.type.unpack(variable.data)[0]["pressure"] == 2.5
    assert variable.samples["pressure"].refuse(100.0) is None


def test_tag_that_was_stale_under_its_former_limit_is_good_once_read_again() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    image.expire(105.0)
    former, groups = image.devices["boiler"], image.groups_of("boiler")
    patient = replace(BOILER, groups=(replace(BOILER.groups[0], max_age_s=60.0),))
    listener = Listener("main")
    target = make_target(listener, [], Allotment(), random_u32=lambda: 1, clock_us=lambda: 0)
    variable = add_device(target, patient)
    assert variable is not None
    target.image.carry_over(former, variable, groups)
    block(target.image, 2, now=106.0, pressure=2.6)
    assert variable.samples["burner"].refuse(106.0) is None


def test_device_s_strings_are_logix_strings() -> None:
    variable = device_image().devices["boiler"]
    assert isinstance(variable.type, Structure)
    member = variable.type.member("name")
    assert member is not None
    assert member.type.size == 88


def test_variable_of_unreasonable_dimensions_is_refused() -> None:
    with pytest.raises(EncodeError, match="dimensions"):
        Variable("big", types.SINT, (5_000_000,))


@pytest.mark.parametrize(("count", "fits"), [(4_000_000, True), (4_000_001, False), (0, False)])
def test_largest_tag_is_held_and_one_element_more_is_not(count: int, fits: bool) -> None:
    if fits:
        assert len(Variable("big", types.SINT, (count,)).data) == count
        return
    with pytest.raises(EncodeError):
        Variable("big", types.SINT, (count,))


def test_tag_of_four_dimensions_is_refused() -> None:
    assert Variable("cube", types.SINT, (2, 2, 2)).length == 8
    with pytest.raises(EncodeError):
        Variable("tesseract", types.SINT, (2, 2, 2, 2))


def test_elements_outside_the_tag_are_not_set() -> None:
    variable = Variable("a", types.INT, (4,))
    for values, first in (([1], -1), ([1], 4), ([1, 2], 3), ([1] * 5, 0)):
        with pytest.raises(EncodeError):
            variable.set(values, first)
    assert variable.get() == [0] * 4


def test_value_that_does_not_fit_leaves_the_elements_before_it_alone() -> None:
    for kind, values in ((types.SINT, [1, 200]), (types.SSTRING, ["a", 5])):
        variable = Variable("a", kind, (2,))
        before = variable.value
        with pytest.raises(EncodeError):
            variable.set(values)
        assert variable.value == before


def test_strings_are_told_one_by_one_and_as_a_whole() -> None:
    variable = Variable("s", types.SSTRING, (3,))
    variable.set(["a", "bc"], 1)
    assert (variable.value, variable.get(1, 1)) == (["", "a", "bc"], ["a"])


def test_whoever_publishes_is_told_once_until_it_has_taken_note() -> None:
    image, told = Image(), []
    first, second = image.add(Variable("a", types.INT)), image.add(Variable("b", types.INT))
    image.notify = lambda: told.append(dict(image.written))
    first.set([1])
    second.set([2])
    assert [list(item) for item in told] == [["a"]]
    assert list(image.written) == ["a", "b"]
    image.written.clear()
    second.set([3])
    assert len(told) == 2


def test_value_that_the_structure_cannot_hold_is_out_of_range_and_none_is_bad() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    block(image, 2, pressure="high", burner=None, unheard_of=1)
    pressure, burner = refused(image, "pressure"), refused(image, "burner")
    assert pressure is not None and burner is not None
    assert (pressure.extended[0], burner.extended[0]) == (0x8016, 0x8010)


def test_write_of_unknown_outcome_makes_nothing_known_that_was_not() -> None:
    image = device_image()
    image.set_uncertain("boiler", ["pressure", "unheard_of"])
    image.set_uncertain("nobody", ["pressure"])
    error = refused(image, "pressure")
    assert error is not None
    assert error.extended[0] == 0x8011


def test_device_that_is_forgotten_takes_no_block_any_more() -> None:
    image = device_image()
    assert set(image.groups_of("boiler")) == {"fast", "slow"}
    image.forget_device("boiler")
    image.forget_device("boiler")
    assert not image.groups_of("boiler")
    variable = next(item for item in image.variables.values() if item.device)
    image.remove(variable)
    assert not image.apply_block(
        "boiler", "fast", publisher="poller-a", epoch=1, sequence=1, read_at=1.0,
        tags=[], values=[], qualities=0, now=1.0,
    )  # fmt: skip


def test_group_that_comes_too_late_is_stale_at_once() -> None:
    image = device_image()
    image.apply_block(
        "boiler", "fast", publisher="poller-a", epoch=1, sequence=1, read_at=90.0,
        tags=["pressure"], values=[2.5], qualities=[0], now=100.0,
    )  # fmt: skip
    error = refused(image, "pressure", 100.0)
    assert error is not None
    assert error.extended == (0x8002, 10)


def test_member_of_another_type_or_in_another_group_is_not_known_before_it_is_read() -> None:
    image = device_image()
    block(image, 1, pressure=2.5, burner=True)
    former, groups = image.devices["boiler"], image.groups_of("boiler")
    changed = Device(
        "boiler",
        "modbus-tcp",
        "x:1",
        groups=(
            Group("fast", 0.5, (Tag("pressure", "1", "LREAL"),)),
            Group("other", 0.5, (Tag("burner", "1", "BOOL"),)),
        ),
    )
    listener = Listener("main")
    target = make_target(listener, [], Allotment(), random_u32=lambda: 1, clock_us=lambda: 0)
    variable = add_device(target, changed)
    assert variable is not None
    target.image.carry_over(former, variable, groups)
    for name in ("pressure", "burner"):
        error = variable.samples[name].refuse(100.0)
        assert error is not None
        assert error.extended[0] == 0x8011
