"""Moved: `cpppod.gateway.supervisord`."""

import sys

from cpppod.gateway.supervisord import main

if __name__ == "__main__":
    sys.exit(main())
