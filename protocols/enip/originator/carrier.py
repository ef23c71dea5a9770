"""Carrier: how requests travel, and how much one message may carry there."""

from dataclasses import dataclass

from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute
from cpppod.protocols.enip.originator.session import Class3Connection

UNCONNECTED_BYTES = 504  # of a message outside a connection: what every controller takes


@dataclass(frozen=True, slots=True)
class MessageBudget:
    """What one message may carry: bytes of a Message Router request, and of a reply."""

    request: int
    reply: int


@dataclass(frozen=True, slots=True)
class Carrier:
    """How requests travel: unconnected by `route`, or over an open class 3 `connection`."""

    route: UnconnectedRoute = DIRECT
    connection: Class3Connection | None = None

    @property
    def budget(self) -> MessageBudget:
        """What one message on this carrier may carry."""
        if self.connection is not None:
            return MessageBudget(self.connection.o_t_size, self.connection.t_o_size)
        return MessageBudget(UNCONNECTED_BYTES - self.route.overhead, UNCONNECTED_BYTES)
