"""Moved: `cpppod.commands.modbus.sim`."""

import sys

from cpppod.commands.modbus.sim import main

if __name__ == "__main__":
    sys.exit(main())
