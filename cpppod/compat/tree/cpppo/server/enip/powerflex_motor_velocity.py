"""Set a drive's velocity: python -m cpppo.server.enip.powerflex_motor_velocity @HOST 123.45"""

import sys
import time
from collections.abc import Sequence

from cpppo.misc import parse_ip_port
from cpppo.server.enip import address
from cpppo.server.enip.ab import powerflex_750_series


def main(argv: Sequence[str] | None = None) -> int:
    """Write it; 1 where that failed."""
    given = list(sys.argv[1:] if argv is None else argv)
    where = given.pop(0)[1:] if given and given[0].startswith("@") else "localhost"
    host, port = parse_ip_port(where, default=("localhost", address[1]))
    parameter = f"Motor Velocity = (REAL){float(given[0]) if given else 0.0}"
    via = powerflex_750_series(host=str(host), port=port)
    try:
        with via:
            (value,) = via.write(via.parameter_substitution(parameter), checking=True)
    except (OSError, AssertionError) as error:
        print(f"{parameter}: {error}", file=sys.stderr)
        return 1
    print(f"{time.ctime()}: {parameter:<32} == {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
