"""A write and reads of `Tag=DINT[10]`, printed: python -m cpppo.server.enip.io [HOST[:PORT]]"""

import sys
from collections.abc import Sequence

from cpppo.misc import parse_ip_port
from cpppo.server.enip import address, client

TAGS = ["Tag[0-9]+16=(DINT)4,5,6,7,8,9", "@0x2/1/1", "Tag[3-5]"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print what came of each; 1 where one failed."""
    where = [*(sys.argv[1:] if argv is None else argv), "localhost"][0]
    host, port = parse_ip_port(where, default=("localhost", address[1]))
    with client.connector(host=str(host), port=port, timeout=1.0) as connection:
        operations = client.parse_operations(TAGS)
        failures, _ = connection.process(operations, depth=1, printing=True, timeout=1.0)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
