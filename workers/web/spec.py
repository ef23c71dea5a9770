"""The manifest of the web outlet: the page that an engineer keeps open, and the API behind it."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="web",
    section="web",
    settings="cpppod.workers.web.settings:Web",
    program="cpppod.workers.web",
    reads=Source.FEED,
    tags=True,
    priority=70,
)
