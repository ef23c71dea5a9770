"""The settings of text devices: what they make, and that every mistake is named."""

from typing import Any

import pytest

from cpppod.protocols.model.plant import Tag
from cpppod.protocols.text.formats import (
    MAXIMUM_FORMATS,
    MAXIMUM_MAXIMUM,
    check,
    check_tag,
    settings,
)

TABLE = {
    "frames": {
        "a": {"pattern": "a(?P<x>[0-9]+)(?P<y>[0-9]);"},
        "b": {"pattern": "b(?P<x>[0-9]+);", "request": "?b"},
    },
    "commands": {"zero": {"request": "Z {value:.1f}\r\n", "reply": "ZA\r\n"}},
}


def test_a_device_s_keys_go_over_those_of_its_model_one_by_one() -> None:
    made = settings(TABLE, {"frames": {"b": {"request": "B"}}, "encoding": "latin-1"})
    assert made.frames["b"].request == "B"
    assert made.frames["b"].format.pattern == "b(?P<x>[0-9]+);"
    assert made.encoding == "latin-1"
    assert made.spontaneous


def test_an_address_is_a_capture_of_one_frame_or_says_which() -> None:
    made = settings(TABLE, {})
    assert made.find("y") == (made.frames["a"], "y")
    assert made.find("b.x") == (made.frames["b"], "x")
    assert made.find("x") is None
    assert made.find("b.y") is None
    assert list(check_tag(made, Tag("t", "a.x"))) == []
    assert list(check_tag(made, Tag("t", "zero", writable=True))) == []
    problems = [key for key, _, _ in check_tag(made, Tag("t", "x", "UDT", 3, writable=True))]
    assert problems == ["address", "writable", "type", "length"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"colour": 1}, "colour"),
        ({"encoding": "ebcdic"}, "encoding"),
        ({"listen": 1}, "listen"),
        ({"quiet": "yes"}, "quiet"),
        ({"deliver": "some"}, "deliver"),
        ({"queue": 0}, "queue"),
        ({"start": "x"}, "start"),
        ({"start": ["é"]}, "start"),
        ({"frames": 5}, "frames"),
        ({"frames": {"a": {"pattern": "("}}}, "frames.a.pattern"),
        ({"frames": {"a": {"pattern": ""}}}, "frames.a.pattern"),
        ({"frames": {"a": {"pattern": "x*"}}}, "frames.a.pattern"),
        ({"frames": {"a": {"pattern": "(x|y)*x(x|y){30}"}}}, "frames.a.pattern"),
        ({"frames": {"a": {"size": 1}}}, "frames.a.size"),
        ({"frames": {"a": {"maximum": MAXIMUM_MAXIMUM + 1}}}, "frames.a.maximum"),
        ({"frames": {"a": {"checksum": "md5"}}}, "frames.a.checksum"),
        ({"frames": {"a": {"checksum": "xor8"}}}, "frames.a.pattern"),
        ({"frames": {"a": {"values": {"q": {"A": 1}}}}}, "frames.a.values"),
        ({"frames": {"a": {"values": {"x": {"A": "B"}}}}}, "frames.a.values.x"),
        ({"frames": {"a": {"convert": {"x": "roman"}}}}, "frames.a.convert.x"),
        ({"frames": {"a": {"refusals": {"[": "no"}}}}, "frames.a.refusals"),
        ({"commands": {"zero": {"request": "{volume}"}}}, "commands.zero.request"),
        ({"commands": {"zero": {"request": "{value.real}"}}}, "commands.zero.request"),
        ({"commands": {"tare": {}}}, "commands.tare.request"),
    ],
)
def test_every_mistake_is_named_by_its_key(change: dict[str, Any], key: str) -> None:
    made, problems = check(TABLE, change)
    assert made is None
    assert key in [path for path, _, _ in problems]
    with pytest.raises(ValueError, match="expected"):
        settings(TABLE, change)


def test_a_device_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        settings({}, {})


def test_the_number_of_patterns_is_bounded() -> None:
    many = {f"f{n}": {"pattern": f"{n};"} for n in range(MAXIMUM_FORMATS + 1)}
    with pytest.raises(ValueError, match=f"at most {MAXIMUM_FORMATS}"):
        settings({}, {"frames": many})


def test_patterns_that_explode_only_together_are_refused() -> None:
    # each needs a counter of its own; a machine for all has their product
    frames = {f"f{n}": {"pattern": f"(x{{{p}}})*y{n}"} for n, p in enumerate((7, 11, 13, 17, 19))}
    with pytest.raises(ValueError, match="patterns that go together"):
        settings({}, {"frames": frames})
