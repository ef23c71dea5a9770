"""Ways of a request and paths in all the forms in which callers give them."""

from typing import Any

import pytest

from cpppod.protocols.cip.unconnected_send import timeout_s
from cpppod.protocols.enip.originator.route import (
    DIRECT,
    UnconnectedRoute,
    encode_path,
    encode_route_path,
)
from cpppod.protocols.model.errors import EncodeError


def test_request_without_a_way_is_the_very_object_and_costs_nothing() -> None:
    message = b"\x4c\0\1\0"
    assert DIRECT.wrap(message) is message
    assert DIRECT.overhead == 0


def test_wrapper_is_never_longer_than_its_overhead() -> None:
    for route in ("", "1/0", "1/0/2/10.0.0.5"):
        way = UnconnectedRoute(route_path=encode_route_path(route))
        for message in (bytes(10), bytes(11)):
            assert len(way.wrap(message)) <= len(message) + way.overhead
        assert len(way.wrap(bytes(11))) == 11 + way.overhead


def test_way_may_allow_more_time() -> None:
    way = UnconnectedRoute().allowing(7.5)
    assert 7.5 <= timeout_s(way.priority_time_tick, way.timeout_ticks) < 7.6


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        (b"\x20\x01", "2001"),
        ("", ""),
        ("  ", ""),
        ("@6/1", "20062401"),
        ("Tag[3]", "9103546167002803"),
        ([{"symbolic": "T"}], "91015400"),
        ([{"class": 4}, {"instance": 5}, {"connection": 100}], "200424052c64"),
        (
            [{"class": 0x300}, {"attribute": 1}, {"element": 2}],
            "2100000330012802",
        ),
        ([{"port": 1, "link": 0}, {"port": 2}], "01000200"),
        ([{"port": 2, "link": "1.2"}], "1203312e3200"),
    ],
)
def test_path_is_text_segments_or_bytes(path: Any, raw: str) -> None:
    assert encode_path(path).hex() == raw


@pytest.mark.parametrize(
    "segment",
    [
        {},
        {"colour": 1},
        {"class": "1"},
        {"class": 1.0},
        {"class": 1, "instance": 1},
        {"symbolic": 5},
        {"symbolic": None},
        {"symbolic": "T", "element": 3},
        {"symbolic": "10 Ω"},
        {"port": "one", "link": 0},
        {"port": 1, "link": None},
        {"port": 1, "link": 0, "class": 4},
        {"port": 0, "link": 0},
        {"class": -1},
    ],
)
def test_segment_that_says_nothing_or_two_things_is_refused(segment: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        encode_path([segment])


@pytest.mark.parametrize(
    ("route", "raw"),
    [
        (None, ""),
        (False, ""),
        (0, ""),
        ("", ""),
        ([], ""),
        ("0", ""),
        ("1/0", "0100"),
        ({"port": 1, "link": 0}, "0100"),
        ([{"port": 1, "link": 0}, {"port": 2, "link": "1.2.3.4"}], "01001207312e322e332e3400"),
        (["1/0", {"port": 1, "link": 3}], "01000103"),
        ('[{"port": 1, "link": 0}]', "0100"),
    ],
)
def test_route_is_text_dicts_json_or_nothing(route: Any, raw: str) -> None:
    assert encode_route_path(route).hex() == raw


@pytest.mark.parametrize("route", [True, 5, 1.5, "1", [1], [None], {"port": 1}, [["x"]]])
def test_route_that_is_none_is_refused(route: Any) -> None:
    with pytest.raises(EncodeError):
        encode_route_path(route)
