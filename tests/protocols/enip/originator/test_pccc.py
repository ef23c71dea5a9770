"""PCCC requests as pycomm3 and libplctag were seen to send them, and targets that lie."""

import struct
from typing import Any

import pytest

from cpppod.protocols.enip.originator.operation_values import OperationError
from cpppod.protocols.enip.originator.pccc import (
    REQUESTER,
    PcccAddress,
    parse_address,
    pccc_operations,
)
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.model.errors import EncodeError
from tests.protocols.enip.originator.scripted_target import perform

HEAD = 6 + len(REQUESTER)  # service and path, requester id


def asked(text: str, *, plc5: bool = False, data: bytes = b"") -> bytes:
    """The PCCC message (from its command on) that an operation sends first."""
    seen: list[bytes] = []

    def respond(request: bytes) -> bytes:
        seen.append(request[HEAD:])
        return answer(request, data)

    perform(list(pccc_operations([text], plc5=plc5)), respond)
    return seen[0]


def answer(request: bytes, data: bytes, *, status: int = 0) -> bytes:
    command, _, transaction = struct.unpack_from("<BBH", request, HEAD)
    return (
        b"\xcb\0\0\0" + REQUESTER + struct.pack("<BBH", command | 0x40, status, transaction) + data
    )


def test_the_requests_are_those_of_other_clients() -> None:
    assert asked("N7:1", data=b"\5\0").hex() == "0f000100" + "a2020789" + "0100"
    assert asked("N7:1/3=1").hex() == "0f000100" + "ab0207890100" + "08000800"
    assert asked("N7:1=5").hex() == "0f000100" + "aa0207890100" + "0500"
    assert asked("F8:1=1.5").hex() == "0f000100" + "aa04088a0100" + "0000c03f"
    assert asked("T4:0.ACC", data=b"\7\0").hex() == "0f000100" + "a2020486" + "0002"
    assert asked("N300:1", data=b"\5\0").hex() == "0f000100" + "a202ff2c0189" + "0100"
    assert asked("N7:1*2", plc5=True, data=bytes(4)).hex() == (
        "0f000100" + "01" + "00000200" + "060701" + "04"
    )


READS: list[tuple[str, bytes, list[Any]]] = [
    ("N7:0*3", struct.pack("<3h", 1, -2, 3), [1, -2, 3]),
    ("F8:0", struct.pack("<f", 2.5), [2.5]),
    ("L10:0", struct.pack("<i", -70_000), [-70_000]),
    ("N7:0/3", b"\x08\0", [True]),
    ("N7:0/2", b"\x08\0", [False]),
    ("ST9:0", struct.pack("<H", 3) + b"bac\0".ljust(82, b"\0")[:2] + b"\0c" + bytes(78), ["abc"]),
    (
        "T4:0",
        struct.pack("<Hhh", 0xA000, 100, 7),
        [{"EN": True, "TT": False, "DN": True, "PRE": 100, "ACC": 7}],
    ),
]


@pytest.mark.parametrize(("text", "data", "expected"), READS, ids=[text for text, _, _ in READS])
def test_elements_are_decoded(text: str, data: bytes, expected: list[Any]) -> None:
    operations = list(pccc_operations([text]))
    (result,) = perform(operations, lambda request: answer(request, data))
    assert result.value == expected
    assert result.description.startswith("Single Read  PCCC")


def test_a_long_file_takes_several_messages() -> None:
    memory = struct.pack("<200h", *range(200))

    def respond(request: bytes) -> bytes:
        size, element = request[HEAD + 5], request[HEAD + 8]
        return answer(request, memory[2 * element : 2 * element + size])

    (result,) = perform(list(pccc_operations(["N7:0*200"])), respond)
    assert result.value == list(range(200))


