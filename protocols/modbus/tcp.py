"""Modbus TCP: the 7-byte MBAP header in front of every PDU.

    UINT         UINT         UINT                  USINT
    transaction  protocol 0   length of the rest    unit      PDU    (big-endian)

Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.
"""

import struct
from typing import NamedTuple

from cpppod.protocols.modbus.pdu import MAX_PDU
from cpppod.protocols.model.errors import DecodeError

HEADER = struct.Struct(">HHHB")
MIN_LENGTH = 2  # unit and function
MAX_LENGTH = 1 + MAX_PDU
MAX_REQUEST_LENGTH = 1 + 10 + 255  # with as much behind function 23's byte count as that can say


class Adu(NamedTuple):
    """One message."""

    transaction: int
    unit: int
    pdu: bytes

    def encode(self) -> bytes:
        """The message with its header."""
        return HEADER.pack(self.transaction, 0, len(self.pdu) + 1, self.unit) + self.pdu


class MbapStream:
    """Cuts what a connection receives into messages; one per connection and direction.

    Args:
        longest: the greatest length that a header may tell. Who answers requests takes
            `MAX_REQUEST_LENGTH`: one that writes too much is refused, and the connection lives.
    """

    def __init__(self, longest: int = MAX_LENGTH) -> None:
        self._buffer = bytearray()
        self._longest = longest

    def receive_data(self, data: bytes) -> list[Adu]:
        """The messages that `data` completes.

        Raises:
            DecodeError: a protocol other than 0 or an impossible length: where the next message
                begins is unknown, close the connection.
        """
        buffer = self._buffer
        buffer += data
        found = []
        while len(buffer) >= 6:
            transaction, protocol, length = struct.unpack_from(">HHH", buffer)
            if protocol != 0:
                raise DecodeError(f"protocol {protocol} is not Modbus", status=0)
            if not MIN_LENGTH <= length <= self._longest:
                raise DecodeError(f"a message of {length} bytes", status=0)
            end = 6 + length
            if len(buffer) < end:
                break
            found.append(Adu(transaction, buffer[6], bytes(buffer[7:end])))
            del buffer[:end]
        return found

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)
