"""A session with a class 3 connection: what `Connector` does, over that."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cpppod.client.connector import Connector
from cpppod.client.route import connection_request
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import (
    EnipStatusError,
    ForwardOpenRefused,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.forward_open import ForwardOpenExchange, numbered


class Implicit(Connector):
    """A session with a class 3 connection; every operation travels over it.

    Args:
        connection_path: ports, then the object: `"1/0/@2/1"`; by default the route path and @2/1.
        O_T, T_O: what to ask for: `{"size": 4000, "RPI": 2000000}` (bytes, microseconds); sizes
            above 511 try a Large Forward Open first, and the small one where it is refused.
        others: as for `Connector`.

    Raises:
        ForwardOpenRefused: the target opens no connection.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        connection_path: str | None = None,
        O_T: Mapping[str, Any] | None = None,
        T_O: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(host, port, timeout, **others)
        self.opening: ForwardOpenExchange | None = None
        try:
            wanted = connection_request(self.route, connection_path, O_T or T_O or {})
            self.forward_open(wanted, timeout)
        except BaseException:
            self.abort("no connection")
            raise

    def forward_open(self, wanted: Any, timeout: float | None = None) -> None:
        """Open the class 3 connection (done by the constructor)."""
        opening = ForwardOpenExchange(
            numbered(
                wanted,
                serial=int.from_bytes(os.urandom(2), "little"),
                originator_serial=os.getpid(),
                t_o_id=int.from_bytes(os.urandom(4), "little") | 1,
            )
        )
        while not opening.done:
            reply = self.request(opening.request(), timeout=timeout, carrier=Carrier())
            opening.receive(reply)
        if opening.connection is None:
            assert opening.refused is not None
            raise ForwardOpenRefused(opening.refused.status, opening.refused.extended)
        self.protocol.opened(opening.connection)
        self.opening = opening
        self.carrier = replace(Carrier(), connection=opening.connection)

    def forward_close(self, timeout: float | None = None) -> None:
        """Close the class 3 connection; operations travel unconnected from then on."""
        opening, self.opening = self.opening, None
        if opening is None or opening.connection is None:
            return
        self.protocol.closed(opening.connection)
        self.carrier = Carrier(self.route.hop)
        self.request(opening.closing(), timeout=timeout, carrier=Carrier())

    def close(self) -> None:
        """Close the class 3 connection, the session and the socket."""
        if not self.closed:
            try:
                self.forward_close(timeout=1.0)
            except (OSError, EnipStatusError, ReplyTimeout):
                pass
        super().close()
