"""The control socket's client: where it looks, what it says when nobody is there."""

import json
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from cpppod.control_client import ControlClient, ControlError, Unreachable, candidates, find_socket


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    return server


def test_sockets_are_looked_for_in_the_documented_order() -> None:
    environment = {"XDG_RUNTIME_DIR": "/run/user/7"}
    environment["RUNTIME_DIRECTORY"] = "/srv/b:/srv/c"
    assert [str(path) for path in candidates("", environment)] == [
        "/srv/b/control.sock",
        "/run/cpppod/control.sock",
        "/run/user/7/cpppod/control.sock",
        f"{tempfile.gettempdir()}/cpppod-{os.getuid()}/control.sock",
    ]


def test_given_socket_is_the_only_one_tried(tmp_path: Path) -> None:
    assert candidates(str(tmp_path / "x.sock"), {"CPPPOD_SOCKET": "/y"}) == [tmp_path / "x.sock"]
    assert candidates(str(tmp_path), {}) == [tmp_path / "control.sock"]
    environment = {"CPPPOD_SOCKET": str(tmp_path / "gone"), "RUNTIME_DIRECTORY": "/srv/b"}
    assert candidates("", environment) == [tmp_path / "gone"]  # never another gateway's


def test_first_socket_that_is_there_wins(tmp_path: Path) -> None:
    with listening(tmp_path / "cpppod" / "control.sock"):
        found = find_socket("", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found in (Path("/run/cpppod/control.sock"), tmp_path / "cpppod" / "control.sock")


def test_unreachable_daemon_is_said_with_every_path_tried(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        ControlClient.connect(str(tmp_path / "none.sock"))
    assert str(tmp_path / "none.sock") in str(caught.value)


def test_socket_file_that_nobody_serves_is_unreachable(tmp_path: Path) -> None:
    listening(tmp_path / "control.sock").close()
    with pytest.raises(Unreachable, match="Connection refused"):
        ControlClient.connect(str(tmp_path / "control.sock"))


def serve_once(server: socket.socket, answers: list[dict[str, object]]) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as lines:
        request = json.loads(lines.readline())
        for answer in answers:
            line = json.dumps({"id": request["id"], **answer}) + "\n"
            connection.sendall(line.encode())


def test_refusal_carries_what_why_and_advice(tmp_path: Path) -> None:
    answer = {"ok": False, "error": {"what": "boiler", "why": "no such device", "try": "devices"}}
    with listening(tmp_path / "control.sock") as server:
        thread = threading.Thread(target=serve_once, args=(server, [answer]))
        thread.start()
        with ControlClient.connect(str(tmp_path)) as gateway, pytest.raises(ControlError) as caught:
            gateway.ask("device", name="boiler")
        thread.join()
    assert str(caught.value) == "boiler: no such device; try devices"


def test_refusal_at_accept_is_read_although_the_request_finds_the_connection_closed(
    tmp_path: Path,
) -> None:
    refusal = {"what": "control socket", "why": "uid 7 is in none of its groups", "try": ""}
    server = listening(tmp_path / "control.sock")
    with server, ControlClient.connect(str(tmp_path)) as gateway:
        connection, _ = server.accept()
        line = json.dumps({"id": None, "ok": False, "error": refusal}) + "\n"
        connection.sendall(line.encode())
        connection.close()
        with pytest.raises(ControlError, match="none of its groups"):
            gateway.ask("status")


def test_stream_yields_until_the_daemon_goes_away(tmp_path: Path) -> None:
    updates: list[dict[str, object]] = [
        {"ok": True, "result": number, "more": True} for number in range(3)
    ]
    with listening(tmp_path / "control.sock") as server:
        thread = threading.Thread(target=serve_once, args=(server, updates))
        thread.start()
        with ControlClient.connect(str(tmp_path)) as gateway:
            stream = gateway.stream("watch", patterns=["*"])
            seen = [next(stream) for _ in updates]
            with pytest.raises(Unreachable):
                next(stream)
        thread.join()
    assert seen == [0, 1, 2]
