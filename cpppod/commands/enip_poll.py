"""Moved: `cpppod.commands.enip.poll`."""

import sys

from cpppod.commands.enip.poll import main

if __name__ == "__main__":
    sys.exit(main())
