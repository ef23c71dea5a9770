"""Routes to devices that relay no CIP: the same answers as from the gateway's own tags."""

from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.objects.identity import IDENTITY_CLASS
from cpppod.protocols.cip.request import Command, Origin, WriteNeeded
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.plant import Device, Group, Listener, LocalTag, Tag
from cpppod.workers.listener.routed import RoutedDevices
from cpppod.workers.listener.target import make_target
from tests.enip_frames import packet, read, request, write

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "x:502",
    groups=(
        Group(
            "slow",
            20.0,
            (
                Tag("level", "1", "DINT", writable=True),
                Tag("name", "2", "STRING", size=20, flat_name="boiler_name"),
                Tag("lamps", "3", "BOOL", length=40),
                Tag("curve", "4", "DINT", length=300),
            ),
            max_age_s=1.0,
        ),
    ),
)
MIXER = Device("mixer", "text", "x:99", groups=(Group("g", 1.0, (Tag("turns", "1", "DINT"),)),))
VALUES = {"level": 42, "name": "north", "lamps": [True] * 40, "curve": list(range(300))}
AGAIN_AT_S = 100.0


class Along:
    """A listener's target, and requests along its route to the boiler."""

    def __init__(self, allotment: Allotment | None = None) -> None:
        self.now = AGAIN_AT_S
        self.allotment = allotment or Allotment()
        self.target: Target = make_target(
            Listener("main", tags=(LocalTag("shift", "DINT"),)),
            (BOILER, MIXER),
            self.allotment,
            random_u32=lambda: 1,
            clock_us=lambda: 0,
        )
        self.commands: list[tuple[Command, Callable[[Any], None], int]] = []
        self.routed = RoutedDevices(
            self.target,
            lambda command, done, deadline_us: self.commands.append((command, done, deadline_us)),
            lambda: int(self.now * 1e6),
        )
        self.sequence = 0
        self.block(**VALUES)

    def block(self, **values: Any) -> None:
        self.sequence += 1
        self.target.image.apply_block(
            "boiler", "slow", publisher="poller-boiler", epoch=1, sequence=self.sequence,
            read_at=self.now, tags=list(values), values=list(values.values()), qualities=0,
            now=self.now,
        )  # fmt: skip

    def ask(self, message: bytes, *, may_write: bool = True, **changes: Any) -> list[bytes]:
        """What is answered, once it is."""
        answers: list[bytes] = []
        fields: dict[str, Any] = {
            "id": 1,
            "source": "10.0.0.1",
            "deadline_us": int((self.now + 5.0) * 1e6),
            "priority_tick": 5,
            "timeout_ticks": 157,
            "route_path": b"",
            "sizes": [len(message)],
            "bodies": message,
            "target": "boiler",
        }
        asked = RouteGroup(**(fields | changes))
        self.routed.serve(asked, message, answers.append, may_write=may_write)
        return answers

    def reply(self, message: bytes, **changes: Any) -> MessageRouterReply:
        (answer,) = self.ask(message, **changes)
        return MessageRouterReply.decode(answer)

    def at_home(self, message: bytes) -> bytes:
        """What the listener answers to the same without a route."""
        outcome = self.target.execute(message, Origin(self.target.image))
        if isinstance(outcome, bytes):
            return outcome
        return self.target.render(message, outcome)  # type: ignore[arg-type]


def fragmented(tag: str, count: int, offset: int) -> bytes:
    return request(0x52, tag, count.to_bytes(2, "little") + offset.to_bytes(4, "little"))


@pytest.mark.parametrize(
    "message",
    [
        lambda tag: read(tag("level")),
        lambda tag: read(tag("level"), 0),
        lambda tag: read(tag("level"), 2),
        lambda tag: read(tag("level"))[:-1],
        lambda tag: read(tag("name")),
        lambda tag: read(tag("lamps")),
        lambda tag: read(tag("lamps"), 2),
        lambda tag: read(tag("lamps"), 40),
        lambda tag: read(tag("lamps") + "[1]"),
        lambda tag: read(tag("curve"), 300),  # cut to the carrier, status 6
        lambda tag: fragmented(tag("curve"), 300, 488),
        lambda tag: read(tag("curve") + "[299]"),
        lambda tag: read(tag("curve") + "[300]"),
        lambda tag: read(tag("nothing")),
        lambda tag: packet([read(tag("level")), read(tag("name"))]),
        lambda tag: request(0x0E, tag("level")),
        lambda tag: b"\x4c\xff",
        lambda tag: b"",
    ],
)
def test_route_answers_as_the_listener_does(message: Callable[..., bytes]) -> None:
    along = Along()
    local = message(lambda tag: f"boiler.{tag}")
    for name in (str, lambda tag: f"boiler.{tag}", lambda tag: f"BOILER.{tag}"):
        assert along.ask(message(name)) == [along.at_home(local)]


