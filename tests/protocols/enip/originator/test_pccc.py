"""PCCC requests as pycomm3 and libplctag were seen to send them, and targets that lie."""

import struct
from typing import Any

import pytest

from cpppod.protocols.enip.originator.operation_values import OperationError
from cpppod.protocols.enip.originator.pccc import REQUESTER, parse_address, pccc_operations
from cpppod.protocols.enip.originator.session import SessionViolated
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
