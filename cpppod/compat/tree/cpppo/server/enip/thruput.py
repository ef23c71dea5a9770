"""The command `enip_thruput`."""

import sys

from cpppod.commands.enip.thruput import main

if __name__ == "__main__":
    sys.exit(main())
