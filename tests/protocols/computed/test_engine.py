"""Computed tags evaluated as blocks arrive: order, groups, quality and whom to blame."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.computed.engine import ComputedTag, Definition, Engine, Names, Source, plan
from cpppod.protocols.computed.sources import (
    NEVER_S,
    add_definitions,
    definitions_of,
    device_of,
    known_names,
)
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Tag
from cpppod.protocols.model.values import Quality, explain, quality

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "10.0.0.7:502",
    groups=(
        Group(
            "fast",
            0.2,
            (Tag("flow", "1"), Tag("speed", "2", flat_name="rpm"), Tag("zones", "3", length=4)),
        ),
        Group("slow", 10.0, (Tag("level", "4"), Tag("mode", "5", "STRING")), max_age_s=40.0),
    ),
)
LISTENERS = (
    Listener("main", tags=(LocalTag("shift", "INT"), LocalTag("table", "INT", (2, 3)))),
    Listener("other", tags=(LocalTag("shift", "INT"),)),
)
SECOND = 1_000_000


def planned(**expressions: str) -> tuple[list[ComputedTag], dict[Any, str]]:
    definitions = [
        Definition("computed", name, text, "STRING" if name.startswith("text") else "LREAL")
        for name, text in expressions.items()
    ]
    names = known_names((BOILER,), LISTENERS)
    add_definitions(names, definitions)
    tags, problems = plan(definitions, names)
    return tags, {key[1]: why for key, why in problems.items()}


def engine(**expressions: str) -> Engine:
    tags, problems = planned(**expressions)
    assert not problems
    return Engine(tags)


def block(on: Engine, group: str, second: float = 1.0, device: str = "boiler", **tags: Any) -> Any:
    """What a block of good values, or of (None, quality), makes of the computed tags."""
    samples = [
        (name, *(each if isinstance(each, tuple) else (each, 0))) for name, each in tags.items()
    ]
    at = int(second * SECOND)
    if not on.take(device, group, samples, source_us=at, mono_us=at):
        return {}
    return {
        name: sample
        for result in on.evaluate((device, group))
        for name, sample in result.samples.items()
    }


def test_tags_are_found_by_device_flat_name_local_name_and_computed_name() -> None:
    tags, problems = planned(
        one="boiler.flow + RPM + Boiler.Zones[3]",
        two="shift + table[5]",
        three="one + computed.two",
    )
    assert not problems
    assert [tag.definition.name for tag in tags] == ["one", "two", "three"]
    assert set(tags[2].leaves) == {("boiler", "fast"), ("local", "main")}


def test_what_cannot_be_read_is_said() -> None:
    _, problems = planned(
        a="boiler.flo",
        b="boiler.zones",
        c="boiler.zones[4]",
        d="boiler.flow[0]",
        e="1 + 2",
        f="flow",
        g="1 +",
    )
    assert problems["a"] == "boiler.flo is no tag"
    assert problems["b"] == "boiler.zones is an array: name an element, as [0]"
    assert problems["c"] == "boiler.zones[4]: boiler.zones has no such element"
    assert problems["d"] == "boiler.flow[0]: boiler.flow has no such element"
    assert problems["e"] == "it reads no tag: nothing would ever evaluate it"
    assert problems["f"] == "flow is no tag; there is boiler.flow"
    assert problems["g"].startswith("no expression")


def test_rings_are_refused_and_named_and_the_order_is_by_what_is_read() -> None:
    tags, problems = planned(
        a="b + boiler.flow", b="c", c="a", own="own + 1", last="first", first="boiler.flow"
    )
    assert problems["a"] == problems["b"] == problems["c"] == "a ring: a -> b -> c -> a"
    assert problems["own"] == "a ring: own -> own"
    assert [tag.definition.name for tag in tags] == ["first", "last"]


def test_a_long_chain_is_evaluated_in_one_pass() -> None:
    chain = {f"t{number}": f"t{number + 1} + 1" for number in range(2000)}
    on = engine(**chain, t2000="boiler.flow")
    assert block(on, "fast", flow=1)["t0"] == (2001.0, 0)


def test_a_group_is_of_the_tags_that_come_from_the_same_groups() -> None:
    tags, _ = planned(a="boiler.flow", b="boiler.speed + a", c="boiler.level", d="a + c")
    assert {tag.definition.name: tag.group for tag in tags} == {
        "a": "boiler_fast",
        "b": "boiler_fast",
        "c": "boiler_slow",
        "d": "boiler_fast_boiler_slow",
    }
    records = {name: Tag(name, "") for name in "abcd"}
    device = device_of("computed", tags, records)
    limits = {group.name: (group.period_s, group.stale_after_s) for group in device.groups}
    assert limits["boiler_fast"] == (0.2, 3.0)
    assert limits["boiler_fast_boiler_slow"] == (0.2, 40.0)
    assert device.options["inputs"]["b"] == ["boiler.speed", "a"]
    local, _ = planned(a="shift")
    (group,) = device_of("computed", local, records).groups
    assert group.stale_after_s == NEVER_S


def test_what_a_plan_says_is_found_again_in_the_records() -> None:
    tags, _ = planned(a="boiler.flow * 2")
    device = device_of("computed", tags, {"a": Tag("a", "boiler.flow * 2", "LREAL")})
    assert definitions_of((BOILER, device)) == [tags[0].definition]


def test_names_of_groups_that_run_together_keep_apart() -> None:
    names = Names()
    names.add("x.a", Source("a_b", "c", "a"))
    names.add("y.a", Source("a", "b_c", "a"))
    tags, _ = plan([Definition("d", "p", "x.a"), Definition("d", "q", "y.a")], names)
    assert len({tag.group for tag in tags}) == 2


def test_quality_comes_with_the_number_of_the_tag_to_blame() -> None:
    on = engine(a="boiler.flow / boiler.speed", b="a * 2", c="default(a, -1)", d="good(a)")
    found = block(on, "fast", flow=6, speed=2)
    assert found == {"a": (3.0, 0), "b": (6.0, 0), "c": (3.0, 0), "d": (1.0, 0)}
    found = block(on, "fast", speed=(None, quality(Quality.DEVICE_STATUS, status=2)))
    value, worth = found["a"]
    assert (value, worth & 0xFFFF, worth >> 16) == (None, 0x0214, 2)
    inputs = ["boiler.flow", "boiler.speed"]
    assert explain(worth, inputs) == "device refused (status 0x02): boiler.speed"
    assert found["b"][1] == 0x0001_0214
    assert (found["c"], found["d"]) == ((-1.0, 0), (0.0, 0))


def test_a_division_by_zero_blames_the_divisor() -> None:
    on = engine(a="boiler.flow / (boiler.speed - 2)", b="boiler.flow % 0")
    found = block(on, "fast", flow=6, speed=2)
    assert explain(found["a"][1], ["boiler.flow", "boiler.speed"]) == "infinite: boiler.speed"
    assert found["b"][0] is None


def test_what_has_no_result_is_bad_and_never_a_number() -> None:
    on = engine(
        a="log(boiler.flow)", b="exp(boiler.flow + 1000)", text="boiler.flow", c="boiler.mode",
        d="rate(boiler.flow)",
    )  # fmt: skip
    found = block(on, "fast", flow=-1) | block(on, "slow", mode="auto")
    codes = {name: (value, worth & 0xFF) for name, (value, worth) in found.items()}
    assert codes["a"] == (None, Quality.NOT_A_NUMBER)
    assert codes["text"] == (None, Quality.BAD)
    assert codes["c"] == (None, Quality.BAD)
    assert codes["d"] == (None, Quality.NOT_YET_KNOWN)
    assert codes["b"] == (None, Quality.OUT_OF_RANGE)


def test_results_are_of_the_tags_type() -> None:
    names = known_names((BOILER,), LISTENERS)
    kinds = {"SINT": None, "DINT": 200, "BOOL": True, "REAL": 200.4}
    definitions = [Definition("d", kind, "boiler.flow", kind) for kind in kinds]
    definitions.append(Definition("d", "STRING", "'on' if boiler.flow else 'off'", "STRING"))
    on = Engine(plan(definitions, names)[0])
    found = {name: value for name, (value, _) in block(on, "fast", flow=200.4).items()}
    assert found == {**kinds, "STRING": "on"}


def test_an_input_that_is_too_old_makes_it_stale() -> None:
    on = engine(a="boiler.flow + boiler.level")
    block(on, "slow", 0, level=1)
    assert block(on, "fast", 39, flow=1)["a"] == (2.0, 0)
    value, worth = block(on, "fast", 40, flow=1)["a"]
    assert (value, worth & 0xFF, worth >> 16) == (2.0, Quality.STALE, 2)
    (result,) = on.evaluate(("boiler", "fast"))
    assert (result.source_us, result.mono_us) == (40 * SECOND, 0 or 40 * SECOND - 0)


def test_an_uncertain_input_makes_it_uncertain_with_its_value() -> None:
    on = engine(a="boiler.flow + 1")
    value, worth = block(on, "fast", flow=(4, int(Quality.UNCERTAIN)))["a"]
    assert (value, worth & 0xFF, worth >> 16) == (5.0, Quality.UNCERTAIN, 1)


def test_a_new_engine_goes_on_with_what_the_old_one_knew() -> None:
    old = engine(total="integral(boiler.flow)", other="rate(boiler.flow)")
    block(old, "fast", 0, flow=2)
    block(old, "fast", 10, flow=2)
    new = engine(total="integral(boiler.flow)", other="rate(boiler.flow, 60)", more="boiler.flow")
    new.continue_from(old)
    assert new.evaluate_all()[0].samples["more"] == (2.0, 0)
    restarted = engine(total="integral(boiler.flow)")
    restarted.load(old.dump())
    assert block(restarted, "fast", 500, flow=1)["total"] == (20.0, 0)  # 490 s nobody looked
    assert block(restarted, "fast", 501, flow=1)["total"] == (21.0, 0)


WRONG: list[Any] = [None, "x", {}, [], {"a": 1}, float("nan"), float("inf"), 10**400]


def test_what_was_kept_of_another_expression_or_is_none_is_not_used() -> None:
    on = engine(total="integral(boiler.flow)")
    never: tuple[dict[str, Any], ...] = (
        {"computed.total": ["integral(boiler.speed)", [[7]]]},
        *({"computed.total": ["integral(boiler.flow)", [[wrong]]]} for wrong in WRONG),
        *({"computed.total": ["integral(boiler.flow)", wrong]} for wrong in WRONG),
        {"computed.total": ["integral(boiler.flow)"]},
        {"computed.total": 3},
        {},
    )
    for kept in never:
        on.load(kept)
    assert block(on, "fast", flow=1)["total"] == (0.0, 0)


def test_other_blocks_cost_nothing() -> None:
    on = engine(a="boiler.flow")
    assert block(on, "fast", device="mixer", flow=1) == {}
    assert on.evaluations == 0


worths = st.sampled_from([0, 0, 0, int(Quality.UNCERTAIN), int(Quality.TIMEOUT), 0x0214])


@given(st.lists(st.tuples(st.integers(-9, 9), worths, st.integers(-9, 9), worths), max_size=20))
def test_any_values_and_qualities_come_to_what_plain_python_says(
    rows: list[tuple[int, int, int, int]],
) -> None:
    on = engine(a="boiler.flow * 10 / boiler.speed if boiler.flow else boiler.speed")
    for second, (flow, of_flow, speed, of_speed) in enumerate(rows):
        samples: dict[str, Any] = {
            name: (None if worth >= 16 else value, worth)
            for name, value, worth in (("flow", flow, of_flow), ("speed", speed, of_speed))
        }
        value, worth = block(on, "fast", second, **samples)["a"]
        bad = next((each for each in (of_flow, of_speed) if each >= 16), 0)
        if bad:
            assert (value, worth & 0xFFFF) == (None, bad)
        elif flow and not speed:
            assert (value, worth) == (None, int(Quality.INFINITE) | 2 << 16)
        else:
            expected = flow * 10 / speed if flow else speed
            assert value == expected
            assert worth & 0xFF == max(of_flow, of_speed)
