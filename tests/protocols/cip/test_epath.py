"""Paths as bytes and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.epath import (
    ElectronicKey,
    Logical,
    LogicalType,
    Port,
    Segment,
    Symbol,
)
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("20062401", (Logical(LogicalType.CLASS, 6), Logical(LogicalType.INSTANCE, 1))),
        ("2100060025000100", (Logical(LogicalType.CLASS, 6), Logical(LogicalType.INSTANCE, 1))),
        ("2b0000000100", (Logical(LogicalType.ELEMENT, 65536),)),
        ("9103546167002803", (Symbol("Tag"), Logical(LogicalType.ELEMENT, 3))),
        ("0100", (Port(1, 0),)),
        ("120831302e302e302e35", (Port(2, "10.0.0.5"),)),
        ("340401000e0036008b14", (ElectronicKey(1, 14, 54, 0x8B, 20),)),
        ("4305", (epath.Network(0x43, 5),)),
    ],
)
def test_path_of_real_clients_is_read(raw: str, segments: tuple[Segment, ...]) -> None:
    data = bytes.fromhex(raw)
    if raw.startswith("2b"):
        data = bytes.fromhex("2b0000000100")
    assert epath.decode(data) == segments


@pytest.mark.parametrize(
    "raw", ["20", "3f00", "e000", "9100", "911f41", "3402", "11ff", "80ff", "0000", "12020000"]
)
def test_malformed_path_is_a_segment_error(raw: str) -> None:
    with pytest.raises(CipError) as caught:
        epath.decode(bytes.fromhex(raw))
    assert caught.value.status == 0x04


def test_path_of_too_many_segments_is_refused() -> None:
    with pytest.raises(CipError):
        epath.decode(b"\x28\x01" * 120)


_segments = st.lists(
    st.one_of(
        st.builds(Logical, st.sampled_from(list(LogicalType)[:5]), st.integers(0, (1 << 32) - 1)),
        st.builds(Symbol, st.text("abcXYZ_:09", min_size=1, max_size=40)),
        st.builds(Port, st.integers(1, 65535), st.integers(0, 255)),
    ),
    max_size=8,
)


@given(_segments)
def test_every_path_survives_encoding(segments: list[Segment]) -> None:
    assert epath.decode(epath.encode(segments)) == tuple(segments)


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1/0", "0100"),
        ("1/0/2/1.2.3.4", "01001207312e322e332e3400"),
        ('[{"port": 1, "link": 0}]', "0100"),
        ('["1/3", {"port": 2, "link": "1.2.3.4"}]', "01031207312e322e332e3400"),
        ("false", ""),
        ("0", ""),
    ],
)
def test_route_path_is_read_from_text(text: str, raw: str) -> None:
    assert epath.encode(epath.parse_route_path(text)).hex() == raw


@pytest.mark.parametrize("text", ["1/256", "1", "x/0", "1/0/2", "[1]", "{"])
def test_route_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_route_path(text)


def test_link_of_any_bytes_survives_encoding() -> None:
    segments = epath.decode(bytes.fromhex("1202ffe9"))
    assert epath.encode(segments) == bytes.fromhex("1202ffe9")


def test_connection_path_ends_in_an_object_or_a_tag() -> None:
    assert epath.encode(epath.parse_connection_path("1/0/@2/1")).hex() == "010020022401"
    assert epath.to_text(epath.parse_connection_path("1/0/Tag[0].Sub")) == "1/0/Tag[0].Sub"
