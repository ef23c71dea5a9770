"""The manifest of the collector: the streams of sites, into a store."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="collector",
    section="collector",
    settings="cpppod.workers.historian.collecting.settings:Collector",
    program="cpppod.workers.historian.collecting",
    reads=Source.STREAMS,
)
