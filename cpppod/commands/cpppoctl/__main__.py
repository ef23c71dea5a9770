"""Runs `cpppoctl`."""

import sys

from cpppod.commands.cpppoctl.command import main

if __name__ == "__main__":
    sys.exit(main())
