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
        ("1,0", "0100"),
        (" 1 , 0 , 2 , 1.2.3.4 ", "01001207312e322e332e3400"),
        ("bp/0", "0100"),
        ("Backplane/3/enet/1.2.3.4", "01031207312e322e332e3400"),
        ("dhrio-b,5", "0305"),
        ("1/0,2/1.2.3.4", "01001207312e322e332e3400"),
        ('["bp,3"]', "0103"),
        ('[{"port": 1, "link": 0}]', "0100"),
        ('["1/3", {"port": 2, "link": "1.2.3.4"}]', "01031207312e322e332e3400"),
        ("false", ""),
        ("0", ""),
    ],
)
def test_route_path_is_read_from_text(text: str, raw: str) -> None:
    assert epath.encode(epath.parse_route_path(text)).hex() == raw


@pytest.mark.parametrize(
    "text", ["1/256", "1", "x/0", "1/0/2", "[1]", "{", "1,", "1/0/", "1,,0", "bp", "bp/300"]
)
def test_route_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_route_path(text)


def test_link_of_any_bytes_survives_encoding() -> None:
    segments = epath.decode(bytes.fromhex("1202ffe9"))
    assert epath.encode(segments) == bytes.fromhex("1202ffe9")


def test_connection_path_ends_in_an_object_or_a_tag() -> None:
    assert epath.encode(epath.parse_connection_path("1/0/@2/1")).hex() == "010020022401"
    assert epath.to_text(epath.parse_connection_path("1/0/Tag[0].Sub")) == "1/0/Tag[0].Sub"


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("0f0f0005", (Port(15, 5),)),
        ("1f033412 312e32 00", (Port(0x1234, "1.2"),)),
        ("2b00ffffffff", (Logical(LogicalType.ELEMENT, 0xFFFFFFFF),)),  # pycomm3's format 3
        ("80 02 01020304", (epath.SimpleData(b"\1\2\3\4"),)),
    ],
)
def test_rarer_segments_are_read_and_written(raw: str, segments: tuple[Segment, ...]) -> None:
    assert epath.decode(bytes.fromhex(raw)) == segments
    assert epath.decode(epath.encode(segments)) == segments


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("12", "length"),
        ("0f01", "length"),
        ("1200", "port segment"),
        ("1102 0000", "port segment"),
        ("1203 313233", "pad"),
        ("3405 0100010001000101", "key"),
        ("3404 01000100", "length"),
        ("34", "length"),
        ("38ff", "logical"),
        ("2100", "length"),
        ("4405", "network"),
        ("43", "length"),
        ("8002 0102", "length"),
        ("8100", "data"),
        ("9103 4142", "length"),
        ("91", "length"),
        ("6000", "0x60"),
        ("a000", "0xa0"),
        ("c000", "0xc0"),
    ],
)
def test_segment_that_is_cut_short_or_unknown_says_why(raw: str, why: str) -> None:
    with pytest.raises(CipError, match=why) as caught:
        epath.decode(bytes.fromhex(raw))
    assert (caught.value.status, caught.value.extended) == (0x04, (0,))


def test_as_many_segments_as_may_be_are_read() -> None:
    assert len(epath.decode(b"\x28\x01" * epath.MAX_SEGMENTS)) == epath.MAX_SEGMENTS
    with pytest.raises(CipError):
        epath.decode(b"\x28\x01" * (epath.MAX_SEGMENTS + 1))


@pytest.mark.parametrize(
    "segment",
    [
        Logical(LogicalType.ELEMENT, -1),
        Logical(LogicalType.CLASS, 1 << 32),
        Port(0, 0),
        Port(1 << 16, 0),
        Port(1, 256),
        Port(1, -1),
        Port(1, ""),
        Port(1, "a" * 256),
        Port(1, "€.example"),
        Symbol(""),
        Symbol("a" * 256),
        Symbol("Größe €"),
    ],
)
def test_what_a_segment_cannot_say_is_refused_and_never_said_otherwise(segment: Segment) -> None:
    with pytest.raises(EncodeError):
        epath.encode([segment])


@pytest.mark.parametrize(
    "segment",
    [Symbol("a" * 255), Symbol("Größe"), Port(65535, "a" * 255), ElectronicKey(1, 2, 3, 4, 5)],
)
def test_longest_of_each_survives_encoding(segment: Segment) -> None:
    assert epath.decode(epath.encode([segment])) == (segment,)


def test_network_and_data_segments_survive_encoding() -> None:
    segments = (epath.Network(0x43, 7), epath.SimpleData(b"\1\2"))
    assert epath.decode(epath.encode(segments)) == segments


