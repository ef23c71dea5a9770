"""Read a few attributes of any controller again and again, as an async iterator.

python examples/enip_poll_simple.py [HOST[:PORT] [COUNT]]    try it on: enip_server
"""

import asyncio
import sys

from cpppod import poll
from cpppod.proxy import proxy

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
count = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize


async def main() -> None:
    """Print `count` values."""
    via = proxy(host, int(port or 44818))
    seen = 0
    async for parameter, value in poll.values(
        via, [("@1/1/1", "INT"), ("@1/1/7", "SSTRING")], cycle=0.5, failure=print
    ):
        print(f"{parameter!r} == {value!r}", flush=True)
        seen += 1
        if seen >= count:
            break
    via.close_gateway()


asyncio.run(main())
