"""Moved: `cpppod.commands.enip.get_attribute`."""

import sys

from cpppod.commands.enip.get_attribute import main

if __name__ == "__main__":
    sys.exit(main())
