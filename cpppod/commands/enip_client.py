"""Moved: `cpppod.commands.enip.client`."""

import sys

from cpppod.commands.enip.client import main

if __name__ == "__main__":
    sys.exit(main())
