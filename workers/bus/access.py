"""What the bus asks before it lets somebody in from TCP, and what a client shows there."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CurveClient:
    """A client's side of CURVE: its own secret key and the server's public one, in Z85."""

    secret_key: bytes
    server_key: bytes


class AccessPolicy(Protocol):
    """Who may come in from TCP, and what they may do there; a peer is its connection's descriptor.

    Attributes:
        secret_key: of the server, in Z85; b"" for no CURVE.
        largest: bytes of one frame that a peer may send.
    """

    secret_key: bytes
    largest: int

    def user(self, public_key: bytes) -> str:
        """The name that goes with a client's key (Z85), "" if it is not listed."""

    def opened(self, peer: int) -> bool:
        """Whether one more connection is welcome."""

    def closed(self, peer: int) -> None:
        """The connection is gone."""

    def refused(self, why: str) -> None:
        """A peer did not get through the handshake."""

    def may_subscribe(self, peer: int, prefix: bytes) -> bool:
        """Whether the peer may have this; it is cut off if not."""

    def unsubscribed(self, peer: int, prefix: bytes) -> None:
        """The peer does without it from now on."""
