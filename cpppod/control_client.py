"""Talks to a running gateway's control socket: what `cpppoctl` and the live table stand on.

    with ControlClient.connect() as gateway:
        for device in gateway.ask("devices")["devices"]:
            print(device["name"], device["state"])

Where the socket is looked for: the one given or that of `$CPPPOD_SOCKET`, and no other; where none
is named the first found of `$RUNTIME_DIRECTORY`, `/run/cpppod`, `$XDG_RUNTIME_DIR/cpppod` and
`cpppod-<uid>` in the system's temporary directory (if it is ours).
The protocol is that of docs/control.md: a line of JSON each way.
"""

import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SOCKET_NAME = "control.sock"
MAX_REPLY = 67_108_864  # bytes of one reply line: 100,000 tags with their values take 20 MB
TIMEOUT_S = 30.0  # a reload waits for every worker; what reads state answers in milliseconds


class ControlError(Exception):
    """The gateway refused, or could not be reached.

    Attributes:
        what, why, advice: as `cpppoctl: what: why; try advice` says them.
    """

    def __init__(self, what: str, why: str, advice: str = "") -> None:
        super().__init__(f"{what}: {why}" + (f"; try {advice}" if advice else ""))
        self.what, self.why, self.advice = what, why, advice


class Unreachable(ControlError):
    """There is no daemon at any of the sockets tried, or it does not answer."""


def candidates(given: str = "", environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Paths at which to look for the control socket, in order.

    Only `given` if there is one, else only `$CPPPOD_SOCKET`: who names a gateway means no other.
    """
    if named := given or environment.get("CPPPOD_SOCKET"):
        return [_socket_in(Path(named))]
    paths = []
    if environment.get("RUNTIME_DIRECTORY"):  # as the gateway's own, in a container
        paths.append(_in_directory(Path(environment["RUNTIME_DIRECTORY"].split(":")[0])))
    paths.append(_in_directory(Path("/run/cpppod")))
    if environment.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environment["XDG_RUNTIME_DIR"]) / "cpppod" / SOCKET_NAME)
    paths.append(Path(tempfile.gettempdir()) / f"cpppod-{os.getuid()}" / SOCKET_NAME)
    return paths


def _socket_in(path: Path) -> Path:
    """`path` itself, or the socket in it where it is a runtime directory."""
    return _in_directory(path) if path.is_dir() else path


def _in_directory(runtime: Path) -> Path:
    """The socket of a runtime directory, or of our own in it where that is for everybody."""
    own = runtime / f"cpppod-{os.getuid()}" / SOCKET_NAME
    return own if own.exists() else runtime / SOCKET_NAME


def find_socket(given: str = "", environment: Mapping[str, str] = os.environ) -> Path:
    """The first of `candidates` that is a socket and may be trusted.

    Raises:
        Unreachable: none is; it names those tried.
    """
    tried = candidates(given, environment)
    for path in tried:
        if _is_trusted(path):
            return path
    names = ", ".join(str(path) for path in tried)
    raise Unreachable("no running gateway found", f"no control socket at {names}", "--socket PATH")


def _is_trusted(path: Path) -> bool:
    """Whether `path` is a socket that not just anybody put into the temporary directory."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        if path.parent.parent == Path(tempfile.gettempdir()):
            return path.parent.lstat().st_uid in (0, os.getuid())
    except OSError:
        return False
    return True


class ControlClient:
    """One connection to a control socket; a context manager."""

    def __init__(self, connection: socket.socket, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._last_id = 0

    @classmethod
    def connect(cls, given: str = "", *, timeout_s: float = TIMEOUT_S) -> Self:
        """A connection to the socket at `given` (a path), or to the first one found.

        Raises:
            Unreachable: no socket, or nobody listens at it.
        """
        path = find_socket(given)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            why = error.strerror or str(error)
            raise Unreachable(str(path), why, "starting cpppod") from None
        return cls(connection, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a stream that was asked for ends."""
        self._lines.close()
        self._connection.close()

    def ask(self, verb: str, **arguments: Any) -> Any:
        """The gateway's answer to `verb` with `arguments`.

        Raises:
            ControlError: it refused.
            Unreachable: the connection broke, or nothing came in time.
        """
        return self._receive(self._send(verb, arguments))

    def stream(self, verb: str, **arguments: Any) -> Iterator[Any]:
        """Every update of a streaming verb (`watch`), until the connection ends.

        Raises:
            ControlError: it refused.
            Unreachable: the daemon went away.
        """
        identity = self._send(verb, arguments)
        self._connection.settimeout(None)
        while True:
            yield self._receive(identity)

    def _send(self, verb: str, arguments: dict[str, Any]) -> int:
        self._last_id += 1
        request = {"id": self._last_id, "verb": verb, "arguments": arguments}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused at accept: the line that says why is there to be read
        except OSError as error:
            raise Unreachable(str(self.path), error.strerror or str(error)) from None
        return self._last_id

    def _receive(self, identity: int) -> Any:
        try:
            line = self._lines.readline(MAX_REPLY)
        except TimeoutError:
            raise Unreachable(str(self.path), "no answer in time", "cpppoctl status") from None
        except OSError as error:
            raise Unreachable(str(self.path), error.strerror or str(error)) from None
        if not line.endswith(b"\n"):
            raise Unreachable(str(self.path), "the daemon closed the connection", "cpppoctl status")
        answer = json.loads(line)
        if not answer["ok"]:
            refusal = answer["error"]
            raise ControlError(refusal["what"], refusal["why"], refusal["try"])
        if answer["id"] != identity:
            raise Unreachable(str(self.path), "an answer to another request")
        return answer["result"]
