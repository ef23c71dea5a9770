"""Read, Write and Read-Modify-Write Tag: limits, fragments, kinds of tags, refusals."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.request import CallNeeded, Pending, WriteNeeded
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.listener.target import add_device
from tests.enip_frames import read, request, write
from tests.protocols.cip.conversation import UDT, ask, controller, outcome, pending, resumed, words


def fragment(tag: str, code: int, count: int, offset: int, raw: bytes) -> bytes:
    """Write Tag Fragmented."""
    return request(0x53, tag, struct.pack("<HHI", code, count, offset) + raw)


def read_fragment(tag: str, count: int, offset: int) -> bytes:
    """Read Tag Fragmented."""
    return request(0x52, tag, struct.pack("<HI", count, offset))


def values(target: Target, name: str) -> list[Any]:
    return target.image.variables[name.casefold()].get()


# Fields that are missing or senseless


@pytest.mark.parametrize(
    ("message", "status", "extended"),
    [
        (request(0x4C, "Count", b"\1"), 0x13, ()),
        (request(0x4C, "Count", b"\0\0"), 0x03, ()),
        (request(0x52, "Count", words(1, 0)), 0x13, ()),
        (request(0x4D, "Count", b"\xc4"), 0x13, ()),
        (request(0x4D, "Count", b"\xc4\0\1"), 0x13, ()),
        (request(0x4D, "Motor", b"\xa0\2\1"), 0x13, ()),
        (request(0x4D, "Count", words(0xC4, 0)), 0x03, ()),
        (request(0x53, "Count", words(0xC4, 1)), 0x13, ()),
        (write("Count", 0xC4, bytes(3)), 0x13, ()),
        (write("Row", 0xC3, bytes(22), 11), 0xFF, (0x2105,)),
        (read("Row", 11), 0xFF, (0x2105,)),
        (read("Row[10]"), 0xFF, (0x2105,)),
        (read_fragment("Row", 10, 20), 0xFF, (0x2104,)),
        (read("Row[1,1]"), 0x05, (0,)),
        (read("Count[0,0,0,0]"), 0x04, (0,)),
        (read("Count.Member"), 0x05, (0,)),
        (read("Motor.Nothing"), 0x05, (0,)),
        (read("Motor" + ".Speed" * 17), 0x05, (0,)),
        (request(0x10, "Motor.Speed", b""), 0x13, ()),
        (request(0x4B, "Count"), 0x08, ()),
        (request(0xCC, "Count", b"\1\0"), 0x08, ()),
        (request(0x00, "Count", b"\1\0"), 0x08, ()),
        (b"", 0x13, ()),
        (b"\x4c", 0x13, ()),
        (b"\x4c\x09\x91\x01A\0", 0x13, ()),
        (b"\x4c\x00\x01\x00", 0x04, (0,)),
        (request(0x4C, bytes.fromhex("2801"), words(1)), 0x04, (0,)),
        (request(0x4C, bytes.fromhex("20922401"), words(1)), 0x05, (0,)),
        (request(0x4C, bytes.fromhex("209224013001"), words(1)), 0x05, (0,)),
        (request(0x4C, bytes.fromhex("200224010100"), words(1)), 0x05, (0,)),
    ],
)
def test_request_that_cannot_be_done_is_refused(
    message: bytes, status: int, extended: tuple[int, ...]
) -> None:
    reply = ask(controller(), message)
    assert (reply.status, reply.extended) == (status, extended)


def test_name_inside_a_local_path_of_elements_and_ports_is_a_segment_error() -> None:
    path = bytes.fromhex("9103526f7700 0100")
    assert ask(controller(), request(0x4C, path, words(1))).status == 0x04


# BOOL arrays are DWORDs, and single bits to clients that know no packed arrays


def test_bits_are_written_and_read_one_by_one_from_any_bit_on() -> None:
    target = controller()
    target.image.variables["bits"].set([0xFFFFFFFF, 0])
    assert ask(target, write("Bits[1]", 0xC1, b"\0\1\2\0", 4)).status == 0
    assert values(target, "Bits") == [0xFFFFFFED, 0]
    assert ask(target, read("Bits", 8)).data == b"\xc1\0" + b"\1\0\1\1\0\1\1\1"


def test_bits_past_the_array_are_refused_before_one_is_written() -> None:
    target = controller()
    assert ask(target, write("Bits", 0xC1, b"\1" * 65, 65)).extended == (0x2105,)
    assert ask(target, read("Bits", 65)).extended == (0x2105,)
    assert ask(target, write("Bits", 0xC1, b"\1" * 63, 64)).status == 0x13
    assert values(target, "Bits") == [0, 0]
    assert ask(target, write("Bits", 0xC1, b"\1" * 64, 64)).status == 0


def test_fragments_of_bits_continue_where_the_offset_says() -> None:
    target = controller()
    assert ask(target, fragment("Bits", 0xC1, 64, 0, b"\1" * 40)).status == 0
    assert ask(target, fragment("Bits", 0xC1, 64, 40, b"\1" * 30)).status == 0
    assert values(target, "Bits") == [0xFFFFFFFF, 0xFFFFFFFF]
    reply = ask(target, read_fragment("Bits", 64, 60))
    assert (reply.status, reply.data) == (0, b"\xc1\0\1\1\1\1")
    assert ask(target, read_fragment("Bits", 64, 64)).extended == (0x2104,)


@pytest.mark.parametrize("offset", [1, 64, 1000, 0xFFFFFFFF])
def test_fragment_of_bits_past_its_own_range_is_refused(offset: int) -> None:
    target = controller()
    reply = ask(target, fragment("Bits", 0xC1, 1, offset, b"\1" * 2000))
    assert (reply.status, reply.extended) == (0xFF, (0x2104,))
    assert values(target, "Bits") == [0, 0]


@pytest.mark.parametrize("tag", ["Count", "Row", "Delay.DN", "Bits", "Names"])
def test_fragment_without_data_is_refused(tag: str) -> None:
    code = {"Count": 0xC4, "Row": 0xC3, "Names": 0xD0}.get(tag, 0xC1)
    assert ask(controller(), fragment(tag, code, 1, 0, b"")).status == 0x13


# Strings of varying size


def test_fragments_of_strings_hold_whole_ones_and_continue_behind_them() -> None:
    target = controller()
    first, second = types.STRING.pack(["ab", "c"]), types.STRING.pack(["defg", "h"])
    assert ask(target, fragment("Names", 0xD0, 4, 0, first)).status == 0
    assert ask(target, fragment("Names", 0xD0, 4, len(first), second)).status == 0
    assert values(target, "Names") == ["ab", "c", "defg", "h"]
    reply = ask(target, read_fragment("Names", 4, len(first)), capacity=len(second) + 3)
    assert (reply.status, reply.data) == (0x06, b"\xd0\0" + types.STRING.pack(["defg"]))
    assert ask(target, read_fragment("Names", 4, 1)).extended == (0x2104,)


def test_fragment_of_strings_between_two_of_them_is_refused() -> None:
    target = controller()
    given = types.STRING.pack(["x"])
    assert ask(target, fragment("Names", 0xD0, 4, 1, given)).extended == (0x2104,)
    assert ask(target, fragment("Names", 0xD0, 4, 400, given)).extended == (0x2104,)
    assert values(target, "Names") == [""] * 4


def test_fragment_of_more_strings_than_were_announced_leaves_the_rest_alone() -> None:
    target = controller()
    assert ask(target, fragment("Names", 0xD0, 1, 0, types.STRING.pack(["a", "b"]))).status == 0
    assert values(target, "Names") == ["a", "", "", ""]


# Types that differ


@pytest.mark.parametrize(
    ("tag", "code", "raw", "found"),
    [
        ("Count", 0xC3, words(0xFFFE), [-2]),
        ("Count", 0xC7, words(0xFFFE), [65534]),
        ("Count", 0xD3, bytes.fromhex("ffffffff"), [-1]),
        ("Wide", 0xC4, bytes.fromhex("00000001"), [16777216.0]),
        ("Long", 0xC5, bytes.fromhex("00000000 00002000"), [9007199254740992.0]),
        ("Long", 0xCA, bytes.fromhex("0000c07f"), None),
    ],
)
def test_value_of_another_type_is_a_mismatch_and_is_taken_where_told_so_and_it_stays_the_same(
    tag: str, code: int, raw: bytes, found: list[float] | None
) -> None:
    strict, lenient = controller(), controller(lenient_types=True)
    for target in (strict, lenient):
        target.add_tag(Variable("Wide", types.REAL))
        target.add_tag(Variable("Long", types.LREAL))
    before = values(strict, tag)
    refused = ask(strict, write(tag, code, raw))
    assert (refused.status, refused.extended) == (0xFF, (0x2107,))
    assert values(strict, tag) == before
    assert ask(lenient, write(tag, code, raw)).status == 0
    if found is not None:
        assert values(lenient, tag) == found


@pytest.mark.parametrize("name", sorted(types.BY_NAME))
def test_value_is_taken_by_a_tag_of_its_own_type_and_by_no_other(name: str) -> None:
    kind = types.BY_NAME[name]
    target = controller()
    target.add_tag(Variable("T", kind))
    raw = kind.pack([kind.zero()])
    for other in types.BY_CODE.values():
        reply = ask(target, write("T", other.code, raw))
        expected = (0, ()) if other.code == kind.code else (0xFF, (0x2107,))
        assert (reply.status, reply.extended) == expected, other.name


@pytest.mark.parametrize(
    ("tag", "code", "raw"),
    [
        ("Wide", 0xC4, bytes.fromhex("01000001")),  # 16777217
        ("Wide", 0xC8, bytes.fromhex("ffffffff")),
        ("Long", 0xC5, bytes.fromhex("01000000 00002000")),  # 2**53 + 1
        ("Long", 0xC9, b"\xff" * 8),
    ],
)
def test_integer_that_a_float_cannot_say_is_a_mismatch_even_where_types_may_differ(
    tag: str, code: int, raw: bytes
) -> None:
    target = controller(lenient_types=True)
    target.add_tag(Variable("Wide", types.REAL))
    target.add_tag(Variable("Long", types.LREAL))
    assert ask(target, write(tag, code, raw)).extended == (0x2107,)
    assert values(target, tag) == [0.0]


@pytest.mark.parametrize(
    ("tag", "code", "raw"),
    [
        ("Count", 0xC5, bytes(8)),
        ("Count", 0xCA, bytes(4)),
        ("Count", 0x99, bytes(4)),
        ("Row", 0xC4, bytes(4)),
        ("Motor", 0xC4, bytes(4)),
        ("Names", 0xDA, b"\0"),
        ("Bits", 0xC3, bytes(4)),
    ],
)
def test_value_that_would_lose_bits_is_a_type_mismatch(tag: str, code: int, raw: bytes) -> None:
    assert ask(controller(lenient_types=True), write(tag, code, raw)).extended == (0x2107,)


def test_structure_of_another_handle_is_a_type_mismatch() -> None:
    data = struct.pack("<HHH", 0x02A0, UDT.handle ^ 1, 1) + bytes(UDT.size)
    assert ask(controller(), request(0x4D, "Motor", data)).extended == (0x2107,)


def test_fragment_in_a_narrower_type_is_placed_by_elements() -> None:
    target = controller(lenient_types=True)
    target.add_tag(Variable("Wide", types.DINT, (4,)))
    assert ask(target, fragment("Wide", 0xC3, 4, 4, words(7, 8))).status == 0
    assert values(target, "Wide") == [0, 0, 7, 8]
    assert ask(target, fragment("Wide", 0xC3, 4, 3, words(7))).extended == (0x2107,)
    assert ask(target, fragment("Wide", 0xC4, 4, 16, bytes(4))).extended == (0x2104,)


# Read-Modify-Write


def masks(size: int, turn_on: bytes, keep: bytes) -> bytes:
    return words(size) + turn_on + keep


def test_or_mask_then_and_mask_and_the_rest_stays() -> None:
    target = controller()
    target.image.variables["count"].set([0x0F0F])
    data = masks(4, bytes.fromhex("f0000000"), bytes.fromhex("fffcffff") + bytes(4))
    assert ask(target, request(0x4E, "Count", data)).status == 0
    assert values(target, "Count") == [0x0CFF]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_masks_shorter_than_the_element_leave_the_rest_of_it_alone(size: int) -> None:
    target = controller()
    target.image.variables["count"].set([0x11111111])
    assert ask(target, request(0x4E, "Count", masks(size, bytes(size), bytes(size)))).status == 0
    assert values(target, "Count") == [0x11111111 >> 8 * size << 8 * size]


def test_masks_of_twelve_bytes_are_a_timer_as_a_whole() -> None:
    target = controller()
    timer = target.image.variables["delay"]
    timer.data[:] = bytes(range(12))
    turn_on, keep = b"\x80" + bytes(11), b"\xff" * 8 + bytes(4)
    assert ask(target, request(0x4E, "Delay", masks(12, turn_on, keep))).status == 0
    assert timer.data == b"\x80" + bytes(range(1, 8)) + bytes(4)


@pytest.mark.parametrize(
    ("tag", "data", "status"),
    [
        ("Count", b"\4", 0x13),
        ("Count", masks(4, bytes(4), bytes(3)), 0x13),
        ("Count", masks(8, bytes(8), bytes(8)), 0x03),
        ("Count", masks(12, bytes(12), bytes(12)), 0x03),
        ("Count", masks(3, bytes(3), bytes(3)), 0x03),
        ("Count", masks(0, b"", b""), 0x03),
        ("Delay", masks(16, bytes(16), bytes(16)), 0x03),
        ("Delay", masks(12, bytes(12), bytes(11)), 0x13),
        ("Motor", masks(4, bytes(4), bytes(4)), 0xFF),
        ("Motor.Speed", masks(4, bytes(4), bytes(4)), 0xFF),
        ("Delay.DN", masks(1, bytes(1), bytes(1)), 0xFF),
        ("Names", masks(4, bytes(4), bytes(4)), 0xFF),
    ],
)
def test_read_modify_write_of_what_is_no_integer_of_that_size_is_refused(
    tag: str, data: bytes, status: int
) -> None:
    assert ask(controller(), request(0x4E, tag, data)).status == status


def test_who_may_not_write_neither_writes_nor_modifies() -> None:
    target = controller()
    data = masks(4, b"\1\0\0\0", b"\xff" * 4)
    assert ask(target, request(0x4E, "Count", data), may_write=False).status == 0x0F
    assert ask(target, write("Count", 0xC4, bytes(4)), may_write=False).status == 0x0F
    assert ask(target, request(0x10, "Count", bytes(4)), may_write=False).status == 0x0F


def test_injected_error_answers_every_access() -> None:
    target = controller()
    variable = target.image.variables["count"]
    target.add_tag(Variable("At", types.INT), (0x93, 1, 1))
    for name in ("count", "at"):
        target.set_error(target.image.variables[name], 0x10)
    data = masks(4, bytes(4), bytes(4))
    for message in (
        read("Count"),
        write("Count", 0xC4, bytes(4)),
        request(0x4E, "Count", data),
        request(0x0E, "Count"),
        request(0x10, "Count", bytes(4)),
        request(0x0E, "@0x93/1/1"),
        request(0x10, "@0x93/1/1", bytes(2)),
    ):
        assert ask(target, message).status == 0x10
    target.set_error(variable, 0)
    assert ask(target, read("Count")).status == 0


# Tags of a device


PUMP = Device(
    "pump",
    "modbus-tcp",
    "x:502",
    groups=(
        Group(
            "g",
            1.0,
            (
                Tag("speed", "1", "INT", writable=True),
                Tag("level", "2", "INT"),
                Tag("run", "3", "BOOL", writable=True),
                Tag("alarms", "4", "BOOL", length=64, writable=True),
                Tag("steps", "100", "INT", length=4, writable=True),
            ),
        ),
    ),
)


def gateway(*, fresh: bool = True) -> Target:
    target = controller()
    add_device(target, PUMP)
    if fresh:
        target.image.apply_block(
            "pump",
            "g",
            publisher="poller",
            epoch=1,
            sequence=1,
            read_at=0.0,
            tags=["speed", "level", "run", "alarms", "steps"],
            values=[5, 6, True, [True] * 3 + [False] * 61, [1, 2, 3, 4]],
            qualities=0,
            now=0.0,
        )
    return target


def written(found: Pending) -> list[list[Any]]:
    assert isinstance(found.command, WriteNeeded)
    return found.command.writes


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_bits_of_a_device_that_was_never_read_are_refused_and_not_told_as_zero(count: int) -> None:
    reply = ask(gateway(fresh=False), read("pump.alarms", count))
    assert (reply.status, reply.extended) == (0xFF, (0x8011, 0xFFFF))


def test_bits_of_a_device_are_told_while_fresh() -> None:
    target = gateway()
    assert ask(target, read("pump.alarms", 4)).data == b"\xc1\0\1\1\1\0"
    target.image.now = 5.0
    target.image.expire(5.0)
    assert ask(target, read("pump.alarms", 4)).extended[0] == 0x8002


@pytest.mark.parametrize(
    ("message", "writes"),
    [
        (write("pump.speed", 0xC3, words(7)), [["speed", 0, [7]]]),
        (write("pump.run", 0xC1, b"\1"), [["run", 0, [True]]]),
        (write("pump.steps[1]", 0xC3, words(7, 8), 2), [["steps", 1, [7, 8]]]),
        (fragment("pump.steps", 0xC3, 4, 4, words(9)), [["steps", 2, [9]]]),
        (
            write("pump.alarms[1]", 0xD3, bytes.fromhex("01000080")),
            [["alarms", 32, [True] + [False] * 30 + [True]]],
        ),
        (
            request(0x4E, "pump.speed", words(2) + words(2) + words(0xFFFF)),
            [["speed", 0, [7]]],
        ),
    ],
)
def test_write_leaves_for_the_device_in_its_own_elements(
    message: bytes, writes: list[list[Any]]
) -> None:
    assert written(pending(gateway(), message)) == writes


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (write("pump.level", 0xC3, words(7)), 0x0F),
        (fragment("pump.steps", 0xC3, 4, 3, words(9)), 0x20),
        (write("pump.alarms", 0xC1, b"\1"), 0xFF),
        (request(0x0E, "pump.speed"), 0x08),
        (request(0x0E, "pump"), 0x08),
        (fragment("pump.run", 0xC1, 1, 0, b""), 0x13),
    ],
)
def test_write_that_a_device_cannot_take_is_refused_here(message: bytes, status: int) -> None:
    assert ask(gateway(), message).status == status


def test_whole_device_is_read_and_never_written() -> None:
    target = gateway()
    kind = target.image.variables["pump"].type
    header, raw = kind.header, bytes(target.image.variables["pump"].data)
    assert ask(target, read("pump")).data == header + raw
    assert ask(target, request(0x4D, "pump", header + words(1) + raw)).status == 0x08


def test_read_modify_write_of_what_is_not_fresh_is_refused() -> None:
    data = words(2) + words(2) + words(0xFFFF)
    assert ask(gateway(fresh=False), request(0x4E, "pump.speed", data)).extended[0] == 0x8011


def test_devices_answer_is_the_clients_answer() -> None:
    found = pending(gateway(), write("pump.speed", 0xC3, words(7)))
    assert resumed(found, (0, ())).status == 0
    assert resumed(found, (0xFF, (0x8012, 3))) == MessageRouterReply(0xCD, 0xFF, (0x8012, 3))
    assert resumed(found, TimeoutError("late")).extended == (0x2100,)


# Tags that the user's own object answers


class Own:
    """Answers reads with what it was given, and remembers what was written."""

    def __init__(self, found: Any) -> None:
        self.found = found
        self.written: list[tuple[Any, Any]] = []

    def __getitem__(self, key: Any) -> Any:
        return self.found[key] if isinstance(key, slice) else self.found

    def __setitem__(self, key: Any, value: Any) -> None:
        self.written.append((key, value))


def owned(kind: types.DataType, dimensions: tuple[int, ...], found: Any) -> tuple[Target, Own]:
    own = Own(found)
    return answering(own, kind, dimensions), own


def answering(own: Any, kind: types.DataType, dimensions: tuple[int, ...] = ()) -> Target:
    target = controller()
    variable = Variable("Own", kind, dimensions)
    variable.attribute = own
    target.add_tag(variable, (0x93, 1, 1))
    return target


def called(target: Target, message: bytes, **origin: Any) -> MessageRouterReply:
    """The reply after the user's code has run, as a thread runs it."""
    found = pending(target, message, **origin)
    assert isinstance(found.command, CallNeeded)
    result: Any
    try:
        result = found.command.call()
    except Exception as error:
        result = error
    return resumed(found, result)


