"""Polling parameters of a device: `cpppod.poll`."""

import sys
from typing import Any

from cpppod import poll as ours
from cpppod.compat import command
from cpppod.poll import execute, loop, run

from .ab import powerflex_750_series


def poll(proxy_class: Any = None, address: Any = None, *order: Any, **how: Any) -> None:
    """Poll until `process.done`; see `cpppod.poll.poll`.

    Raises:
        UnknownParameter: with `pass_thru=False`.
    """
    ours.poll(proxy_class or powerflex_750_series, address, *order, **how)


main = command("enip.poll")

if __name__ == "__main__":
    sys.exit(main())
