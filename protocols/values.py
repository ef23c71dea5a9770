"""Moved: `cpppod.protocols.model.values`."""

from cpppod.protocols.model.values import (
    INTEGER_RANGES,
    REAL_LIMIT,
    REAL_TYPES,
    REASONS,
    STRING_TYPES,
    Quality,
    explain,
    is_bad,
    quality,
)

__all__ = [
    "INTEGER_RANGES",
    "REAL_LIMIT",
    "REAL_TYPES",
    "REASONS",
    "STRING_TYPES",
    "Quality",
    "explain",
    "is_bad",
    "quality",
]
