"""A relay between a client of MQTT and its broker that notes what the client sends; 3.1.1 and 5."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.gateway.running import eventually

CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14
VERSION_5 = 5
SESSION_EXPIRY = 0x11


@dataclass(frozen=True)
class Published:
    """A message that the client published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass
class Session:
    """One connection of the client's, and what it sent over it, in order.

    Attributes:
        expiry_s: of its session, by MQTT 5; 0 where it says none.
    """

    version: int = 0
    clean: bool = False
    expiry_s: int = 0
    will: Published | None = None
    sent: list[Published] = field(default_factory=list)
    subscribed: list[tuple[str, int]] = field(default_factory=list)
    disconnected: bool = False


class Wire:
    """The relay; `port` is where the client is to connect."""

    def __init__(self, broker: int) -> None:
        self.sessions: list[Session] = []
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections."""
        self._listener.close()

    def wait(self, found: Callable[[list[Session]], Any]) -> Any:
        """The first true answer of `found` about the sessions so far."""
        return eventually(lambda: found(self.sessions))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._broker))
                except OSError:
                    near.close()
                    continue
                session = Session()
                self.sessions.append(session)
                for way in ((near, far, session), (far, near, None)):
                    threading.Thread(target=_carry, args=way, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, session: Session | None) -> None:
    held = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
            if session is not None:
                held = _note(session, held + data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _note(session: Session, data: bytes) -> bytes:
    """Take whole packets; what is left of the last."""
    while len(data) >= 2:
        length, at = _varint(data, 1)
        if at < 0 or len(data) < at + length:
            return data
        _packet(session, data[0], data[at : at + length])
        data = data[at + length :]
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends; -1 where it is not whole."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
    return 0, -1


def _packet(session: Session, head: int, body: bytes) -> None:
    kind = head >> 4
    if kind == CONNECT:
        _connect(session, body)
    elif kind == PUBLISH:
        topic, at = _text(body, 0)
        qos = head >> 1 & 3
        at += 2 if qos else 0
        if session.version == VERSION_5:
            length, at = _varint(body, at)
            at += length
        session.sent.append(Published(topic, body[at:], qos, bool(head & 1)))
    elif kind == SUBSCRIBE:
        at = 2
        if session.version == VERSION_5:
            length, at = _varint(body, at)
            at += length
        while at < len(body):
            topic, at = _text(body, at)
            session.subscribed.append((topic, body[at] & 3))
            at += 1
    elif kind == DISCONNECT:
        session.disconnected = True


def _connect(session: Session, body: bytes) -> None:
    _, at = _text(body, 0)
    session.version, flags = body[at], body[at + 1]
    session.clean = bool(flags & 2)
    at += 4
    if session.version == VERSION_5:
        length, at = _varint(body, at)
        properties, at = body[at : at + length], at + length
        if properties[:1] == bytes([SESSION_EXPIRY]):
            (session.expiry_s,) = struct.unpack(">I", properties[1:5])
    _, at = _text(body, at)
    if flags & 4:
        if session.version == VERSION_5:
            length, at = _varint(body, at)
            at += length
        topic, at = _text(body, at)
        (length,) = struct.unpack_from(">H", body, at)
        payload = body[at + 2 : at + 2 + length]
        session.will = Published(topic, payload, flags >> 3 & 3, bool(flags & 32))


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length
