"""What every driver offers to the frame of a polled device: the `Driver` protocol and its records.

A driver speaks one protocol to one device and knows nothing else: no bus, no schedule, no retry, no
back-off, no scaling. The frame (`workers.devices.wire`) calls it like this:

    make(device, link, frame) ─ open ─┬─ poll(group) ──► samples ─┬─ close ─ open ─ ...
                                      ├─ write(writes) ─► outcome ┤
                                      └─ cip.relay(...) ──────────┘

A driver is made by its manifest (`workers.devices.spec`), without I/O. `link` is None where it
opens a connection of its own to `device.address`; otherwise it is the wire that several devices
share, opened and closed by the frame: the driver's own `open` and `close` then only forget what it
knew of the device. What the driver may ask of the frame is in `DeviceFrame`.

Raw and scaled: a driver returns and takes values as the device holds them, in the tag's `type`
(a `bit` is a bool, a string is str, an array a list, a structure bytes). `scale`, `offset`, the
deadband, `minimum` and `maximum` are the frame's.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.model.failures import BROKEN, GONE, QUALITY, Failure
from cpppod.protocols.model.plant import Group, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.tap import Tap

Sample = tuple[Any, int]  # (value, quality): the value is None where the quality is bad
Write = tuple[
    Tag, int, list[Any]
]  # tag, first element, values; a scalar has element 0 and one value


class DeviceError(Exception):
    """The device as a whole did not answer, or its connection is of no further use.

    What concerns single tags only is no error: it is their quality in what `poll` returns.

    Attributes:
        failure: `TIMEOUT` leaves the connection as it is and counts towards demotion; so does
            `ABSENT`, with which the device is offline at once; those in `BROKEN` have the frame
            close the connection and open it again after a back-off.
        text: one line for people, peer text escaped and bounded.
        codes: the device's own status with `EXCEPTION` and `CIP_STATUS`, a gateway's with `ABSENT`.
        connected: False where the frame must close and open again; by default as `failure` says.
        sent: False where the request surely never left, so that its outcome is known: nothing.
    """

    def __init__(
        self,
        failure: Failure,
        text: str,
        *,
        codes: tuple[int, ...] = (),
        connected: bool | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text
        self.codes = codes
        self.connected = failure not in BROKEN if connected is None else connected
        self.sent = sent

    @property
    def quality(self) -> int:
        """What every tag that was asked is worth (`protocols.model.values.quality`)."""
        status, extended = (*self.codes, 0, 0)[:2]
        worth = QUALITY.get(self.failure, Quality.BAD)
        return quality(worth, status=status, extended=extended)

    @property
    def result(self) -> str:
        """The failure as a `Transaction` has it."""
        return _RESULTS.get(self.failure, "bad_reply")


_RESULTS = {
    Failure.TIMEOUT: "timeout",
    Failure.GARBLED: "crc",
    Failure.ABSENT: "exception",
    Failure.EXCEPTION: "exception",
    Failure.CIP_STATUS: "exception",
    **dict.fromkeys(GONE, "closed"),
}


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What came of a write; `unknown` wherever it was sent and no answer to it came.

    Attributes:
        failure: None where the device took all of it.
        codes: the device's own status with `EXCEPTION` and `CIP_STATUS`.
        error: in words, "" where done.
        unknown: nobody knows whether the device took it; never retried.
        connected: False where the connection is of no further use.
    """

    failure: Failure | None = None
    error: str = ""
    codes: tuple[int, ...] = ()
    unknown: bool = False
    connected: bool = True

    @classmethod
    def of(cls, error: DeviceError) -> "WriteOutcome":
        """What an error says of a write."""
        return cls(
            error.failure,
            error.text,
            error.codes,
            unknown=error.sent,
            connected=error.connected,
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request on the wire and what came back, for `cpppoctl device` and the metrics.

    Attributes:
        operation: bounded set, a metric's label: `read`, `write`, `forward`, `open`, `probe`.
        request: in words: `unit 1 FC3 0 x 100`, `Read Tag Speed`.
        result: `ok`, `timeout`, `exception`, `crc`, `refused`, `bad_reply`, `closed`.
        duration_s: from sending to the end of the reply.
        detail: the error in words, "" where ok.
        code: the device's own status (Modbus exception code, CIP general status), 0 for none.
        weight: values carried (registers, elements), 0 where unknown.
    """

    operation: str
    request: str
    result: str
    duration_s: float
    detail: str = ""
    code: int = 0
    weight: int = 0


class Link(Protocol):
    """A wire of bytes that several drivers share in turn: a serial port, or a socket to one.

    The frame lets one driver at a time use it. Bytes are as they came; framing is the driver's.
    `shared` holds what the drivers of the wire share, by a name of theirs.
    """

    shared: dict[str, Any]
    tap: Tap  # remembers what goes over it

    silence_s: float  # idle time that ends a frame on this line (t3.5), 0 on a socket
    character_s: float  # time of one character on the line, 0 on a socket

    async def send(self, data: bytes) -> None:
        """Write all of `data`; returns when it has left the buffer as far as the system tells.

        Raises:
            DeviceError: `LOST` when the port is gone.
        """

    async def renew(self) -> bool:
        """Connect anew where the peer has closed the connection meanwhile; whether that was so.

        `send` does it by itself; who must say something first on a new connection asks before.

        Raises:
            DeviceError: there is no connection to be had; nothing was sent.
        """

    async def receive(self, timeout_s: float) -> bytes:
        """Whatever has arrived, at least one byte, or b"" after `timeout_s` without any.

        Raises:
            DeviceError: `LOST` when the port is gone.
        """

    def discard(self) -> bytes:
        """Take everything that has arrived unasked (the late reply, noise), without waiting."""


def _unrecorded(done: Transaction) -> None:
    """Nobody listens."""


async def _at_once() -> None:
    """Nothing waits."""


@dataclass(slots=True)
class DeviceFrame:
    """What a driver may ask of the frame; by itself, as in a test, it asks nobody.

    Attributes:
        on_transaction: the driver calls it for each request on the wire. A driver that never does
            has its calls recorded instead, one entry a call.
        between: a driver with concurrency 1 whose poll takes several requests awaits it between two
            of them, so that a waiting write goes first.
        tap: what went over the wire of late; a driver with a connection of its own tells it.
    """

    on_transaction: Callable[[Transaction], None] = _unrecorded
    between: Callable[[], Awaitable[None]] = _at_once
    tap: Tap = field(default_factory=Tap)


class CipRelay(Protocol):
    """The way of others' Message Router requests to a device that understands CIP.

    Attributes:
        ends: who is told what comes of them.
    """

    ends: "RelayEnds"

    def relay(
        self,
        number: int,
        first: int,
        requests: Sequence[bytes],
        group: RouteGroup,
        timeout_s: float,
    ) -> bool:
        """Send requests, those from `first` on of the group that the frame knows by `number`.

        False where nothing can be sent just now, and then nothing was.
        """


def _unheard(*_: object) -> bool:
    """Nobody listens."""
    return True


@dataclass(slots=True)
class RelayEnds:
    """Who is told what comes of relayed requests; by itself, as in a test, nobody.

    Attributes:
        replied: (number, place of the first, replies); False where they cannot be right: then the
            connection is given up.
        refused: (number, place, error) of one request.
        lost: the connection is gone, whether anything was out or not.
        ready: what could not be sent may be tried again.
    """

    replied: Callable[[int, int, list[bytes]], bool] = _unheard
    refused: Callable[[int, int, DeviceError], object] = _unheard
    lost: Callable[[DeviceError], object] = _unheard
    ready: Callable[[], object] = _unheard


class Driver(Protocol):
    """One device's protocol. All calls come from one event loop; none may block it over 50 ms.

    Up to `concurrency` calls of `poll` and `write` are outstanding at once; a driver with
    concurrency 1 is never called before its last call has ended, but by `between` of its frame, nor
    while relayed requests are out. A
    call that is cancelled leaves the driver usable or says so in its next call (`DeviceError`
    NOT_CONNECTED).

    Attributes:
        concurrency: calls outstanding at once.
        frame: the one that it was made with; connected when the device is polled.
    """

    concurrency: int
    frame: DeviceFrame

    @property
    def cip(self) -> CipRelay | None:
        """Where CIP requests go; None where the device understands none (`DriverSpec.relay`)."""

    async def open(self) -> None:
        """Connect (at most the device's `timeout_s`, name look-up included).

        Raises:
            DeviceError: `NOT_CONNECTED`, or `TIMEOUT` with connected False.
        """

    async def close(self) -> None:
        """Release the connection; never raises and may be called at any time, also twice."""

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of `group` by name, read now; one try, each wait bounded by `timeout_s`.

        `group` may be a part of a configured group (a retry of what failed). What failed for single
        tags is their quality; a tag left out counts as BAD.

        Raises:
            DeviceError: nothing could be read.
        """

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """Write in the order given, stopping at the first that fails; one try, never repeated.

        Values are raw and within the tag's limits. Never raises `DeviceError`: trouble is an
        outcome.
        """

    def describe(self) -> dict[str, Any]:
        """What only this driver has to say of itself for `cpppoctl device`; cheap, plain types.

        Keys with a meaning for the metrics: `counters` {name: cumulative number} and `quarantined`
        [[tag, reason]].
        """