def test_users_object_answers_scalars_arrays_and_strings() -> None:
    target, _ = owned(types.INT, (), 7)
    assert called(target, read("Own")).data == words(0xC3, 7)
    target, _ = owned(types.INT, (4,), [1, 2, 3, 4])
    assert called(target, read("Own[1]", 2)).data == words(0xC3, 2, 3)
    assert called(target, read_fragment("Own", 4, 4)).data == words(0xC3, 3, 4)
    part = called(target, read("Own", 4), capacity=10)
    assert (part.status, part.data) == (0x06, words(0xC3, 1, 2))
    target, _ = owned(types.STRING, (2,), ["ab", "c"])
    assert called(target, read("Own", 2)).data == b"\xd0\0" + types.STRING.pack(["ab", "c"])


@pytest.mark.parametrize(
    ("kind", "found"), [(types.SINT, 128), (types.STRING, 5), (types.STRING, "€"), (types.INT, "x")]
)
def test_users_value_that_does_not_fit_the_type_is_refused(
    kind: types.DataType, found: Any
) -> None:
    target, _ = owned(kind, (), found)
    assert called(target, read("Own")).status == 0x09
    assert called(target, request(0x0E, "@0x93/1/1")).status == 0x09


def test_users_object_is_written_by_element_and_by_slice() -> None:
    target, own = owned(types.INT, (4,), [0] * 4)
    assert called(target, write("Own[1]", 0xC3, words(8, 9), 2)).status == 0
    assert called(target, fragment("Own", 0xC3, 4, 4, words(5, 6, 7))).status == 0
    assert own.written == [(slice(1, 3), [8, 9]), (slice(2, 4), [5, 6])]
    target, own = owned(types.INT, (), 0)
    assert called(target, write("Own", 0xC3, words(8))).status == 0
    assert own.written == [(0, 8)]
    target, own = owned(types.STRING, (2,), ["", ""])
    assert called(target, fragment("Own", 0xD0, 2, 0, types.STRING.pack(["a", "b"]))).status == 0
    assert own.written == [(slice(0, 2), ["a", "b"])]


