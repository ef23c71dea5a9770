"""Routed requests to devices that relay no CIP: answered from the image, as the gateway's own tags.

    client ─ Unconnected Send 1/2 ─► listener ─► router   rights, limit and account of the route
             a group along 1/2 ◄─────────────────┘
             execute ─ replies ─► router ─► listener ─► client

Along a route to `boiler` there are the tags of that device and nothing else, each as `level` and as
`boiler.level`. They are the same memory, with the same freshness, as the gateway's own
`boiler.level`, and a write takes the same way. While a client's write is out, its later requests
to that device wait.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip.connection_manager import ForwardOpen, ForwardOpenReply
from cpppod.protocols.cip.failures import refused, unrouted
from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.message_router import (
    REPLY,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.request import (
    UNCONNECTED_CAPACITY,
    Carriage,
    Command,
    Origin,
    Pending,
)
from cpppod.protocols.cip.status import ConnectionStatus, GeneralStatus
from cpppod.protocols.cip.target import Target
from cpppod.workers.listener.target import route_target

Answer = Callable[[bytes], None]
Perform = Callable[[Command, Callable[[Any], None], int], None]


@dataclass(slots=True)
class _Asked:
    """One request of a group, who may do what, and who waits for the reply."""

    group: RouteGroup
    request: bytes
    may_write: bool
    answer: Answer

    @property
    def key(self) -> tuple[str, int, str]:
        """Whose requests wait for each other's writes."""
        return self.group.source, self.group.connection, self.group.target


class RoutedDevices:
    """Serves the devices of one listener's target along routes.

    Args:
        perform: does a command by a deadline (µs, monotonic) and calls back with its result.
        now_us: the monotonic clock.
    """

    def __init__(self, base: Target, perform: Perform, now_us: Callable[[], int]) -> None:
        self._base = base
        self._perform = perform
        self._now_us = now_us
        self._targets: dict[str, Target] = {}
        self._held: dict[tuple[str, int, str], deque[_Asked]] = {}

    def forget(self) -> None:
        """Devices have changed: what can be reached along routes is worked out anew."""
        self._targets.clear()

    def serve(self, group: RouteGroup, request: bytes, answer: Answer, *, may_write: bool) -> None:
        """Answer a request of the group; `answer` is called once, unless its deadline passes."""
        if group.carriage in (Carriage.OPEN, Carriage.CLOSE):
            answer(self._link(group, request))
            return
        asked = _Asked(group, request, may_write, answer)
        held = self._held.get(asked.key)
        if held is not None:
            held.append(asked)
        else:
            self._execute(asked)

    def _link(self, group: RouteGroup, request: bytes) -> bytes:
        """Open or close a connection to the device: it is there as long as its tags are."""
        if group.carriage == Carriage.CLOSE:
            return refused(request, GeneralStatus.SUCCESS)
        if self._target(group.target) is None:
            return refused(
                request,
                GeneralStatus.CONNECTION_FAILURE,
                (ConnectionStatus.LINK_ADDRESS_NOT_VALID,),
            )
        large = request[0] == Service.LARGE_FORWARD_OPEN
        asked = ForwardOpen.decode(MessageRouterRequest.decode(request).data, large=large)
        granted = ForwardOpenReply(
            *(group.connection, asked.to_id, *asked.triad, asked.ot_rpi_us, asked.to_rpi_us)
        )
        return MessageRouterReply(request[0] | REPLY, 0, (), granted.encode()).encode()

    def _execute(self, asked: _Asked) -> None:
        group = asked.group
        target = self._target(group.target)
        if target is None:
            extended = ConnectionStatus.LINK_ADDRESS_NOT_VALID
            path, connected = group.route_path, bool(group.carriage)
            asked.answer(unrouted(asked.request, path, extended, connected=connected))
            return
        now = self._now_us() / 1e6
        target.image.advance(now)
        origin = Origin(
            target.image,
            group.source,
            group.capacity or UNCONNECTED_CAPACITY,
            connected=bool(group.carriage),
            may_write=asked.may_write,
            wrapped=True,
        )
        self._settle(asked, target, target.execute(asked.request, origin))

    def _settle(self, asked: _Asked, target: Target, outcome: bytes | Reply | Pending) -> None:
        if isinstance(outcome, Pending):
            self._held.setdefault(asked.key, deque())
            pending = outcome

            def done(result: Any) -> None:
                self._settle(asked, target, pending.resume(result))

            self._perform(pending.command, done, asked.group.deadline_us)
            return
        if isinstance(outcome, Reply):
            outcome = target.render(asked.request, outcome)
        asked.answer(outcome)
        self._go_on(asked.key)

    def _go_on(self, key: tuple[str, int, str]) -> None:
        """A write has been answered: what waited for it is done, less what came too late."""
        held = self._held.pop(key, None)
        while held:
            asked = held.popleft()
            if asked.group.deadline_us <= self._now_us():
                continue  # the router has answered it
            self._execute(asked)
            if key in self._held:
                self._held[key].extend(held)
                return

    def _target(self, device: str) -> Target | None:
        """The target along a route to `device`; None where it has no tags here."""
        target = self._targets.get(device)
        if target is None:
            target = route_target(self._base, device)
            if target is not None:
                self._targets[device] = target
        return target
