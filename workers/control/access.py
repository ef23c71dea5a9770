"""Who may say what on the control socket: rights from the kernel's word about the peer, at accept.

    right      may                             who
    VIEWER     read                            group cpppod-viewer
    OPERATOR   also write, pause, restart      group cpppod-operator
    ENGINEER   also reload, stop, keys, users  group cpppod-engineer, uid 0, the daemon's own uid

SO_PEERCRED names the peer's pid, uid and primary gid but not its supplementary groups; those are
SO_PEERGROUPS' (Linux 4.13).
"""

import errno
import grp
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cpppod.workers.rights import RIGHTS, Right

SO_PEERGROUPS = 59  # include/uapi/asm-generic/socket.h; the socket module does not name it
_CREDENTIALS = struct.Struct("=iII")


GROUPS = {role: f"cpppod-{role}" for role in RIGHTS}  # Unix group of each role, unless configured


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a Unix socket, by the kernel's word."""

    pid: int
    uid: int
    groups: frozenset[int]

    @property
    def source(self) -> str:
        """How audit lines and write requests name the peer."""
        return f"control:uid={self.uid}"


def peer_of(connection: socket.socket) -> Peer:
    """The peer of an accepted Unix connection.

    Raises:
        OSError: the connection is gone, or not of the Unix family.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid, frozenset({gid, *_supplementary_groups(connection)}))


def _supplementary_groups(connection: socket.socket) -> tuple[int, ...]:
    """The peer's groups; none on a kernel without the option.

    CPython hands out at most 1,024 bytes of a socket option, 256 groups; the kernel refuses with
    ERANGE where the peer has more, and then only the primary group counts.
    """
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError as error:
        if error.errno in (errno.ENOPROTOOPT, errno.ERANGE):
            return ()
        raise
    return struct.unpack(f"={len(raw) // 4}I", raw)


def group_rights(groups: Mapping[str, str]) -> dict[int, Right]:
    """gid -> right for the Unix groups in `groups` (role -> name) that this machine has.

    Asks the name service, so it may block.
    """
    rights: dict[int, Right] = {}
    for role, name in groups.items():
        try:
            gid = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
        rights[gid] = max(rights.get(gid, Right.NONE), RIGHTS[role])
    return rights


def right_of(peer: Peer, *, own_uid: int, by_group: Mapping[int, Right]) -> Right:
    """The highest right that `peer` has."""
    if peer.uid in (0, own_uid):
        return Right.ENGINEER
    return max((by_group[gid] for gid in peer.groups if gid in by_group), default=Right.NONE)
