"""What -vv and more of the EtherNet/IP commands log.

-vv     each request as a dict, and what came of it
-vvv    each frame sent and received, as a dict
-vvvv   their bytes besides
"""

import logging

from cpppod.client.results import Result
from cpppod.protocols.enip.described import describe_frame
from cpppod.protocols.enip.encapsulation import FrameReader
from cpppod.protocols.enip.originator.session import OriginatorSession
from cpppod.protocols.model.errors import DecodeError

DETAIL = 23  # level of -vv, between NORMAL (-v) and INFO (-vvv)
REQUESTS, FRAMES, BYTES = 2, 3, 4  # how often -v is given

log = logging.getLogger("enip.trace")


class Trace:
    """Logs the frames of one direction of one connection.

    Args:
        label: what stands in front of each line: `sent`, `received peer=10.0.0.5:49152`.
        reply: whether what passes here are replies.
        raw: whether bytes are logged too.
    """

    def __init__(self, label: str, *, reply: bool, raw: bool) -> None:
        self._label, self._reply, self._raw = label, reply, raw
        self._reader = FrameReader()

    def pass_data(self, data: bytes) -> None:
        """Log what is whole in the stream that `data` continues."""
        if self._raw and data:
            log.log(DETAIL, "%s bytes=%s", self._label, data.hex())
        self._reader.receive_data(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                described = describe_frame(frame, reply=self._reply)
                log.log(DETAIL, "%s frame=%s", self._label, described)
        except DecodeError as error:
            log.log(DETAIL, "%s unreadable=%s", self._label, error)
            self._reader = FrameReader()


class TracedSession(OriginatorSession):
    """A client's session that logs its frames."""

    raw = False

    def __init__(self) -> None:
        super().__init__()
        self._sent = Trace("sent", reply=False, raw=self.raw)
        self._received = Trace("received", reply=True, raw=self.raw)

    def data_to_send(self) -> bytes:
        """The bytes to write now, logged."""
        data = super().data_to_send()
        self._sent.pass_data(data)
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes read from the socket, and log them."""
        self._received.pass_data(data)
        super().receive_data(data)


class RawTracedSession(TracedSession):
    """A client's session that logs its frames and their bytes."""

    raw = True


def session_type(verbose: int) -> type[OriginatorSession]:
    """The session of a client whose command was given -v so often."""
    if verbose < FRAMES:
        return OriginatorSession
    return RawTracedSession if verbose >= BYTES else TracedSession


def log_result(result: Result) -> None:
    """Log a request as a dict, and what came of it."""
    log.log(DETAIL, "request=%s status=%s value=%r", result.request, result.text, result.value)
