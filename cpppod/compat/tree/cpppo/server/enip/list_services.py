"""The command `enip_list_services`."""

import sys

from cpppod.commands.enip.list_services import main

if __name__ == "__main__":
    sys.exit(main())
