"""The operation mini-language; expected dicts as cpppo 5.2.5 prints them."""

from typing import Any

import pytest

from cpppod.protocols.enip.originator.operations import (
    OperationError,
    as_parsed,
    attribute_operations,
    format_path,
    parse_operations,
    parse_path,
)

REAL, INT, DINT, SINT, SSTRING, STRING, BOOL = 0xCA, 0xC3, 0xC4, 0xC2, 0xDA, 0xD0, 0xC1


def symbol(name: str, *elements: int) -> list[dict[str, Any]]:
    return [{"symbolic": name}, *({"element": element} for element in elements)]


PARSED: list[tuple[str, dict[str, Any]]] = [
    ("Tag", {"path": symbol("Tag")}),
    ("Tag[5]", {"path": symbol("Tag", 5)}),
    ("Tag[0-0]", {"path": symbol("Tag", 0), "elements": 1}),
    ("Tag[1-5]+4", {"offset": 4, "path": symbol("Tag", 1), "elements": 5}),
    ("Tag+4", {"offset": 4, "path": symbol("Tag")}),
    ("Tag*10", {"path": symbol("Tag"), "elements": 10}),
    ("Tag[3]*10", {"path": symbol("Tag", 3), "elements": 10}),
    ("T[1,2,3-4]", {"path": symbol("T", 1, 2, 3), "elements": 2}),
    ("A.B[2].C[3-4]", {"path": [*symbol("A"), *symbol("B", 2), *symbol("C", 3)], "elements": 2}),
    ("Program:Main.Speed", {"path": [*symbol("Program:Main"), *symbol("Speed")]}),
    ("Word.5", {"path": symbol("Word"), "bit": 5}),
    ("@2/1/1", {"path": [{"class": 2}, {"instance": 1}, {"attribute": 1}]}),
    (
        "@0x1FF/01/0x1A[99]",
        {"path": [{"class": 511}, {"instance": 1}, {"attribute": 26}, {"element": 99}]},
    ),
    (
        "@0x1FF/0o1/0b11010",
        {"path": [{"class": 511}, {"instance": 1}, {"attribute": 26}]},
    ),
    (
        "@2/1/1/5",
        {"path": [{"class": 2}, {"instance": 1}, {"attribute": 1}, {"element": 5}]},
    ),
    (
        '@4/5/{"connection":100}',
        {"path": [{"class": 4}, {"instance": 5}, {"connection": 100}]},
    ),
    (
        '@{"class":4}/5/{"connection":100}',
        {"path": [{"class": 4}, {"instance": 5}, {"connection": 100}]},
    ),
    (" Tag [1] = 5 ", {"method": "write", "path": symbol("Tag", 1), "tag_type": INT, "data": [5]}),
    (
        "A_Tag[1-2]=(REAL)111,222",
        {
            "method": "write",
            "path": symbol("A_Tag", 1),
            "elements": 2,
            "tag_type": REAL,
            "data": [111.0, 222.0],
        },
    ),
    ("Tag=1,2.5", {"method": "write", "path": symbol("Tag"), "tag_type": REAL, "data": [1.0, 2.5]}),
    (
        "Tag[0-9]+16=(DINT)4,5,6",
        {
            "method": "write",
            "offset": 16,
            "path": symbol("Tag", 0),
            "elements": 10,
            "tag_type": DINT,
            "data": [4, 5, 6],
        },
    ),
    (
        'Tag=(SSTRING)"a,b","c"',
        {"method": "write", "path": symbol("Tag"), "tag_type": SSTRING, "data": ["a,b", "c"]},
    ),
    (
        "Tag=(STRING)abc , def",
        {"method": "write", "path": symbol("Tag"), "tag_type": STRING, "data": ["abc ", "def"]},
    ),
    (
        "T=(BOOL)true,0,5",
        {"method": "write", "path": symbol("T"), "tag_type": BOOL, "data": [True, False, True]},
    ),
    ("T=(sint)255", {"method": "write", "path": symbol("T"), "tag_type": SINT, "data": [255]}),
    ("T[0-2]=[1,2,3]", {"method": "write", "path": symbol("T", 0), "data": [1, 2, 3]}),
    ("T=0x10,0b11", {"method": "write", "path": symbol("T"), "tag_type": INT, "data": [16, 3]}),
    ('S={"a": 1}', {"method": "write", "path": symbol("S"), "data": [{"a": 1}]}),
    ('T="say ""hi"""', {"method": "write", "path": symbol("T"), "data": ['say "hi"']}),
    ("Motorgröße", {"path": symbol("Motorgröße")}),
]