@pytest.mark.parametrize(
    ("kind", "message", "status"),
    [
        (types.INT, fragment("Own", 0xC3, 4, 8, words(5)), 0xFF),
        (types.INT, fragment("Own", 0xC3, 4, 3, words(5)), 0xFF),
        (types.INT, fragment("Own", 0xC3, 4, 0, b"\1"), 0x13),
        (types.INT, write("Own", 0xC3, words(5), 2), 0x13),
        (types.INT, write("Own", 0xC3, words(*range(5)), 5), 0xFF),
        (types.STRING, fragment("Own", 0xD0, 4, 2, types.STRING.pack(["a"])), 0xFF),
        (types.DWORD, write("Own", 0xC1, b"\1"), 0xFF),
        (types.DWORD, read("Own", 5), 0xFF),
        (types.INT, request(0x4E, "Own", words(2, 0, 0)), 0x08),
        (types.INT, request(0x0E, "Own"), 0x08),
        (types.INT, request(0x10, "Own", bytes(8)), 0x08),
    ],
)
def test_access_that_the_users_object_cannot_be_asked_for_is_refused(
    kind: types.DataType, message: bytes, status: int
) -> None:
    target, own = owned(kind, (4,), [0] * 4)
    assert ask(target, message).status == status
    assert not own.written


