"""Moved: `cpppod.commands.modbus.scan`."""

import sys

from cpppod.commands.modbus.scan import main

if __name__ == "__main__":
    sys.exit(main())
