"""The manifest of the uplink: what was journalled, to a site's stream."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="fleet",
    section="fleet",
    settings="cpppod.workers.fleet.settings:Fleet",
    program="cpppod.workers.fleet",
    reads=Source.JOURNALS,
    tags=True,
)