@pytest.mark.parametrize(
    "lie",
    [
        lambda request: answer(request, b"\1"),
        lambda request: answer(request, b"\1\0\2\0"),
        lambda request: answer(request, b"\1\0").replace(REQUESTER, b"\7" + bytes(6)),
        lambda request: answer(request, b"\1\0")[:8],
        lambda request: b"\xcb\0\0\0\xff",
        lambda request: b"\xcb\0\0\0",
    ],
)
def test_a_reply_that_is_not_exactly_what_was_asked_gives_no_value(lie: Any) -> None:
    with pytest.raises(SessionViolated):
        perform(list(pccc_operations(["N7:0"])), lie)


def test_a_refusal_says_which() -> None:
    operations = list(pccc_operations(["N7:0"]))
    (result,) = perform(operations, lambda request: answer(request, b"", status=0x50))
    assert (result.status, result.extended, result.value) == (0x1F, (0x5000,), None)
    assert "memory protected" in result.text
    (result,) = perform(operations, lambda request: answer(request, b"\x07", status=0xF0))
    assert "wrong size" in result.text


@pytest.mark.parametrize(
    ("text", "position"),
    [("X7:0", 0), ("N:", 0), ("ST:0", 2), ("N7:0/16", 5), ("T4:0.FOO", 5), ("N7:0*0", 5)],
)
def test_a_wrong_address_is_pointed_at(text: str, position: int) -> None:
    with pytest.raises(OperationError) as caught:
        list(pccc_operations([text]))
    assert caught.value.position == position


def test_addresses_are_shown_as_typed() -> None:
    for text in ("N7:3", "T4:0.2", "N7:0/5", "F8:1*10"):
        assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["N7:0/3*2", "T4:0.ACC*3", "N7:0/3*2=1,0", "R6:0.POS*2"])
def test_range_of_bits_or_sub_elements_is_refused(text: str) -> None:
    """What lies behind an element's ACC is the next one's CTL."""
    with pytest.raises(OperationError, match="whole elements"):
        list(pccc_operations([text]))


def test_bits_of_a_plc5_are_set_and_cleared_by_masks() -> None:
    assert asked("N7:1/3=1", plc5=True).hex() == "0f000100" + "26060701" + "ffff0800"
    assert asked("N7:1/3=0", plc5=True).hex() == "0f000100" + "26060701" + "f7ff0000"
    assert asked("T4:2.ACC", plc5=True, data=b"\7\0").hex() == (
        "0f000100" + "01" + "00000100" + "0e040202" + "02"
    )
    assert asked("N7:1=5", plc5=True).hex() == "0f000100" + "00" + "00000100" + "060701" + "0500"


def test_strings_are_written_word_by_word_with_their_bytes_swapped() -> None:
    message = asked('ST9:0="abc"')
    assert message.hex().startswith("0f000100" + "aa54098d0000" + "0300" + "6261" + "0063")
    assert len(message) == 4 + 6 + 84


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("T4:0=5", "sub-elements"),
        ("F8:0=1e39", "F8:0"),
        ('ST9:0="' + "x" * 83 + '"', "83 characters"),
        ('ST9:0="10 Ω"', "ST"),
        ("N7:0=65536", "N7:0"),
        ("N7:0*2=1", "1 values for 2"),
        ("N7:0*1001", "1000"),
    ],
)
def test_value_that_a_data_file_cannot_hold_is_refused(text: str, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        perform(list(pccc_operations([text])), lambda request: answer(request, b""))


def test_word_beyond_its_sign_is_written_as_its_bits() -> None:
    assert asked("N7:1=65535").hex().endswith("ffff")


def test_counters_and_controls_are_dicts_of_their_parts() -> None:
    for text, parts in (
        ("C5:0", {"CU": True, "CD": False, "DN": True, "OV": False, "UN": False}),
        ("R6:0", {"EN": True, "EU": False, "DN": True}),
    ):
        names = ("LEN", "POS") if text[0] == "R" else ("PRE", "ACC")
        data = struct.pack("<Hhh", 0xA000, 10, -1)
        (result,) = perform(list(pccc_operations([text])), lambda r, d=data: answer(r, d))  # type: ignore[misc]
        assert result.value == [{**parts, names[0]: 10, names[1]: -1}]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"\xcb\0\x08\0", "service not supported"),
        (b"\xcb\0\x05\1\0\0", "path destination unknown"),
    ],
)
def test_target_without_data_files_says_so_in_cip(reply: bytes, text: str) -> None:
    (result,) = perform(list(pccc_operations(["N7:0"])), lambda _: reply)
    assert result.value is None
    assert text in result.text


