"""Forward Open, Large Forward Open and Forward Close: the Connection Manager's messages, both ways.

    Forward Open   tick ticks  O>T id  T>O id  serial vendor originator  multiplier 000000
                   O>T RPI O>T parameters  T>O RPI T>O parameters  transport  path words  path
    reply          O>T id  T>O id  serial vendor originator  O>T API  T>O API  words 0  app. reply
    Forward Close  tick ticks  serial vendor originator  path words 0  path
    failure        serial vendor originator  remaining path words 0

Parameters are 16 bits (bits 0-8 size) in 0x54 and 32 bits (bits 0-15 size) in 0x5B. Ids of a
point-to-point connection: the target picks O>T, the originator T>O. Times are microseconds.

Source: CIP Networks Library Vol. 1, 3-5.5.
"""

import struct
from dataclasses import dataclass

from cpppod.protocols.cip.message_router import (
    FORWARD_CLOSE,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.cip.unconnected_send import CONNECTION_MANAGER_PATH
from cpppod.protocols.model.errors import DecodeError, EncodeError

TRANSPORT_CLASS_3 = 0xA3  # server, application triggered, class 3
MAX_MULTIPLIER = 7  # x 512; greater ones are reserved
MIN_MULTIPLIER_S = 10.0  # a connection lives at least so long without its first packet
_SMALL = struct.Struct("<BBIIHHIB3xIHIHBB")
_LARGE = struct.Struct("<BBIIHHIB3xIIIIBB")
_OPENED = struct.Struct("<IIHHIIIBB")
_TRIAD = struct.Struct("<HHI")
_CLOSE = struct.Struct("<BBHHIBB")
_CLOSED = struct.Struct("<HHIBB")

Triad = tuple[int, int, int]  # connection serial, originator vendor, originator serial


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """One direction of a connection; `kind` 0 null, 1 multicast, 2 point to point."""

    size: int
    variable: bool = True
    priority: int = 0
    kind: int = 2
    owner: int = 0

    @classmethod
    def decode(cls, word: int, *, large: bool) -> "NetworkParameters":
        """The parameters in a UINT, or in a UDINT where `large`."""
        shift, mask = (16, 0xFFFF) if large else (0, 0x1FF)
        return cls(
            size=word & mask,
            variable=bool(word >> 9 + shift & 1),
            priority=word >> 10 + shift & 3,
            kind=word >> 13 + shift & 3,
            owner=word >> 15 + shift & 1,
        )

    def encode(self, *, large: bool) -> int:
        """The inverse of `decode`.

        Raises:
            EncodeError: a size that the form cannot say.
        """
        shift, most = (16, 0xFFFF) if large else (0, 0x1FF)
        if not 0 <= self.size <= most:
            raise EncodeError(f"connection of {self.size} bytes", status=0x09)
        flags = self.variable << 9 | self.priority << 10 | self.kind << 13 | self.owner << 15
        return self.size | flags << shift


@dataclass(frozen=True, slots=True)
class ForwardOpen:
    """A Forward Open's data; `large` says by which of the two services."""

    ot_id: int
    to_id: int
    connection_serial: int
    originator_vendor: int
    originator_serial: int
    ot_rpi_us: int
    to_rpi_us: int
    ot: NetworkParameters
    to: NetworkParameters
    connection_path: bytes
    transport: int = TRANSPORT_CLASS_3
    multiplier: int = 3
    priority_tick: int = 0x0A
    timeout_ticks: int = 0x0E
    large: bool = False

    @property
    def triad(self) -> Triad:
        """What identifies the connection: serial, vendor, originator serial."""
        return self.connection_serial, self.originator_vendor, self.originator_serial

    @property
    def timeout_s(self) -> float:
        """How long it lives without a packet from its originator: RPI x 4 x 2**multiplier."""
        return self.ot_rpi_us * (4 << min(self.multiplier, MAX_MULTIPLIER)) / 1e6

    def encode_data(self) -> bytes:
        """The service's data."""
        layout = _LARGE if self.large else _SMALL
        return (
            layout.pack(
                *(self.priority_tick, self.timeout_ticks, self.ot_id, self.to_id, *self.triad),
                *(self.multiplier, self.ot_rpi_us, self.ot.encode(large=self.large)),
                *(self.to_rpi_us, self.to.encode(large=self.large), self.transport),
                len(self.connection_path) >> 1,
            )
            + self.connection_path
        )

    def encode(self) -> bytes:
        """The whole request, sent to the Connection Manager."""
        service = Service.LARGE_FORWARD_OPEN if self.large else Service.FORWARD_OPEN
        return MessageRouterRequest(service, CONNECTION_MANAGER_PATH, self.encode_data()).encode()

    @classmethod
    def decode(cls, data: bytes, *, large: bool) -> "ForwardOpen":
        """The Forward Open in `data`.

        Raises:
            CipError: NOT_ENOUGH_DATA where it is cut short.
        """
        layout = _LARGE if large else _SMALL
        if len(data) < layout.size:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        tick, ticks, ot_id, to_id, serial, vendor, originator, multiplier, *rest = (
            layout.unpack_from(data)
        )
        ot_rpi, ot_word, to_rpi, to_word, transport, words = rest
        path = data[layout.size : layout.size + 2 * words]
        if len(path) < 2 * words:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        return cls(
            *(ot_id, to_id, serial, vendor, originator, ot_rpi, to_rpi),
            ot=NetworkParameters.decode(ot_word, large=large),
            to=NetworkParameters.decode(to_word, large=large),
            connection_path=bytes(path),
            transport=transport,
            multiplier=multiplier,
            priority_tick=tick,
            timeout_ticks=ticks,
            large=large,
        )


@dataclass(frozen=True, slots=True)
class ForwardOpenReply:
    """What the target granted; APIs are the actual packet intervals in microseconds."""

    ot_id: int
    to_id: int
    connection_serial: int
    originator_vendor: int
    originator_serial: int
    ot_api_us: int
    to_api_us: int
    application: bytes = b""

    def encode(self) -> bytes:
        """The reply's data."""
        return (
            _OPENED.pack(
                *(self.ot_id, self.to_id, self.connection_serial, self.originator_vendor),
                *(self.originator_serial, self.ot_api_us, self.to_api_us),
                *(len(self.application) >> 1, 0),
            )
            + self.application
        )

    @classmethod
    def decode(cls, data: bytes) -> "ForwardOpenReply":
        """The reply in `data`.

        Raises:
            DecodeError: cut short.
        """
        if len(data) < _OPENED.size:
            raise DecodeError(f"Forward Open reply of {len(data)} bytes", status=0x13)
        ot_id, to_id, serial, vendor, originator, ot_api, to_api, words, _ = _OPENED.unpack_from(
            data
        )
        application = data[_OPENED.size : _OPENED.size + 2 * words]
        return cls(ot_id, to_id, serial, vendor, originator, ot_api, to_api, application)


@dataclass(frozen=True, slots=True)
class ForwardClose:
    """A Forward Close's data; the path need not equal the opened one."""

    connection_serial: int
    originator_vendor: int
    originator_serial: int
    connection_path: bytes = b""
    priority_tick: int = 0x0A
    timeout_ticks: int = 0x0E

    @property
    def triad(self) -> Triad:
        """Which connection is to be closed."""
        return self.connection_serial, self.originator_vendor, self.originator_serial

    def encode_data(self) -> bytes:
        """The service's data."""
        words = len(self.connection_path) >> 1
        head = _CLOSE.pack(self.priority_tick, self.timeout_ticks, *self.triad, words, 0)
        return head + self.connection_path

    def encode(self) -> bytes:
        """The whole request, sent to the Connection Manager."""
        return MessageRouterRequest(
            FORWARD_CLOSE, CONNECTION_MANAGER_PATH, self.encode_data()
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> "ForwardClose":
        """The Forward Close in `data`.

        Raises:
            CipError: NOT_ENOUGH_DATA where its fixed fields are cut short.
        """
        if len(data) < _CLOSE.size:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        tick, ticks, serial, vendor, originator, words, _ = _CLOSE.unpack_from(data)
        path = bytes(data[_CLOSE.size : _CLOSE.size + 2 * words])
        return cls(serial, vendor, originator, path, tick, ticks)


def closed_reply(triad: Triad) -> bytes:
    """Data of a successful Forward Close's reply."""
    return _CLOSED.pack(*triad, 0, 0)


def failure_data(triad: Triad, remaining_words: int = 0) -> bytes:
    """Data of a failed Forward Open's or Forward Close's reply, after the status words."""
    return _CLOSED.pack(*triad, remaining_words, 0)


def open_failure(service: int, triad: Triad, *extended: int) -> bytes:
    """The whole reply to a Forward Open or Close that is refused with CONNECTION_FAILURE."""
    return MessageRouterReply(
        service, GeneralStatus.CONNECTION_FAILURE, extended, failure_data(triad)
    ).encode()
