"""Who may say what on the control socket: rights from the kernel's word about the peer, at accept.

    right      may                             who
    VIEWER     read                            group cpppod-viewer
    OPERATOR   also write, pause, restart      group cpppod-operator
    ENGINEER   also reload, stop, keys, users  group cpppod-engineer, uid 0, the daemon's own uid

SO_PEERCRED names the peer's pid, uid and primary gid but not its supplementary groups; those are
SO_PEERGROUPS' (Linux 4.13). Which group has which right, and who was made its member since he
logged in, is asked of the name service as he is accepted; the answer may be `FRESH_S` old.
"""

import asyncio
import errno
import grp
import os
import pwd
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cpppod.workers.rights import RIGHTS, Right

SO_PEERGROUPS = 59  # include/uapi/asm-generic/socket.h; the socket module does not name it
FRESH_S = 0.2  # how long an answer of the name service is used: who connects in a loop asks no more
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


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out about a peer; `user` is "" where the machine has no name for it."""

    right: Right
    user: str = ""


@dataclass(frozen=True, slots=True)
class GroupRights:
    """The Unix groups that this machine has: gid -> right, and of which right each member is."""

    by_group: Mapping[int, Right]
    by_member: Mapping[str, Right]


def group_rights(groups: Mapping[str, str]) -> GroupRights:
    """The rights of the Unix groups in `groups` (role -> name).

    Asks the name service, so it may block.
    """
    by_group: dict[int, Right] = {}
    by_member: dict[str, Right] = {}
    for role, name in groups.items():
        try:
            found = grp.getgrnam(name)
        except KeyError:
            continue
        right = RIGHTS[role]
        by_group[found.gr_gid] = max(by_group.get(found.gr_gid, Right.NONE), right)
        for member in found.gr_mem:
            by_member[member] = max(by_member.get(member, Right.NONE), right)
    return GroupRights(by_group, by_member)


def user_name(uid: int) -> str:
    """The name of `uid`, "" where there is none; may block."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def right_of(peer: Peer, user: str, *, own_uid: int, rights: GroupRights) -> Right:
    """The highest right that `peer`, called `user`, has."""
    if peer.uid in (0, own_uid):
        return Right.ENGINEER
    held = [rights.by_group[gid] for gid in peer.groups if gid in rights.by_group]
    return max([*held, rights.by_member.get(user, Right.NONE)])


class NameService:
    """Who a peer is and what he may do, by the machine's groups as they are now.

    Args:
        call: runs what may block on another thread.
        groups: role -> Unix group, as configured; asked each time, for reloads change it.
    """

    def __init__(
        self,
        call: Callable[..., Awaitable[Known]],
        groups: Callable[[], Mapping[str, str]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._groups = groups
        self._now = now
        self._answers: dict[Peer, tuple[float, asyncio.Future[Known]]] = {}

    async def look_up(self, peer: Peer) -> Known:
        """What there is to know about `peer`.

        Raises:
            IoThreadBusy: the name service hangs.
        """
        key = Peer(0, peer.uid, peer.groups)
        now = self._now()
        self._answers = {peer: each for peer, each in self._answers.items() if each[0] > now}
        held = self._answers.get(key)
        if held is None:
            asked = asyncio.ensure_future(self._call(_look_up, peer, dict(self._groups())))
            held = self._answers[key] = (now + FRESH_S, asked)
        return await asyncio.shield(held[1])


def _look_up(peer: Peer, groups: Mapping[str, str]) -> Known:
    user = user_name(peer.uid)
    return Known(right_of(peer, user, own_uid=os.getuid(), rights=group_rights(groups)), user)
