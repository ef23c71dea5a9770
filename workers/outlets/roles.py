"""The roles that every gateway has: who starts first, and who goes over when in a reload.

The roles of outlets are in their manifests; `cpppod.workers.outlets.spec` has all together.
"""

from dataclasses import dataclass
from enum import IntEnum


class CommitPhase(IntEnum):
    """When a worker goes over to new settings; each phase waits for the one before."""

    OWNERS = 1  # of devices: whoever is told of a device finds it there
    OUTLETS = 2
    SERVERS = 3  # of clients, and what their requests travel through
    CONTROL = 4


@dataclass(frozen=True, slots=True)
class RoleOrder:
    """A role's place among the others.

    Attributes:
        priority: lower ones are started first.
        program: module that is run with the settings file as its argument.
    """

    priority: int
    phase: CommitPhase
    program: str


def _ours(name: str, priority: int, phase: CommitPhase) -> tuple[str, RoleOrder]:
    return name, RoleOrder(priority, phase, f"cpppod.workers.{name}")


CORE_ROLES = dict(
    (
        _ours("control", 10, CommitPhase.CONTROL),
        _ours("router", 30, CommitPhase.SERVERS),
        _ours("serial", 50, CommitPhase.OWNERS),
        _ours("poller", 50, CommitPhase.OWNERS),
        _ours("computed", 55, CommitPhase.OWNERS),
        _ours("listener", 60, CommitPhase.SERVERS),
    )
)
