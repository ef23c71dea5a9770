"""Lanes: frames of a session that leave along one route and differ in sender context and request
alone. Those that are known leave in runs, without being understood anew.

    offset  0      12              20       28       30         40                50
            head   sender context  options  timeout  CPF items  Unconnected Send  request  route
            └same┘                 └──────────── same ────────────────────────┘            └same┘

Frames of another length are another lane; where they leave on the same course, they share a run.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.enip.hops import hops_of
from cpppod.protocols.enip.target.departures import Course, Departures
from cpppod.protocols.enip.target.reply_frames import (
    CONTEXT,
    ITEMS,
    OPTIONS,
    TIMEOUT,
    WRAPPED,
    WRAPPED_LENGTH,
    WRAPPER,
    rr_pieces,
    wrapped_shape,
)
from cpppod.protocols.enip.target.slots import Run, Slots

MAX_LANES = 64  # that a session remembers
_NO_STATUS = bytes(4)
# Two items, the null address, data without connection; Unconnected Send to `20 06 24 01`
_RR_ITEMS = b"\2\0\0\0\0\0\xb2\0"
_UNCONNECTED_SEND_HEAD = b"\x52\2\x20\6\x24\1"

Wrap = Callable[..., list[bytes]]


@dataclass(frozen=True, slots=True)
class Lane:
    """Frames of one kind.

    Attributes:
        total, size: bytes of a frame, of its request; `tail` is what stands behind that.
        course: what they leave on, if they have passed no gateway.
        wrap: makes pieces of reply frames of sender contexts and messages.
    """

    total: int
    size: int
    tail: bytes
    course: Course
    wrap: Wrap


class Lanes:
    """The lanes of one session."""

    def __init__(self, session: Any, slots: Slots, departures: Departures) -> None:
        self._session = session
        self._slots = slots
        self._departures = departures
        self._lanes: dict[bytes, Lane] = {}
        self._wraps: dict[bytes, Wrap] = {}

    def learn(self, frame: bytes, command: ForwardNeeded) -> None:
        """Remember that a SendRRData frame leaves, if it is laid out as all clients do."""
        end = WRAPPED + int.from_bytes(frame[WRAPPED_LENGTH:WRAPPED], "little")
        if (
            frame[ITEMS : WRAPPER - 2] != _RR_ITEMS
            or not frame[:CONTEXT].endswith(_NO_STATUS)
            or frame[WRAPPER : WRAPPED_LENGTH - 2] != _UNCONNECTED_SEND_HEAD
            or frame[WRAPPED:end] != command.request
            or WRAPPER + int.from_bytes(frame[WRAPPER - 2 : WRAPPER], "little") != len(frame)
        ):
            return
        if len(self._lanes) >= MAX_LANES:
            self._lanes.clear()
            self._wraps.clear()
        ours, timeout = frame[4:8] + _NO_STATUS, frame[TIMEOUT:ITEMS]
        wrap = self._wraps.get(timeout)
        if wrap is None:
            wrap = partial(rr_pieces, ours, int.from_bytes(timeout, "little"))
            self._wraps[timeout] = wrap
        course = self._departures.course(replace(command, request=b"", hops=0))
        self._lanes[frame[:CONTEXT] + frame[OPTIONS:WRAPPED]] = Lane(
            len(frame), end - WRAPPED, frame[end:], course, wrap
        )

    def leaving(self, data: bytes | bytearray, at: int, since: float) -> tuple[int, Course | None]:
        """Let known requests leave, as many as there is room for.

        Returns:
            The offset of the first frame that stays, and its course where it waits for room.
        """
        lanes, slots = self._lanes, self._slots
        run: _Gathered | None = None
        course: Course | None = None
        while lanes:
            head, before = bytes(data[at : at + CONTEXT]), bytes(data[at + OPTIONS : at + WRAPPED])
            lane = lanes.get(head + before)
            if lane is None or (there := (len(data) - at) // lane.total) < 1:
                course = None
                break
            course = self._course(lane, data, at)
            if run is not None and (run.course is not course or run.wrap is not lane.wrap):
                self._leave(run, since)
                run = None
            if run is None:
                run = _Gathered(course, lane.wrap)
            room = min(slots.room, course.way.room) - len(run.bodies)
            if room <= 0:
                course = None if slots.room <= len(run.bodies) else course
                break
            frames = memoryview(data)[at : at + min(there, room) * lane.total]
            taken = run.take(lane, head, before, frames, relays=self._session.relays)
            if not taken:
                course = None
                break
            at += taken * lane.total
        if run is not None and run.bodies:
            self._leave(run, since)
        return at, course

    def _course(self, lane: Lane, data: bytes | bytearray, at: int) -> Course:
        """What the frame leaves on: where a gateway has sent it, with the hops that it says."""
        if not self._session.relays:
            return lane.course
        hops = hops_of(bytes(data[at + CONTEXT : at + OPTIONS]))
        return self._departures.course(replace(lane.course.command, hops=hops))

    def _leave(self, run: "_Gathered", since: float) -> None:
        sent = Run(self._session, run.contexts, run.wrap)
        self._slots.leave(sent)
        self._departures.leave(run.course, run.bodies, sent, since)


class _Gathered:
    """What leaves as one run: the requests, and the sender contexts of their frames."""

    __slots__ = ("bodies", "contexts", "course", "wrap")

    def __init__(self, course: Course, wrap: Wrap) -> None:
        self.course = course
        self.wrap = wrap
        self.contexts: list[bytes] = []
        self.bodies: list[bytes] = []

    def take(
        self, lane: Lane, head: bytes, before: bytes, frames: memoryview, *, relays: bool
    ) -> int:
        """Take frames of a lane, until one is another's; how many."""
        contexts, bodies, tail = self.contexts, self.bodies, lane.tail
        begin = len(contexts)
        hops = None
        cut = wrapped_shape(lane.total, lane.size).iter_unpack(frames)
        for head_there, context, before_there, body, tail_there in cut:
            if head_there != head or before_there != before or tail_there != tail:
                break
            if relays:
                hops = context[6:] if hops is None else hops
                if context[6:] != hops:
                    break
            contexts.append(context)
            bodies.append(body)
        return len(contexts) - begin
