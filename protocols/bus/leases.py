"""Leases: the right to send groups along one route path to the owner of its device, given by the
router and withdrawn by it.

    [id, route path, owner, device, what is left of the path, limit]

Who holds one passes groups on as the router would have done. An owner that does not know a lease
refuses the group, unlooked at.
"""

import zlib
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.bus.groups import LIMIT
from cpppod.protocols.model.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease.

    Attributes:
        route_path: padded EPATH, whole; `left` is what the device is given of it.
        owner: name of the worker that owns `device`.
        limit: requests that may be out along the path, by whatever way.
    """

    id: int
    route_path: bytes
    owner: str
    device: str
    left: bytes
    limit: int

    @property
    def plain(self) -> list[Any]:
        """As it travels."""
        return [self.id, self.route_path, self.owner, self.device, self.left, self.limit]

    @classmethod
    def decode(cls, plain: Any) -> "Lease":
        """The inverse of `plain`.

        Raises:
            DecodeError: not a lease.
        """
        if type(plain) is not list or list(map(type, plain[: len(_TYPES)])) != _TYPES:
            raise DecodeError("not a lease", status=0)
        lease = cls(*plain[: len(_TYPES)])
        if not (0 < lease.id < LIMIT and 0 < lease.limit < LIMIT):
            raise DecodeError("lease: beyond 2**53", status=0)
        return lease


_TYPES = [int, bytes, str, str, bytes, int]


def owner_socket(owner: str) -> str:
    """The socket that the worker of that name binds for who holds a lease: short, whatever the name
    is, for a Unix socket's path is."""
    return f"owner-{zlib.crc32(owner.encode()):08x}"
