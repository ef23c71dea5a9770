"""Moved: `cpppod.commands.modbus.poll`."""

import sys

from cpppod.commands.modbus.poll import main

if __name__ == "__main__":
    sys.exit(main())
