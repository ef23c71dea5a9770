"""The manifest of the feed: every value, numbered and replayable, for programs."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="feed",
    section="feed",
    settings="cpppod.workers.feed.settings:Feed",
    program="cpppod.workers.feed",
    reads=Source.PUBLISHERS,
    always=True,
    priority=20,
)
