"""Zones of local times by name, out of the data that `pytz` brings along."""

from typing import Any


def zone_of(name: str) -> Any:
    """The zone of that name; None for "".

    Raises:
        LookupError: there is none.
    """
    if not name:
        return None
    import pytz

    return pytz.timezone(name)
