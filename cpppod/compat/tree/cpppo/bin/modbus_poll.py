"""The command `modbus_poll`, also as a program that is started by its path."""

import sys

from cpppod.commands.modbus.poll import main

if __name__ == "__main__":
    sys.exit(main())
