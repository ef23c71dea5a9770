"""Connections of a simulated EtherNet/IP target whose replies are struck by faults.

    bytes -> frames, one by one -> EnipConnection -> reply -> Faults.strike -> when and as it says

One request is answered before the next is looked at, so that each reply has its request.
"""

import asyncio
from collections import deque

from cpppod.protocols.enip.encapsulation import Command, Frame, FrameReader
from cpppod.protocols.enip.target.faults import Faults, Message
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.transport.enip_endpoint import Endpoint, EnipConnection

SILENT_COMMANDS = (Command.NOP, Command.UNREGISTER_SESSION)  # they have no reply


def faulty_connection(faults: Faults) -> "type[EnipConnection]":
    """What `Endpoint.connection_type` is to be where those faults are in force."""

    class Faulty(FaultyConnection):
        def __init__(self, endpoint: Endpoint) -> None:
            super().__init__(endpoint, faults)

    return Faulty


class FaultyConnection(EnipConnection):
    """One client of a target that misbehaves."""

    def __init__(self, endpoint: Endpoint, faults: Faults) -> None:
        super().__init__(endpoint)
        self._faults = faults
        self._requests_in = FrameReader()
        self._unanswered: deque[Frame] = deque()
        self._answers_in = FrameReader()
        self._previous = b""
        self._dead = False  # half open
        self._hang_up: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Answer frame by frame."""
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
        self._requests_in.receive_data(data)
        try:
            while (frame := self._requests_in.next_frame()) is not None:
                if frame.command not in SILENT_COMMANDS:
                    self._unanswered.append(frame)
                super().data_received(frame.encode())
        except DecodeError:
            self.abort()

    def _write(self, data: bytes) -> None:
        self._answers_in.receive_data(data)
        while (reply := self._answers_in.next_frame()) is not None:
            request = self._unanswered.popleft() if self._unanswered else Frame(Command.NOP)
            message = self._faults.strike(Message(request, reply, previous=self._previous))
            self._previous = reply.encode()
            self._send(message)

    def _send(self, message: Message) -> None:
        self._dead = self._dead or message.half_open
        out = b"" if self._dead else message.encode()
        delay = self.endpoint.delay() if self.endpoint.delay else 0.0
        piece = message.piece or len(out)
        for number, at in enumerate(range(0, len(out), piece or 1)):
            self._hold(out[at : at + piece], message.delay_s + delay + number * message.pause_s)
        if message.hang_up_s is not None and not self._dead:
            if message.hang_up_s:
                loop = self.endpoint.loop
                self._hang_up = loop.call_later(message.hang_up_s, self._close)
            else:
                self._close()
