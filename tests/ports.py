"""Ports of loopback that stay a test's own from when they are chosen until they are bound.

A port that the kernel chose (bound as 0, closed again) may be anybody's before its program binds
it: another test's, or the near end of an outgoing connection. The ports here lie outside the range
that the kernel chooses from, and each belongs to one test process until that ends: it holds
an abstract Unix socket named after it, which the kernel gives once and takes back from the dead.
"""

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

SPAN = 10_000  # ports, right below those that the kernel chooses from
STRIDE = 631  # processes begin at different places: a port just left is not taken again at once

_claims: list[socket.socket] = []


def _candidates() -> Iterator[int]:
    """All ports outside the kernel's own range, over and over."""
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    first, last = (lowest - SPAN, lowest) if lowest > 2 * SPAN else (highest + 1, 65_535)
    begin = os.getpid() * STRIDE % (last - first)
    return itertools.cycle(itertools.chain(range(first + begin, last), range(first, first + begin)))


_ports = _candidates()


def _claim(port: int) -> bool:
    """Whether `port` is this process's now, and nobody has it bound, for TCP or UDP."""
    with contextlib.ExitStack() as probes:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0cpppod-test-port-{port}")
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                probe = probes.enter_context(socket.socket(type=kind))
                probe.bind(("127.0.0.1", port))
        except OSError as error:
            claim.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    _claims.append(claim)
    return True


def free_port() -> int:
    """A port of loopback that nobody has, for TCP and UDP, and that no other test is given."""
    return next(port for port in _ports if _claim(port))


def adjacent_ports() -> tuple[int, int]:
    """Two such ports in a row."""
    first = free_port()
    while (second := free_port()) != first + 1:
        first = second
    return first, second
