"""Payloads: bytes as the published schema has them, back to what was said, refused where cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.sparkplug.payload import (
    DataType,
    Metric,
    Payload,
    datatype_of,
    decode,
    encode_metric,
)


def test_a_metric_is_what_protobuf_makes_of_it() -> None:
    metric = Metric("T", DataType.INT32, -5, 300, alias=7, properties={"Quality": 192})
    assert encode_metric(metric).hex(" ") == (
        "0a 01 54"  # 1: "T"
        " 10 07"  # 2: alias
        " 18 ac 02"  # 3: 300 ms
        " 20 03"  # 4: Int32
        " 4a 10 0a 07 51 75 61 6c 69 74 79 12 05 08 03 18 c0 01"  # 9: Quality, Int32, 192
        " 50 fb ff ff ff 0f"  # 10: two's complement of 32 bits
    )


@pytest.mark.parametrize(
    ("datatype", "value", "said"),
    [
        (DataType.INT8, -5, "50 fb ff ff ff 0f"),
        (DataType.INT64, -1, "58 ff ff ff ff ff ff ff ff ff 01"),
        (DataType.UINT64, 2**64 - 1, "58 ff ff ff ff ff ff ff ff ff 01"),
        (DataType.UINT32, 2**32 - 1, "58 ff ff ff ff 0f"),
        (DataType.FLOAT, 1.5, "65 00 00 c0 3f"),
        (DataType.DOUBLE, 1.5, "69 00 00 00 00 00 00 f8 3f"),
        (DataType.BOOLEAN, True, "70 01"),
        (DataType.STRING, "é", "7a 02 c3 a9"),
        (DataType.BYTES, b"\x01\x02", "82 01 02 01 02"),
        (DataType.INT32_ARRAY, [1, -1], "82 01 08 01 00 00 00 ff ff ff ff"),
        (DataType.BOOLEAN_ARRAY, [True] + [False] * 8 + [True], "82 01 06 0a 00 00 00 80 40"),
        (DataType.STRING_ARRAY, ["a", ""], "82 01 03 61 00 00"),
        (DataType.UINT32, None, "38 01"),
    ],
)
def test_each_type_of_value_has_its_field(datatype: DataType, value: object, said: str) -> None:
    data = encode_metric(Metric("", datatype, value))
    bare = data.removeprefix(bytes((4 << 3, datatype)))
    assert bare.hex(" ") == said
    assert decode(Payload(1, [Metric("n", datatype, value)]).encode()).metrics[0].value == value


_INTEGERS = {
    DataType.INT8: (8, True),
    DataType.INT16: (16, True),
    DataType.INT32: (32, True),
    DataType.INT64: (64, True),
    DataType.UINT8: (8, False),
    DataType.UINT16: (16, False),
    DataType.UINT32: (32, False),
    DataType.UINT64: (64, False),
}


def _integers() -> st.SearchStrategy[tuple[DataType, int]]:
    return st.sampled_from(sorted(_INTEGERS)).flatmap(
        lambda kind: st.tuples(
            st.just(kind),
            st.integers(
                -(_INTEGERS[kind][1] << _INTEGERS[kind][0] - 1),
                (1 << _INTEGERS[kind][0] - _INTEGERS[kind][1]) - 1,
            ),
        )
    )


_VALUES = st.one_of(
    _integers(),
    st.tuples(st.just(DataType.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(DataType.FLOAT), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just(DataType.BOOLEAN), st.booleans()),
    st.tuples(st.just(DataType.STRING), st.text()),
    st.tuples(st.just(DataType.BOOLEAN_ARRAY), st.lists(st.booleans())),
    st.tuples(st.just(DataType.INT64_ARRAY), st.lists(st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.sampled_from(DataType), st.none()),
)
_METRICS = st.builds(
    lambda name, value, when, alias, historical, properties: Metric(
        name, value[0], value[1], when, alias, historical, properties
    ),
    st.text(max_size=20),
    _VALUES,
    st.integers(0, 2**63),
    st.none() | st.integers(0, 2**63),
    st.booleans(),
    st.dictionaries(st.text(max_size=8), st.integers(-(2**31), 2**31 - 1) | st.text(max_size=8)),
)
_PAYLOADS = st.builds(
    Payload,
    st.integers(0, 2**63),
    st.lists(_METRICS, max_size=5),
    st.none() | st.integers(0, 255),
)


@given(_PAYLOADS)
def test_what_is_said_is_understood(payload: Payload) -> None:
    assert decode(payload.encode()) == payload


@given(_PAYLOADS, st.data())
def test_what_is_cut_off_is_refused_or_less(payload: Payload, data: st.DataObject) -> None:
    whole = payload.encode()
    part = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        decode(part)
    except DecodeError:
        pass


@given(st.binary(max_size=60))
def test_any_bytes_are_a_payload_or_an_error(data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        pass


def test_unknown_fields_are_passed_over() -> None:
    more = bytes.fromhex("2a 02 ff ff 31 0102030405060708 3d 01020304 40 01")
    assert decode(Payload(5, seq=3).encode() + more) == Payload(5, [], 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("08", "cut off"),
        ("0a 05 01", "timestamp|bytes|cut off"),
        ("0a 01 00", "bytes where an integer stands"),
        ("10 01", "integer where bytes stand"),
        ("0b", "wire type 3"),
        ("12 03 0a 01 ff", "UTF-8"),
        ("08 ff ff ff ff ff ff ff ff ff ff 01", "too long"),
        ("12 09 20 20 82 01 04 09 00 00 00", "boolean array cut off"),
        ("12 06 20 18 82 01 01 00", "array"),
        ("12 06 20 20 82 01 01 00", "array"),
        ("12 05 20 09 62 01 00", "number of another size"),
    ],
)
def test_what_no_schema_allows_is_named(data: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode(bytes.fromhex(data))


def test_too_many_metrics_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpppod.protocols.sparkplug.payload.MAX_METRICS", 2)
    with pytest.raises(DecodeError, match="too many"):
        decode(Payload(1, [Metric("n", 3, 1)] * 3).encode())


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (DataType.INT8, 128),
        (DataType.INT32, -(2**31) - 1),
        (DataType.UINT16, -1),
        (DataType.UINT64, 2**64),
        (DataType.INT32, "5"),
        (DataType.FLOAT, 1e300),
        (DataType.DOUBLE, "x"),
        (DataType.STRING, 5),
        (DataType.INT32_ARRAY, [2**31]),
        (16, [1]),
    ],
)
def test_a_value_that_its_type_cannot_say_is_refused(datatype: int, value: object) -> None:
    with pytest.raises(EncodeError):
        Payload(1, [Metric("n", datatype, value)]).encode()


def test_cip_types_are_said_as_every_decoder_reads_them() -> None:
    assert datatype_of("SINT") is datatype_of("INT") is DataType.INT32
    assert datatype_of("STRING") is datatype_of("SSTRING") is DataType.STRING
    assert datatype_of("UDINT") is DataType.INT64
    assert datatype_of("REAL", array=True) is DataType.FLOAT_ARRAY
