"""Moved: `cpppod.gateway.demo`."""

import sys

from cpppod.gateway.demo import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
