"""Who is there: List Identity by broadcast, one record a device."""

import time
from dataclasses import dataclass
from typing import Any

from cpppod.client.connection import BROADCAST, Address, Client, await_response
from cpppod.client.responses import Response
from cpppod.protocols.enip.discovery import PORT, IdentityItem, decode_identities
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.errors import DecodeError

DISCOVERY_S = 2.0  # a target may take two seconds to answer a broadcast (Vol. 2, 2-4.2.2)


@dataclass(frozen=True, slots=True)
class Found:
    """One device that answered: `peer` is where the answer came from."""

    peer: Address
    identity: IdentityItem

    def columns(self) -> tuple[str, ...]:
        """What a table shows of it."""
        item = self.identity
        return (
            str(SocketAddress(self.peer[0], item.port)),
            item.product_name[:32],
            str(item.vendor),
            str(item.device_type),
            str(item.product_code),
            f"{item.major}.{item.minor}",
            f"{item.serial:08x}",
        )

    def plain(self) -> dict[str, Any]:
        """All of it, for JSON."""
        item = self.identity
        return {
            "peer": self.peer[0],
            "port": item.port,
            "product_name": item.product_name,
            "vendor": item.vendor,
            "device_type": item.device_type,
            "product_code": item.product_code,
            "revision": f"{item.major}.{item.minor}",
            "serial": item.serial,
            "status": item.status,
            "state": item.state,
        }


def discover(
    host: str = BROADCAST,
    port: int = PORT,
    *,
    timeout_s: float = DISCOVERY_S,
    source: str | Address | None = None,
) -> list[Found]:
    """Every device that answers within `timeout_s`, by address; each once."""
    found: dict[Address, Found] = {}
    connection = Client(host, port, broadcast=True, source_address=source)
    try:
        connection.list_identity()
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            response, _ = await_response(connection, left)
            if not isinstance(response, Response) or response.command != Command.LIST_IDENTITY:
                continue
            try:
                for item in decode_identities(response.data):
                    found.setdefault((response.peer[0], item.port), Found(response.peer, item))
            except DecodeError:
                continue
    finally:
        connection.close()
    return [found[key] for key in sorted(found)]