@pytest.mark.parametrize(
    ("status", "data", "text"),
    [
        (0x10, b"", "illegal command"),
        (0xF0, b"\x0a", "beyond the file"),
        (0xF0, b"\x99", "refused (0xf0, 0x99)"),
        (0xF0, b"", "refused (0xf0, 0x00)"),
        (0x99, b"", "refused (0x99, 0x00)"),
    ],
)
def test_refusal_of_the_processor_is_told_in_words(status: int, data: bytes, text: str) -> None:
    operations = list(pccc_operations(["N7:0"]))
    (result,) = perform(operations, lambda request: answer(request, data, status=status))
    assert text in result.text


@pytest.mark.parametrize("change", [(HEAD, 0x4E), (HEAD + 2, 9)])
def test_reply_to_another_command_or_transaction_gives_no_value(change: tuple[int, int]) -> None:
    def lie(request: bytes) -> bytes:
        reply = bytearray(answer(request, b"\1\0"))
        place, value = change
        reply[place - 2] = value
        return bytes(reply)

    with pytest.raises(SessionViolated, match="another command"):
        perform(list(pccc_operations(["N7:0"])), lie)


def test_string_longer_than_its_place_gives_no_value() -> None:
    data = struct.pack("<H", 83) + bytes(82)
    with pytest.raises(SessionViolated, match="83 characters"):
        perform(list(pccc_operations(["ST9:0"])), lambda request: answer(request, data))


def test_operations_as_dicts_pass_with_what_is_added_to_all() -> None:
    given = {"path": "N7:0", "method": "pccc_read", "pccc": parse_address("N7:0")}
    assert list(pccc_operations([given], route_path="1/0")) == [{**given, "route_path": "1/0"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("s:1", "S2:1"), ("o:0/3", "O0:0/3"), ("t4:1.pre", "T4:1.1"), ("I:2", "I1:2")],
)
def test_files_without_a_number_are_those_that_every_processor_has(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["N7:0.PRE=99", "B3:0.2", "N7:0.ACC", "F8:0.1", "ST9:0.LEN=3", "F8:0/2=1", "ST9:0/1", "A9:0.1",
     "L10:0.1", "T4:0.LEN", "R6:0.PRE", "C5:0.3", "T4:0/EU", "C5:0/TT", "N7:0/DN", "N7:0/16",
     "L10:0/32", "L10:0/3=1", "T4:0.ACC/DN"],
)  # fmt: skip
def test_what_a_file_type_does_not_have_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(OperationError):
        list(pccc_operations([text]))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("B3/33", PcccAddress("B", 3, 2, None, 1)),
        ("B/5", PcccAddress("B", 3, 0, None, 5)),
        ("T4:0/DN", PcccAddress("T", 4, 0, None, 13)),
        ("c5:2/cu", PcccAddress("C", 5, 2, None, 15)),
        ("R6:1/FD", PcccAddress("R", 6, 1, None, 8)),
        ("L10:0/31", PcccAddress("L", 10, 0, None, 31)),
        ("R6:0.LEN", PcccAddress("R", 6, 0, 1)),
        ("T4:3.2", PcccAddress("T", 4, 3, 2)),
        ("I:1.4/7", PcccAddress("I", 1, 1, 4, 7)),
    ],
)
def test_the_programming_tools_forms_are_understood(text: str, address: PcccAddress) -> None:
    assert parse_address(text) == address
