"""Moved: `cpppod.workers.bus.publishing`."""

from cpppod.workers.bus.publishing import (
    Publishing,
)

__all__ = [
    "Publishing",
]
