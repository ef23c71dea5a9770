"""Moved: `cpppod.workers.bus.subscription`."""

from cpppod.workers.bus.subscription import (
    FeedSubscription,
)

__all__ = [
    "FeedSubscription",
]