class HttpError(Exception):
    """Another library's, whose status is none of CIP's."""

    status = 404


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, _key: Any) -> Any:
        raise self.error

    def __setitem__(self, _key: Any, _value: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "extended"),
    [
        (CipError(status=0x0C, extended=(7,)), 0x0C, (7,)),
        (EncodeError("too many", status=0x15), 0x15, ()),
        (EncodeError("no", status=0), 0xFF, (0x2100,)),
        (HttpError(), 0xFF, (0x2100,)),
        (ValueError("no"), 0xFF, (0x2100,)),
    ],
)
def test_users_exception_is_the_status_that_it_carries_or_a_general_error(
    error: Exception, status: int, extended: tuple[int, ...]
) -> None:
    target = answering(Failing(error), types.INT)
    for message in (
        read("Own"),
        write("Own", 0xC3, words(1)),
        request(0x0E, "@0x93/1/1"),
        request(0x10, "@0x93/1/1", words(1)),
    ):
        reply = called(target, message)
        assert (reply.status, reply.extended) == (status, extended)


def test_attribute_services_at_an_address_ask_the_users_object_too() -> None:
    target, own = owned(types.INT, (2,), [3, 4])
    assert called(target, request(0x0E, "@0x93/1/1")).data == words(3, 4)
    assert called(target, request(0x10, "@0x93/1/1", words(5, 6))).status == 0
    assert ask(target, request(0x10, "@0x93/1/1", words(5, 6)), may_write=False).status == 0x0F
    assert own.written == [(slice(0, 2), [5, 6])]
    target, own = owned(types.INT, (), 3)
    assert called(target, request(0x0E, "@0x93/1/1")).data == words(3)
    assert called(target, request(0x10, "@0x93/1/1", words(5))).status == 0
    assert own.written == [(0, 5)]


