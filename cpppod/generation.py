"""Moved: `cpppod.gateway.generation`."""

import sys

from cpppod.gateway.generation import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
