"""One owner per wire: a lock that a worker holds for as long as it may use a line or a device.

A worker that was orphaned by a killed supervisor, or a second gateway with the same runtime
directory, finds the lock taken and leaves the wire alone; the kernel frees it with its process.
"""

import contextlib
import os
import re
from pathlib import Path

from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.wire import Connection
from cpppod.workers.state import lock

FOLDER = "locks"


class OwnedConnection:
    """A connection that is opened only while its lock is ours; the lock is kept until `release`."""

    def __init__(self, connection: Connection, runtime_dir: str, key: str) -> None:
        self._connection = connection
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", key)
        self._path = Path(runtime_dir) / FOLDER / f"{name}.lock"
        self._file: int | None = None

    async def open(self) -> None:
        """Take the lock, then connect.

        Raises:
            DeviceError: another process holds the lock, or the device is not there.
        """
        if self._file is None:
            try:
                self._file = _lock(self._path)
            except BlockingIOError:
                text = f"another process owns it ({self._path.name})"
                raise DeviceError(Failure.NOT_CONNECTED, text) from None
            except OSError as error:
                text = f"no lock {self._path}: {os.strerror(error.errno or 0)}"
                raise DeviceError(Failure.NOT_CONNECTED, text) from None
        await self._connection.open()

    async def close(self) -> None:
        """Disconnect; the wire stays ours."""
        await self._connection.close()

    def release(self) -> None:
        """Others may have the wire."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


def _lock(path: Path) -> int:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return lock(path)