# Memory that is a tag's, as an attribute


def test_attribute_single_by_name_takes_all_bytes_of_the_tag() -> None:
    target = controller()
    assert ask(target, request(0x10, "Row", words(*range(10)))).status == 0
    assert ask(target, request(0x0E, "Row")).data == words(*range(10))
    assert ask(target, request(0x10, "Row", bytes(19))).status == 0x13
    assert ask(target, request(0x10, "Row", bytes(21))).status == 0x15
    assert ask(target, request(0x10, "Names", types.STRING.pack(["a", "b"]))).status == 0
    assert ask(target, request(0x0E, "Names")).data == types.STRING.pack(["a", "b", "", ""])
    assert ask(target, request(0x10, "Names", types.STRING.pack(["a"] * 5))).status == 0xFF


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("Row[3]", words(3)),
        ("Row", words(*range(10))),
        ("Cube[1,2]", words(12)),
        ("Motor.Counts[2]", bytes.fromhex("07000000")),
        ("Motor.Counts", bytes.fromhex("000000000000000007000000 00000000")),
        ("Motor.Runs", b"\1"),
        ("Names[1]", b"\2\0ab"),
        (bytes.fromhex("20932401 3003 2802"), words(2)),
        (bytes.fromhex("20932401 3003"), words(*range(4))),
    ],
)
def test_attribute_single_takes_as_much_of_a_tag_as_its_path_names(
    path: str | bytes, raw: bytes
) -> None:
    target = controller()
    target.image.variables["row"].set(list(range(10)))
    target.image.variables["names"].set(["a", "ab"])
    target.add_tag(Variable("Cube", types.INT, (2, 6)))
    target.image.variables["cube"].set(list(range(4, 16)))
    target.add_tag(Variable("At", types.INT, (4,)), (0x93, 1, 3))
    target.image.variables["at"].set(list(range(4)))
    motor = target.image.variables["motor"]
    assert ask(target, write("Motor.Runs", 0xC1, b"\1")).status == 0
    assert ask(target, write("Motor.Counts[2]", 0xC4, b"\7\0\0\0")).status == 0
    before = bytes(motor.data)
    assert ask(target, request(0x0E, path)).data == raw
    assert ask(target, request(0x10, path, raw)).status == 0
    assert ask(target, request(0x10, path, raw + b"\0")).status in (0x13, 0x15)
    assert ask(target, request(0x10, path, raw[:-1])).status == 0x13
    assert ask(target, request(0x0E, path)).data == raw
    assert motor.data == before