@pytest.mark.parametrize(("text", "expected"), PARSED, ids=[text for text, _ in PARSED])
def test_an_operation_becomes_the_documented_dict(text: str, expected: dict[str, Any]) -> None:
    (parsed,) = parse_operations([text])
    if "method" in expected:
        expected = {"elements": len(expected["data"]), "tag_type": parsed["tag_type"]} | expected
    assert parsed == expected


MISTAKES = [
    ("Tag[5-3]", 6, "a range ends before it begins"),
    ("Tag[1", 5, "']' is missing"),
    ("Tag[1]x", 6, "unexpected 'x'"),
    ("Tag[a]", 4, "expected an index"),
    ("Tag[-1]", 4, "expected an index"),
    ("Tag[0-9]*3", 8, "the range has 10 elements, not 3"),
    ("@2/x", 3, "expected an instance number"),
    ("@2//1", 3, "expected an instance number"),
    ("@2/1/1/1/1", 9, "4 default segments"),
    ("@70000/1", 1, "a class number is 0 to 65535"),
    ('@4/{"class":', 12, "not JSON"),
    ("@4/{}", 3, "a segment is an object"),
    ("A[1-2].B", 1, "only the last part"),
    ("Tag=", 4, "a value is missing"),
    ("Tag=1,,2", 6, "a value is missing"),
    ("=5", 0, "a tag's name is missing"),
    ("", 0, "a tag's name is missing"),
    ("Tag=x", 4, "'x' is no INT"),
    ("Tag=(FOO)1", 5, "unknown type 'FOO'"),
    ("Tag=(SINT)256", 10, "256 is no SINT"),
    ('Tag=(INT)"5"', 9, "a INT is not quoted"),
    ("Tag=(REAL)abc", 10, "'abc' is no REAL"),
    ("Tag=(LREAL)x", 11, "'x' is no LREAL"),
    ("Tag=1.5,abc", 8, "'abc' is no REAL"),
    ("Tag=(REAL)1e39", 10, "'1e39' is no REAL: "),
    ("Tag=(LREAL)1e400", 11, "'1e400' is no LREAL: it is too large"),
    ("Tag=(BOOL)maybe", 10, "'maybe' is no BOOL"),
    ("Tag=(DINT)1.5", 10, "'1.5' is no DINT"),
    ("Tag=(STRUCT)5", 12, "'5' is no STRUCT"),
    ('Tag=(DINT){"a": 1}', 10, "a structure is no DINT"),
    (f"Tag=(SSTRING){'x' * 256}", 13, "is no SSTRING: 256 characters, up to 255"),
    (f"Tag=(STRING82){'x' * 83}", 14, "is no STRING82: 83 characters, up to 82"),
    ("Tag=(STRING)π", 12, "'π' is no STRING: "),
    ('Tag="abc', 4, "a quote is never closed"),
    ("Tag[0-2]=1,2", 9, "2 values for 3 elements"),
    ("Tag+4=5", 6, "a write at an offset needs a range"),
    ("Tag[0-9]+3=(DINT)5", 9, "no multiple"),
    ("Tag[0-1]+4=(DINT)5,6", 11, "do not fit"),
    ("π", 0, "ISO-8859-1"),
    ("T.99", 2, "no integer has a bit beyond 63"),
]


@pytest.mark.parametrize(
    ("text", "position", "reason"), MISTAKES, ids=[text for text, _, _ in MISTAKES]
)
def test_a_mistake_is_pointed_at(text: str, position: int, reason: str) -> None:
    with pytest.raises(OperationError) as caught:
        list(parse_operations([text]))
    assert reason in caught.value.reason
    assert caught.value.position == position
    assert caught.value.pointer().splitlines()[1].index("^") == 4 + position


def test_operations_are_taken_one_by_one() -> None:
    taken = []

    def texts() -> Any:
        for number in range(3):
            taken.append(number)
            yield f"T[{number}]"

    operations = parse_operations(texts())
    next(operations)
    assert taken == [0]


def test_dicts_pass_and_extra_keys_are_added() -> None:
    given = {"path": symbol("Tag"), "elements": 2}
    (parsed,) = parse_operations([given], route_path="1/2", send_path="")
    assert parsed == given | {"route_path": "1/2", "send_path": ""}
    assert "route_path" not in given


def test_fragment_makes_every_tag_operation_fragmented() -> None:
    assert [item["offset"] for item in parse_operations(["A", "B=1"], fragment=True)] == [0, 0]


