"""Lane: how requests travel, and how much one message may carry there."""

from dataclasses import dataclass

from cpppod.protocols.enip.originator.route import DIRECT, Hop
from cpppod.protocols.enip.originator.session import ClassThree

UNCONNECTED_BYTES = 504  # of a message outside a connection: what every controller takes


@dataclass(frozen=True, slots=True)
class Room:
    """What one message may carry: bytes of a Message Router request, and of a reply."""

    request: int
    reply: int


@dataclass(frozen=True, slots=True)
class Lane:
    """How requests travel: unconnected by `hop`, or over an open class 3 `connection`."""

    hop: Hop = DIRECT
    connection: ClassThree | None = None

    @property
    def room(self) -> Room:
        """What one message on this lane may carry."""
        if self.connection is not None:
            return Room(self.connection.o_t_size, self.connection.t_o_size)
        return Room(UNCONNECTED_BYTES - self.hop.overhead, UNCONNECTED_BYTES)