@pytest.mark.parametrize("path", ["20932401 3003 2801 2800", "20012401 3001 2801"])
def test_attribute_single_of_an_element_that_is_not_there_is_refused(path: str) -> None:
    target = controller()
    target.add_tag(Variable("At", types.INT, (4,)), (0x93, 1, 3))
    assert ask(target, request(0x0E, bytes.fromhex(path))).status == 0x05
    assert ask(target, request(0x0E, bytes.fromhex("20932401 3003 2804"))).extended == (0x2105,)


def test_attribute_that_does_not_fit_the_reply_is_refused_and_not_cut() -> None:
    target = controller()
    assert ask(target, request(0x0E, "Row"), capacity=24).status == 0
    assert ask(target, request(0x0E, "Row"), capacity=23).status == 0x11


def test_read_only_tag_is_not_written_in_any_way() -> None:
    target = controller()
    variable = Variable("Fixed", types.INT)
    variable.writable = False
    target.add_tag(variable, (0x93, 1, 1))
    attempts: list[Callable[[], bytes]] = [
        lambda: write("Fixed", 0xC3, words(1)),
        lambda: fragment("Fixed", 0xC3, 1, 0, words(1)),
        lambda: request(0x4E, "Fixed", words(2, 1, 0xFFFF)),
        lambda: request(0x10, "Fixed", words(1)),
        lambda: request(0x10, "@0x93/1/1", words(1)),
    ]
    assert [ask(target, attempt()).status for attempt in attempts] == [0x0F] * 5
    assert values(target, "Fixed") == [0]


def test_observer_is_told_which_elements_were_read_and_written() -> None:
    target = controller()
    seen: list[tuple[str, str, int, int]] = []
    target.observe = lambda kind, variable, first, count: seen.append(
        (kind, variable.name, first, count)
    )
    ask(target, read("Row[2]", 3))
    ask(target, write("Row[4]", 0xC3, words(1, 2), 2))
    outcome(target, request(0x4D, "Motor", UDT.header + words(1) + bytes(UDT.size)))
    assert seen == [("read", "Row", 2, 3), ("write", "Row", 4, 2), ("write", "Motor", 0, 1)]
