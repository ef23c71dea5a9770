"""Several tasks read over one connection at once.

python examples/enip_async.py [HOST[:PORT]]       try it on: enip_server SCADA=INT[1000]
"""

import asyncio
import sys

from cpppod.client import AsyncConnector


async def main(host: str, port: int) -> None:
    """Read three ranges at once."""
    async with await AsyncConnector.open(host, port, timeout=5.0) as connection:

        async def total(first: int, last: int) -> int:
            _, (values,) = await connection.process([f"SCADA[{first}-{last}]"])
            return sum(values)

        print(await asyncio.gather(total(0, 9), total(10, 99), total(100, 999)))


if __name__ == "__main__":
    name, _, number = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
    asyncio.run(main(name, int(number or 44818)))
