"""The values that control caches, and what an operator may write."""

from typing import Any

import pytest

from cpppod.protocols.bus.feed import decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Tag, Worker
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.control.writing import NotWritable, target_of, value_of, values_of
from cpppod.workers.values import ValueCache

BOILER = Device(
    "Boiler",
    "modbus-tcp",
    "127.0.0.1:502",
    groups=(
        Group("fast", 0.5, (Tag("pressure", "1", "REAL", unit="bar"), Tag("level", "3"))),
        Group("slow", 10.0, (Tag("hours", "9", "DINT"),)),
    ),
)
PUMP = Device(
    "Boiler2", "modbus-tcp", "127.0.0.1:502", groups=(Group("g", 1.0, (Tag("on", "1"),)),)
)
LOCAL = LocalTag("SCADA", "DINT", (10,))
SETTINGS = Worker(
    "control",
    "control",
    "",
    "",
    "",
    devices=(BOILER, PUMP),
    listeners=(Listener("main", tags=(LOCAL,)),),
)


def cache_of(worker: Worker = SETTINGS) -> ValueCache:
    cache = ValueCache()
    cache.configure(worker)
    return cache


class Feed:
    """A publisher whose blocks go straight into a cache."""

    def __init__(self, cache: ValueCache, epoch: int = 1) -> None:
        self.publisher = Publisher("poller-Boiler", epoch)
        self.cache = cache

    def block(self, mono_s: float, **samples: tuple[Any, int]) -> tuple[bytes, bytes]:
        message = self.publisher.block(
            "Boiler", "fast", 2, samples, source_us=5, gateway_us=6, mono_us=int(mono_s * 1e6)
        )
        self.cache.apply(message[0], decode(message[1]))
        return message


def test_tag_without_a_block_is_not_yet_known() -> None:
    cache = cache_of()
    info = cache.find("boiler.PRESSURE")
    assert info is not None
    reading = cache.reading(info, 0)
    assert (reading.value, reading.quality, reading.age_s) == (None, Quality.NOT_YET_KNOWN, None)


def test_member_that_a_block_does_not_name_is_as_young_as_the_block() -> None:
    cache = cache_of()
    feed = Feed(cache)
    feed.block(1.0, pressure=(4.5, 0), level=(7, 0))
    feed.block(2.0, level=(8, 0))
    info = cache.find("Boiler.pressure")
    assert info is not None
    reading = cache.reading(info, 2_500_000)
    assert (reading.value, reading.quality, reading.age_s) == (4.5, 0, 0.5)
    assert reading.plain()["unit"] == "bar"


def test_good_value_turns_stale_by_its_group_s_limit_and_bad_stays_bad() -> None:
    cache = cache_of()
    status = quality(Quality.DEVICE_STATUS, status=2)
    Feed(cache).block(1.0, pressure=(4.5, 0), level=(None, status))
    readings = {
        info.member: cache.reading(info, 4_000_001) for info in cache.matching(["boiler.[pl]*"])
    }
    assert readings["pressure"].quality == Quality.STALE
    assert readings["level"].quality == status
    assert readings["level"].plain()["reason"] == "device refused (status 0x02)"


def test_older_block_does_not_overwrite_a_newer_one() -> None:
    cache = cache_of()
    feed = Feed(cache)
    first = feed.block(1.0, pressure=(1.0, 0), level=(1, 0))
    feed.block(2.0, pressure=(2.0, 0))
    cache.apply(first[0], decode(first[1]))
    info = cache.find("Boiler.pressure")
    assert info is not None
    assert cache.reading(info, 2_000_000).value == 2.0
    Feed(cache, epoch=2).block(3.0, pressure=(3.0, 0), level=(1, 0))
    assert cache.reading(info, 3_000_000).value == 3.0


def test_repeat_of_the_same_position_fills_what_was_missed() -> None:
    cache = cache_of()
    feed = Feed(cache)
    feed.block(1.0, pressure=(1.0, 0), level=(1, 0))
    late = cache_of()
    repeat = feed.publisher.resend()[0]
    late.apply(repeat[0], decode(repeat[1]))
    late.apply(repeat[0], decode(repeat[1]))
    info = late.find("Boiler.level")
    assert info is not None
    assert late.reading(info, 1_000_000).value == 1


