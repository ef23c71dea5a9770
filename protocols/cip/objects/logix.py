"""Objects of Logix controllers: program name (0x64), wall clock (0x8B), controller (0xAC).

    0x64  Get Attributes All: STRING with a UINT length (pycomm3 asks it in every open)
    0x8B  6 settable ULINT microseconds  10 USINT daylight saving  11 ULINT microseconds since 1970
    0xAC  1 UINT 2 UINT 3 UDINT 4 UDINT 10 UDINT: clients compare replies to see a download

Source: observed clients (pycomm3, pylogix, gologix).
"""

import struct
from collections.abc import Callable

from cpppod.protocols.cip.objects.attributes import Attribute, CipClass, CipInstance, constant
from cpppod.protocols.cip.objects.spec import ObjectSpec

PROGRAM_NAME_CLASS = 0x64
WALL_CLOCK_CLASS = 0x8B
CONTROLLER_CLASS = 0xAC
TIME_SYNC_CLASS = 0x43  # of this and the next clients ask the revision; there are no instances
QOS_CLASS = 0x48
_ULINT = (1 << 64) - 1  # a clock set to its last microsecond begins anew


def program_name_class(name: str) -> CipClass:
    """The Program Name object."""
    raw = name.encode("iso-8859-1", "replace")
    found = CipClass(PROGRAM_NAME_CLASS)
    found.add(1, CipInstance({1: constant(struct.pack("<H", len(raw)) + raw)}))
    return found


def wall_clock_class(clock_us: Callable[[], int]) -> CipClass:
    """The Wall Clock object; setting it moves an offset, never the machine's own clock."""
    state = {"offset": 0, "daylight": 0}

    def now() -> bytes:
        return struct.pack("<Q", clock_us() + state["offset"] & _ULINT)

    def set_time(data: bytes) -> None:
        state["offset"] = struct.unpack("<Q", data)[0] - clock_us()

    def set_daylight(data: bytes) -> None:
        state["daylight"] = data[0]

    found = CipClass(WALL_CLOCK_CLASS)
    attributes = {
        5: Attribute(now, set_time, 8),
        6: Attribute(now, set_time, 8),
        10: Attribute(lambda: bytes((state["daylight"],)), set_daylight, 1),
        11: Attribute(now),
    }
    found.add(1, CipInstance(attributes))
    return found


def controller_class(change: Callable[[], int]) -> CipClass:
    """The Controller object; `change` counts changes of the tag list."""
    found = CipClass(CONTROLLER_CLASS)
    attributes = {
        1: constant(struct.pack("<H", 5)),
        2: constant(struct.pack("<H", 1)),
        3: Attribute(lambda: struct.pack("<I", change() & 0xFFFFFFFF)),
        4: Attribute(lambda: struct.pack("<I", change() & 0xFFFFFFFF)),
        10: Attribute(lambda: struct.pack("<I", change() & 0xFFFFFFFF)),
    }
    found.add(1, CipInstance(attributes))
    return found


OBJECTS = (
    ObjectSpec(
        PROGRAM_NAME_CLASS, lambda found: program_name_class(found.program_name), logix=True
    ),
    ObjectSpec(WALL_CLOCK_CLASS, lambda found: wall_clock_class(found.clock_us), logix=True),
    ObjectSpec(CONTROLLER_CLASS, lambda found: controller_class(found.tags), logix=True),
    ObjectSpec(TIME_SYNC_CLASS, lambda _: CipClass(TIME_SYNC_CLASS, revision=4), logix=True),
    ObjectSpec(QOS_CLASS, lambda _: CipClass(QOS_CLASS), logix=True),
)
