"""The objects that Logix controllers have beyond others."""

import struct

from cpppod.protocols.cip.personality import PERSONALITIES
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask, controller

CLOCK = "@0x8B/1/11"


def told(data: bytes) -> int:
    (microseconds,) = struct.unpack("<Q", data)
    return int(microseconds)


def test_setting_the_clock_moves_it_and_it_goes_on() -> None:
    target = controller()
    assert told(ask(target, request(0x0E, CLOCK)).data) == 1_000_000
    assert ask(target, request(0x10, "@0x8B/1/6", struct.pack("<Q", 5_000_000))).status == 0
    assert told(ask(target, request(0x0E, CLOCK)).data) == 5_000_001
    assert told(ask(target, request(0x0E, "@0x8B/1/5")).data) == 5_000_002


def test_clock_set_to_its_last_microsecond_begins_anew() -> None:
    target = controller()
    ask(target, request(0x10, "@0x8B/1/6", b"\xff" * 8))
    assert told(ask(target, request(0x0E, CLOCK)).data) == 0


def test_clock_takes_eight_bytes_and_daylight_saving_one() -> None:
    target = controller()
    assert ask(target, request(0x10, "@0x8B/1/6", bytes(7))).status == 0x13
    assert ask(target, request(0x10, "@0x8B/1/10", b"\1")).status == 0
    assert ask(target, request(0x0E, "@0x8B/1/10")).data == b"\1"


def test_controller_tells_another_count_after_a_download() -> None:
    target = controller()
    before = ask(target, request(0x0E, "@0xAC/1/3")).data
    target.remove_tag("Count")
    assert ask(target, request(0x0E, "@0xAC/1/3")).data != before


def test_micro800_has_no_program_name() -> None:
    target = controller(personality=PERSONALITIES["micro800"])
    assert ask(target, request(0x01, "@0x64/1")).status == 0x05
    assert ask(controller(), request(0x01, "@0x64/1")).data == b"\6\0cpppod"