def test_tag_s_indices_follow_their_component() -> None:
    assert epath.parse_tag(" Program:Main. Tag [1, 02].Member[3] ") == (
        Symbol("Program:Main"),
        Symbol("Tag"),
        Logical(LogicalType.ELEMENT, 1),
        Logical(LogicalType.ELEMENT, 2),
        Symbol("Member"),
        Logical(LogicalType.ELEMENT, 3),
    )


@pytest.mark.parametrize(
    "text",
    ["", "a..b", ".a", "a[", "a[]", "a[x]", "a]", "a[1 2]", "a[,]", "a[1,]", "a[1,,2]", "[1]"],
)
def test_tag_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_tag(text)


CLASS, INSTANCE, ATTRIBUTE, ELEMENT, POINT = (
    LogicalType.CLASS,
    LogicalType.INSTANCE,
    LogicalType.ATTRIBUTE,
    LogicalType.ELEMENT,
    LogicalType.CONNECTION_POINT,
)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("@0x93/010/0b11/4", [(CLASS, 0x93), (INSTANCE, 10), (ATTRIBUTE, 3), (ELEMENT, 4)]),
        ('@4/{"connection":100}', [(CLASS, 4), (POINT, 100)]),
        ('@{"class":4}/5/3', [(CLASS, 4), (INSTANCE, 5), (ATTRIBUTE, 3)]),
        ('@{"class":4,"instance":1}/3', [(CLASS, 4), (INSTANCE, 1), (ATTRIBUTE, 3)]),
        ('@4/{"element":2}', [(CLASS, 4), (ELEMENT, 2)]),
    ],
)
def test_numeric_path_is_read_by_place_or_by_name(
    text: str, segments: list[tuple[LogicalType, int]]
) -> None:
    assert epath.parse_path(text) == tuple(Logical(kind, value) for kind, value in segments)


@pytest.mark.parametrize(
    "text",
    ["@1/2/3/4/5", "@1/x", "@", "@1//2", '@{"class"', "@{}/{1}", '@{"colour":1}', '@{"class":"a"}',
     '@{"symbolic":5}'],
)  # fmt: skip
def test_numeric_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_path(text)


def test_path_of_nothing_has_no_segments_and_json_may_name_a_symbol() -> None:
    assert epath.parse_path("  ") == ()
    assert epath.parse_numeric('{"symbolic":"Tag"}') == (Symbol("Tag"),)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1/0/@2/1", "1/0/@0x02/1"),
        ("1,0,@2/1", "1/0/@0x02/1"),
        ("bp/0/Tag[1,2].Sub", "1/0/Tag[1][2].Sub"),
        ('["1/0", {"class": 2}, {"instance": 1}]', "1/0/@0x02/1"),
        ('[{"port": 2, "link": "10.0.0.5"}, "@4/100"]', "2/10.0.0.5/@0x04/100"),
        ('[[{"port": 1, "link": 3}], {"symbolic": "Tag", "element": 4}]', "1/3/Tag[4]"),
        ('@4/{"connection":100}', '@0x04/{"connection":100}'),
        ("@4", "@0x04"),
        ("", ""),
    ],
)
def test_connection_path_is_read_from_text_or_json_and_written_for_people(
    text: str, written: str
) -> None:
    assert epath.to_text(epath.parse_connection_path(text)) == written


@pytest.mark.parametrize("text", ["[1", "[1]", '[{"port":1}]', '[{"colour":1}]', "1/999/a/b[x]"])
def test_connection_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_connection_path(text)


def test_segments_without_a_text_of_their_own_are_told_by_their_kind() -> None:
    segments: list[Segment] = [ElectronicKey(1, 2, 3, 4, 5), Logical(LogicalType.ELEMENT, 3)]
    assert epath.to_text(segments) == "@ElectronicKey/3"


@pytest.mark.parametrize(
    "text",
    ['{"port": 1}', '{"port": true, "link": 0}', '{"port": 65536, "link": 0}', '"1/0"', "1/0/x/1",
     '[{"port": 1, "link": 256}]', "1/a b", "65536/1", "0/1"],
)  # fmt: skip
def test_route_path_of_a_senseless_port_or_link_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        epath.parse_route_path(text)


def test_ports_are_split_from_what_follows_them() -> None:
    path = epath.parse_connection_path("1/0/2/1.2.3.4/@2/1")
    assert epath.split_ports(path) == (path[:2], path[2:])
    assert epath.split_ports(()) == ((), ())
