"""How every shell around an originator's session opens a class 3 connection, and leaves it."""

import os

from cpppod.protocols.enip.originator.forward_open import (
    ConnectionRequest,
    ForwardOpenExchange,
    numbered,
)

CLOSING_S = 0.5  # what a Forward Close may take while everybody wants to leave


def new_opening(request: ConnectionRequest) -> ForwardOpenExchange:
    """The attempts to open `request`, under numbers that nothing else of this process has."""
    return ForwardOpenExchange(
        numbered(
            request,
            serial=int.from_bytes(os.urandom(2), "little"),
            originator_serial=os.getpid(),
            t_o_id=int.from_bytes(os.urandom(4), "little") | 1,
        )
    )