def test_changing_a_parsed_operation_does_not_change_the_next_one() -> None:
    (first,) = parse_operations(["Tag[3]=5"])
    first["path"].append({"element": 9})
    first["data"].append(6)
    (second,) = parse_operations(["Tag[3]=5"])
    assert second["path"] == symbol("Tag", 3)
    assert second["data"] == [5]


def test_attribute_operations_choose_the_attribute_service() -> None:
    texts = ["@1/1", "@1/1/7", "@4/0x96/3 = (INT)1,2", "Tag", "@1/1/7=1,2"]
    assert [item["method"] for item in attribute_operations(texts)] == [
        "get_attributes_all",
        "get_attribute_single",
        "set_attribute_single",
        "get_attribute_single",
        "set_attribute_single",
    ]
    (written,) = attribute_operations(["@4/0x96/3 = (INT)512,0"])
    assert written == {
        "method": "set_attribute_single",
        "path": [{"class": 4}, {"instance": 150}, {"attribute": 3}],
        "tag_type": INT,
        "data": [512, 0],
        "elements": 2,
    }
    (untyped,) = attribute_operations(["@1/1/7=255"])
    assert untyped["tag_type"] == SINT


@pytest.mark.parametrize("text", ["@1", "@1/1=3"])
def test_attribute_operations_refuse_what_names_no_attribute(text: str) -> None:
    with pytest.raises(OperationError):
        list(attribute_operations([text]))


def test_a_path_is_shown_as_it_would_be_typed() -> None:
    for text in ("SCADA[3]", "@0x0001/1/7", "A.B[2].C", '@0x0004/5/{"connection":100}'):
        assert format_path(parse_path(text)) == text


def test_an_operation_beyond_the_limit_is_refused() -> None:
    with pytest.raises(OperationError, match="longer than"):
        list(parse_operations(["T=" + "1," * 32_768 + "1"]))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("A[0-65535]", 4),
        ("A*0", 2),
        ("A*65536", 2),
        ("A[0-3]*3", 6),
        ("A[12abc]", 4),
        ("A[1_0]", 3),
        ("A.3+2", 3),
        ("A.64", 2),
        ("A[0-3].B", 1),
        ('@4/{"colour":1}', 3),
        ('@4/{"class":70000000000}', 3),
        ('@4/{"class":true}', 3),
        ('@4/{"class":"4"}', 3),
        ("@4/{}", 3),
        ("@1/2/3/4/5", 9),
        ("A=(STRUCT)5", 10),
        ('A=(STRUCT){"x": 1} {"x": 2}', 19),
        ('A=(STRUCT){"x": ', 16),
        ("A=(STRUCT)[1]", 10),
        ("A=(REAL)1.5x", 8),
        ('A=(STRING)"a" "b"', 14),
        ("A=[1,2", 2),
        ("A=1e", 2),
    ],
)
def test_what_cannot_be_meant_is_pointed_at(text: str, position: int) -> None:
    with pytest.raises(OperationError) as caught:
        list(parse_operations([text]))
    assert abs(caught.value.position - position) <= 1


def test_name_is_as_long_as_a_segment_holds() -> None:
    assert list(parse_operations(["A" * 255]))
    for name in ("A" * 256, "A" * 256 + "[3]"):
        with pytest.raises(OperationError):
            list(parse_operations([name]))


def test_json_nested_too_deep_is_refused_and_does_not_end_the_program() -> None:
    deep = "[" * 20_000
    for text in ('@4/{"class":' + deep, 'A=(STRUCT){"x":' + deep, "A=(STRUCT){" + "x" * 40_000):
        with pytest.raises(OperationError):
            list(parse_operations([text]))


@pytest.mark.parametrize("text", ["A[0-3]", "A*2", "A.3", "A+4", "", "@"])
def test_path_alone_names_no_range_bit_offset_or_value(text: str) -> None:
    with pytest.raises(OperationError):
        parse_path(text)


def test_dicts_pass_as_they_are_and_texts_are_read() -> None:
    given = {"path": [{"symbolic": "A"}]}
    first, second = as_parsed([given, "B[3]"])
    assert first is given
    assert second == {"path": [{"symbolic": "B"}, {"element": 3}]}


def test_string_of_a_controller_is_written_by_its_handle() -> None:
    (operation,) = parse_operations(['A=(STRING82)"ab"'])
    assert operation["handle"] == 0x0FCE
    assert operation["data"] == ["ab"]
