"""Two parameters of a drive, polled in a thread: python -m cpppo.server.enip.poll_example [HOST]"""

import sys
from collections.abc import Sequence

from cpppo.server.enip.poll_example_many import watch


def main(argv: Sequence[str] | None = None) -> int:
    """Print values and failures until interrupted."""
    return int(watch({1.0: ["Motor Velocity", "Output Current"]}, argv))


if __name__ == "__main__":
    sys.exit(main())
