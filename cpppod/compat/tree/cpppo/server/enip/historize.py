"""The command `enip_historize`."""

import sys

from cpppod.commands.enip.historize import main

if __name__ == "__main__":
    sys.exit(main())
