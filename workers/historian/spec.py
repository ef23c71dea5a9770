"""The manifest of the historian: what devices journalled, into a store."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="historian",
    section="history",
    settings="cpppod.workers.historian.settings:History",
    program="cpppod.workers.historian",
    reads=Source.JOURNALS,
    always=True,
)
