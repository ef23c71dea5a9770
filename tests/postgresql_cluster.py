"""A PostgreSQL server of a test's own, from Debian's package: made, started, stopped and
removed."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import peers
from tests.patience import PATIENCE_S
from tests.ports import free_port


class Cluster:
    """A server on a port of its own; `url` is its database."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if fsync else "off"
        self.port = free_port()
        self.url = f"postgresql://cpppod@127.0.0.1:{self.port}/postgres"
        self._user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        options = ["--auth=trust", "--username=cpppod", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [peers.postgresql("initdb"), "-D", str(folder / "data"), *options],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **self._as_user(),
        )

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid}

    def own(self, folder: Path) -> None:
        """Let the server keep tables in `folder`."""
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [peers.postgresql("postgres"), "-D", str(self.folder / "data")]
        command += ["-p", str(self.port), "-k", str(self.folder), "-c", f"fsync={self._fsync}"]
        command += ["-c", "max_connections=20", "-c", "listen_addresses=127.0.0.1"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as_user(),
        )
        ready = [peers.postgresql("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("the PostgreSQL server did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as an immediate shutdown does."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_S)
        self._process = None

    def _processes(self) -> list[int]:
        assert self._process is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [self._process.pid, *map(int, listed.stdout.split())]

    def hang(self) -> None:
        """Stop all its processes where they are: connections stay open, nothing answers."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def running_cluster(*, fsync: bool = False) -> Iterator[Cluster]:
    """A server that runs; everything of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cpppod-pg-"))
    folder.chmod(0o755)
    cluster = None
    try:
        cluster = Cluster(folder, fsync=fsync)
        cluster.start()
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
