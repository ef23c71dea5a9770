"""What the rest of the gateway knows of an outlet: its manifest, and the list of them.

An outlet hands on what the gateway knows: the feed, the metrics page, the historian. It is a
folder of its own: `spec.py` with its `OutletSpec`, `settings.py` with the model of its section,
and the program of its workers. It is told to the gateway by a line in `OUTLETS`, or by an entry
point `cpppod.outlets` of another package (docs/extending.md).

A manifest imports nothing but the standard library and this module: control loads it.
"""

from dataclasses import dataclass
from enum import Enum

from cpppod.workers.outlets.roles import CORE_ROLES, CommitPhase, RoleOrder
from cpppod.workers.registry import Registry


class Source(Enum):
    """Where an outlet has its values from."""

    PUBLISHERS = "publishers"
    FEED = "feed"
    JOURNALS = "journals"
    BEATS = "beats"
    STREAMS = "streams"  # of a fleet


@dataclass(frozen=True, slots=True)
class OutletSpec:
    """The manifest of one outlet.

    Attributes:
        name: of the outlet, and the role of its workers.
        section: its table in the configuration file.
        settings: `package.module:Class` of that table; only the configuration imports it.
        program: module of its worker, run with a settings file as its argument; "" for an outlet
            whose work control does, which finds its options under the section's name.
        reads: where its values come from; `--check` warns of one that reads journals where no
            group writes one.
        many: an array of tables, and a worker for each, called by the table's `name`.
        always: the section's defaults count where the file has none of it.
        tags: its worker is told every tag of every device and listener, not only the devices.
        priority: lower ones are started first (`cpppod.workers.outlets.roles`).
        phase: when it goes over to new settings in a reload.
    """

    name: str
    section: str
    settings: str
    program: str
    reads: Source
    many: bool = False
    always: bool = False
    tags: bool = False
    priority: int = 40
    phase: CommitPhase = CommitPhase.OUTLETS


OUTLETS = Registry(
    OutletSpec,
    "cpppod.outlets",
    {
        "feed": "cpppod.workers.feed.spec:SPEC",
        "historian": "cpppod.workers.historian.spec:SPEC",
        "metrics": "cpppod.workers.metrics.spec:SPEC",
        "mqtt": "cpppod.workers.mqtt.spec:SPEC",
        "fleet": "cpppod.workers.fleet.spec:SPEC",
        "collector": "cpppod.workers.historian.collecting.spec:SPEC",
        "web": "cpppod.workers.web.spec:SPEC",
    },
)

UNKNOWN = RoleOrder(40, CommitPhase.OUTLETS, "")  # of a package that was removed meanwhile


def roles() -> dict[str, RoleOrder]:
    """Every role that a worker can have."""
    outlets = {spec.name: RoleOrder(spec.priority, spec.phase, spec.program) for spec in OUTLETS}
    return outlets | CORE_ROLES
