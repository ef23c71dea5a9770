"""Message Router requests and replies: what every explicit message is in the end.

    request:  USINT service       USINT path words  EPATH path                           data
    reply:    USINT service|0x80  USINT 0  USINT status  USINT n  n x UINT extended      data

Source: CIP Networks Library Vol. 1, 2-4.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from cpppod.protocols.cip.status import CipError, GeneralStatus, describe
from cpppod.protocols.model.errors import DecodeError, EncodeError

REPLY = 0x80  # bit of a service code that marks a reply


class Service(IntEnum):
    """Service codes; some mean another thing by the class they are sent to."""

    GET_ATTRIBUTES_ALL = 0x01
    SET_ATTRIBUTES_ALL = 0x02
    GET_ATTRIBUTE_LIST = 0x03
    SET_ATTRIBUTE_LIST = 0x04
    RESET = 0x05
    MULTIPLE_SERVICE_PACKET = 0x0A
    GET_ATTRIBUTE_SINGLE = 0x0E
    SET_ATTRIBUTE_SINGLE = 0x10
    EXECUTE_PCCC = 0x4B
    READ_TAG = 0x4C  # Read Template on class 0x6C
    WRITE_TAG = 0x4D
    READ_MODIFY_WRITE_TAG = 0x4E  # Forward Close on class 0x06
    READ_TAG_FRAGMENTED = 0x52  # Unconnected Send on class 0x06
    WRITE_TAG_FRAGMENTED = 0x53
    FORWARD_OPEN = 0x54
    GET_INSTANCE_ATTRIBUTE_LIST = 0x55
    LARGE_FORWARD_OPEN = 0x5B


UNCONNECTED_SEND = 0x52
FORWARD_CLOSE = 0x4E


@dataclass(frozen=True, slots=True)
class MessageRouterRequest:
    """One request; `path` is the padded EPATH in bytes."""

    service: int
    path: bytes
    data: bytes = b""

    def encode(self) -> bytes:
        """The request as it stands in a CPF item.

        Raises:
            EncodeError: a path of odd length, or longer than 255 words.
        """
        if len(self.path) & 1 or len(self.path) > 510:
            raise EncodeError(f"path of {len(self.path)} bytes", status=0x26)
        return bytes((self.service, len(self.path) >> 1)) + self.path + self.data

    @classmethod
    def decode(cls, message: bytes) -> "MessageRouterRequest":
        """The request in `message`; what follows the path is all data.

        Raises:
            CipError: NOT_ENOUGH_DATA, also where the path is longer than the message.
        """
        if len(message) < 2:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        end = 2 + 2 * message[1]
        if end > len(message):
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        return cls(message[0], bytes(message[2:end]), bytes(message[end:]))


class MessageRouterReply(NamedTuple):
    """One reply; `service` is the request's, with the reply bit set."""

    service: int
    status: int = GeneralStatus.SUCCESS
    extended: tuple[int, ...] = ()
    data: bytes = b""

    def encode(self) -> bytes:
        """The reply as it stands in a CPF item."""
        words = self.extended
        return (
            struct.pack(
                f"<BBBB{len(words)}H", self.service | REPLY, 0, self.status, len(words), *words
            )
            + self.data
        )

    @classmethod
    def decode(cls, message: bytes) -> "MessageRouterReply":
        """The reply in `message`.

        Raises:
            DecodeError: not a reply, or shorter than its own status words.
        """
        if len(message) < 4:
            raise DecodeError(f"reply of {len(message)} bytes", status=0x13)
        service, _, status, words = message[:4]
        end = 4 + 2 * words
        if not service & REPLY or end > len(message):
            raise DecodeError("not a Message Router reply", status=0x13)
        extended = struct.unpack_from(f"<{words}H", message, 4)
        return cls(service, status, extended, bytes(message[end:]))

    @property
    def text(self) -> str:
        """The status in words."""
        return describe(self.status, self.extended)
