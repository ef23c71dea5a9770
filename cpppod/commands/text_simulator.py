"""A simulated scale or NMEA 0183 source; see `cpppod.workers.text_simulator`."""

import sys

from cpppod.workers.simulators.text import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
