"""The example `io_example`."""

import sys

from cpppo.server.enip.io_example import main

if __name__ == "__main__":
    sys.exit(main())
