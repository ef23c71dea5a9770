"""Moved: `cpppod.workers.simulators.text`."""

import sys

from cpppod.workers.simulators.text import main

if __name__ == "__main__":
    sys.exit(main())
