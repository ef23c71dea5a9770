"""Relays TCP connections, late or not at all; nothing of the project in it.

    python relay.py PORT=TARGET ...        ports of loopback; obeys lines on its standard input

`delay S` lets every byte come S seconds late, `hold` lets none through and ends nothing, `cut` ends
every connection, `go` relays as at first.
"""

import asyncio
import sys

CHUNK = 65_536


class Relay:
    """All relays of this process, and how they are now."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.flows = asyncio.Event()
        self.flows.set()
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, port: int, target: int) -> None:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                writer.close()
                return
            self.open |= {writer, far_writer}
            ways = ((reader, far_writer), (far_reader, writer))
            await asyncio.gather(*(self.carry(*way) for way in ways))
            self.open -= {writer, far_writer}

        await asyncio.start_server(relay, "127.0.0.1", port)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything from one end to the other, in order."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_000)
        loop = asyncio.get_running_loop()

        async def late() -> None:
            while True:
                at, data = await waiting.get()
                await asyncio.sleep(max(at - loop.time(), 0))
                await self.flows.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        async def take() -> None:
            data = b"-"
            while data:
                data = await reader.read(CHUNK)
                await waiting.put((loop.time() + self.delay_s, data))

        try:
            await asyncio.gather(late(), take())
        except OSError:
            pass
        finally:
            writer.close()

    def obey(self, words: list[str]) -> None:
        """One line."""
        match words:
            case ["delay", seconds]:
                self.delay_s = float(seconds)
            case ["hold"]:
                self.flows.clear()
            case ["cut"]:
                for writer in list(self.open):
                    writer.transport.abort()
            case ["go"]:
                self.delay_s = 0.0
                self.flows.set()


async def main() -> None:
    relay = Relay()
    for pair in sys.argv[1:]:
        port, _, target = pair.partition("=")
        await relay.serve(int(port), int(target))
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        relay.obey(line.split())


if __name__ == "__main__":
    asyncio.run(main())
