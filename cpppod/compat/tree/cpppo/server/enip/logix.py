"""A Logix controller's Message Router; `main` serves its own."""

from typing import Any

from cpppod.compat import Replaced
from cpppod.protocols.cip.message_router import Service

from .device import Message_Router, _codes, lookup_reset


class Logix(Message_Router):
    """The services of tags."""

    CODES = _codes(
        RD_TAG=Service.READ_TAG,
        RD_FRG=Service.READ_TAG_FRAGMENTED,
        WR_TAG=Service.WRITE_TAG,
        WR_FRG=Service.WRITE_TAG_FRAGMENTED,
    )
    MAX_BYTES = 488


def setup(*_: Any, **__: Any) -> Any:
    """Not offered.

    Raises:
        Replaced: always.
    """
    raise Replaced("logix.setup, logix.process: cpppod.simulator.Simulator serves tags")


def setup_reset() -> None:
    """Forget all objects and tags."""
    lookup_reset()


process = setup
