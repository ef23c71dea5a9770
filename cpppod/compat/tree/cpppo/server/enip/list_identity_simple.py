"""Who answers a List Identity broadcast: one reply after the other."""

import sys
from collections.abc import Sequence

from cpppo.server import enip
from cpppo.server.enip import client


def main(argv: Sequence[str] | None = None) -> int:
    """Print what comes within `SECONDS` (the second argument) of asking `ADDRESS` (the first)."""
    address, seconds = [*(sys.argv[1:] if argv is None else argv), "255.255.255.255", "1.0"][:2]
    connection = client.client(host=address, udp=True, broadcast=True)
    connection.list_identity()
    while True:
        response, _ = client.await_response(connection, timeout=float(seconds))
        if not response:
            return 0
        print(enip.enip_format(response))


if __name__ == "__main__":
    sys.exit(main())