def test_value_older_than_its_limit_is_stale_along_a_route_too() -> None:
    along = Along()
    assert along.reply(read("level")).data == b"\xc4\0\x2a\0\0\0"
    along.now += 3.0
    for name in ("level", "boiler.level"):
        stale = along.reply(read(name))
        assert (stale.status, stale.extended) == (0xFF, (0x8002, 3))
    along.block(level=77)
    assert along.reply(read("level")).data == b"\xc4\0\x4d\0\0\0"


def test_reply_is_cut_to_what_the_client_s_connection_holds() -> None:
    along = Along()
    whole = along.reply(read("curve", 300), capacity=1400, carriage=1)
    assert (whole.status, len(whole.data)) == (0, 2 + 1200)
    part = along.reply(read("curve", 300), capacity=502, carriage=1)
    assert part.status == 6
    assert len(part.data) <= 502 + 8 - 4


@pytest.mark.parametrize("name", ["shift", "mixer.turns", "turns", "mixer", "boiler_name"])
def test_only_the_device_s_own_tags_are_along_its_route(name: str) -> None:
    along = Along()
    assert along.at_home(read(name))[2] in (0x00, 0xFF, 0x05)
    assert along.reply(read(name)).status == 0x05


def test_tags_are_listed_along_the_route_under_ids_that_stay() -> None:
    along = Along()
    listing = request(0x55, "@0x6b/0", bytes.fromhex("020001000200"))
    listed = along.reply(listing)
    assert listed.status == 0
    assert b"level" in listed.data
    assert b"turns" not in listed.data
    again = Along(Allotment(along.allotment.plain))
    assert again.reply(listing) == listed


def test_write_leaves_as_a_local_one_and_is_answered_with_what_came_of_it() -> None:
    along = Along()
    answers = along.ask(write("level", 0xC4, b"\5\0\0\0"))
    ((command, done, deadline_us),) = along.commands
    assert command == WriteNeeded("boiler", [["level", 0, [5]]], "10.0.0.1")
    assert deadline_us == int((along.now + 5.0) * 1e6)
    assert answers == []
    along.block(level=5)
    done((0, []))
    assert answers == [b"\xcd\0\0\0"]


def test_reads_behind_a_write_wait_for_it_and_those_of_others_do_not() -> None:
    along = Along()
    written = along.ask(write("level", 0xC4, b"\5\0\0\0"))
    behind = along.ask(read("level"))
    assert along.reply(read("level"), source="10.0.0.2").data == b"\xc4\0\x2a\0\0\0"
    assert (written, behind) == ([], [])
    along.block(level=5)
    along.commands[0][1]((0, []))
    assert behind == [b"\xcc\0\0\0\xc4\0\5\0\0\0"]


def test_write_that_waited_beyond_its_deadline_is_not_sent() -> None:
    along = Along()
    first = along.ask(write("level", 0xC4, b"\5\0\0\0"))
    late = along.ask(write("level", 0xC4, b"\6\0\0\0"))
    along.now += 5.0
    along.commands[0][1]((0x01, [0x0204]))
    assert first == [b"\xcd\0\x01\x01\x04\x02"]
    assert late == []
    assert len(along.commands) == 1


@pytest.mark.parametrize(("name", "may_write"), [("name", True), ("level", False)])
def test_what_may_not_be_written_at_home_may_not_along_the_route(
    name: str, may_write: bool
) -> None:
    along = Along()
    message = write(name, 0xC4, b"\5\0\0\0")
    assert along.reply(message, may_write=may_write).status in (0x0F, 0xFF)
    assert not along.commands


def test_identity_along_the_route_is_the_gateway_s_and_nothing_is_routed_further() -> None:
    along = Along()
    identity = request(0x0E, f"@{IDENTITY_CLASS}/1/7")
    assert along.ask(identity) == [along.at_home(identity)]
    assert along.reply(request(0x54, "@6/1", bytes(40))).status == 0x08


def test_route_to_a_device_that_this_listener_does_not_have_is_a_bad_link() -> None:
    along = Along()
    refused = along.reply(read("level"), target="gone")
    assert (refused.service, refused.status, refused.extended) == (0xD2, 0x01, (0x0312,))
    assert along.reply(read("level"), target="gone", carriage=1).service == 0xCC
