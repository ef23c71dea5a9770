"""The manifest of the Prometheus page; control serves it, for it has everybody's beats."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="metrics",
    section="metrics",
    settings="cpppod.workers.metrics.settings:Metrics",
    program="",
    reads=Source.BEATS,
    always=True,
)