def test_watcher_hears_of_changes_only_and_no_more_after_it_left() -> None:
    cache = cache_of()
    feed = Feed(cache)
    heard: list[list[str]] = []
    leave = cache.watch(lambda infos: heard.append([info.name for info in infos]))
    feed.block(1.0, pressure=(1.0, 0), level=(1, 0))
    feed.block(2.0, pressure=(1.0, 0), level=(2, 0))
    feed.block(3.0)
    leave()
    feed.block(4.0, level=(3, 0))
    assert heard == [["Boiler.pressure", "Boiler.level"], ["Boiler.level"]]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("boiler", ["Boiler.pressure", "Boiler.level", "Boiler.hours"]),
        ("BOILER.p*", ["Boiler.pressure"]),
        ("*.on", ["Boiler2.on"]),
        ("scada", ["SCADA"]),
        ("boiler?", ["Boiler2.on"]),
        ("none", []),
    ],
)
def test_pattern_selects_tags_without_regard_to_case(pattern: str, names: list[str]) -> None:
    assert [info.name for info in cache_of().matching([pattern])] == names


def test_hostile_pattern_is_matched_in_no_time() -> None:
    assert cache_of().matching(["*a" * 30 + "*" * 2_000 + "!"]) == []


def test_values_of_a_tag_that_left_the_configuration_are_forgotten() -> None:
    cache = cache_of()
    Feed(cache).block(1.0, pressure=(1.0, 0), level=(1, 0))
    cache.configure(Worker("control", "control", "", "", "", devices=(PUMP,)))
    cache.configure(SETTINGS)
    info = cache.find("Boiler.pressure")
    assert info is not None
    assert cache.reading(info, 0).quality == Quality.NOT_YET_KNOWN


@pytest.mark.parametrize(
    ("given", "cip_type", "values"),
    [
        ("52.5", "REAL", [52.5]),
        ("-7", "INT", [-7]),
        ("0x10", "UINT", [16]),
        (7.0, "DINT", [7]),
        ("on", "BOOL", [True]),
        (0, "BOOL", [False]),
        ("1,2,3", "INT", [1, 2, 3]),
        ("[1, 2]", "INT", [1, 2]),
        ([1, 2], "REAL", [1.0, 2.0]),
        ("a, b", "STRING", ["a, b"]),
    ],
)
def test_text_becomes_a_value_of_the_tag_s_type(
    given: Any, cip_type: str, values: list[Any]
) -> None:
    found = values_of(given, cip_type)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("given", "cip_type", "words"),
    [
        ("maybe", "BOOL", "neither true nor false"),
        ("32768", "INT", "not in the range of INT"),
        ("-1", "UDINT", "not in the range of UDINT"),
        ("1.5", "DINT", "no whole number"),
        (1.5, "DINT", "no whole number"),
        (True, "DINT", "no whole number"),
        ("nan", "REAL", "no finite number"),
        (None, "REAL", "no number"),
        ("", "INT", "no whole number"),
        ([], "INT", "0 values"),
        ([1] * 1_001, "INT", "1001 values"),
        (7, "STRING", "no text"),
        ("[1, 2", "INT", "not a JSON list"),
        ("1", "MOTOR", "cannot be written from here"),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(given: Any, cip_type: str, words: str) -> None:
    with pytest.raises(NotWritable, match=words):
        values_of(given, cip_type)


@pytest.mark.parametrize("cip_type", ["SINT", "ULINT"])
def test_extremes_of_an_integer_type_are_taken(cip_type: str) -> None:
    from cpppod.protocols.model.values import INTEGER_RANGES

    low, high = INTEGER_RANGES[cip_type]
    assert [value_of(str(low), cip_type), value_of(str(high), cip_type)] == [low, high]


def test_target_names_a_tag_and_its_first_element() -> None:
    assert target_of("boiler.level") == ("boiler.level", 0)
    assert target_of("recipe[12]") == ("recipe", 12)
    for text in ("", "1a", "a[b]", "a[1", "a[-1]", "a b"):
        with pytest.raises(NotWritable):
            target_of(text)
