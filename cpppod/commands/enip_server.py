"""Moved: `cpppod.commands.enip.server`."""

import sys

from cpppod.commands.enip.server import main

if __name__ == "__main__":
    sys.exit(main())
