"""The HTTP server around the application: slow heads, TLS, and certificates that are renewed."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.web import server
from cpppod.workers.web.server import WebServer, tls_context
from tests.patience import PATIENCE_S

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def serving(
    talk: Callable[[WebServer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> None:
    """Run `talk` beside a server on a free port."""

    async def run() -> None:
        web = WebServer()
        web.start(application, "127.0.0.1", 0, tls)
        try:
            await asyncio.wait_for(talk(web), PATIENCE_S)
        finally:
            await web.stop()

    asyncio.run(run())


@pytest.mark.parametrize("head", [b"", b"GET / HT", REQUEST[:-2]])
def test_a_head_that_does_not_come_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.05)

    async def talk(web: WebServer) -> None:
        reader, writer = await asyncio.open_connection(*web.address)
        writer.write(head)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        writer.close()

    serving(talk)


def test_a_whole_head_is_answered_and_the_connection_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.2)

    async def talk(web: WebServer) -> None:
        reader, writer = await asyncio.open_connection(*web.address)
        for _ in range(3):
            writer.write(REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()

    serving(talk)


def test_an_address_that_is_taken_is_said() -> None:
    async def talk(web: WebServer) -> None:
        with pytest.raises(OSError):
            WebServer().start(application, *web.address, None)

    serving(talk)


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for `name`, made by openssl."""
    files = str(folder / f"{name}.crt"), str(folder / f"{name}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    rest = ["-nodes", "-days", "1", "-subj", f"/CN={name}", "-out", files[0], "-keyout", files[1]]
    subprocess.run([*command, *rest], check=True, capture_output=True, timeout=PATIENCE_S)
    return files


def served_by(address: tuple[str, int]) -> bytes:
    """The certificate that a client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(REQUEST)
        assert secure.recv(100).startswith(b"HTTP/1.1 204")
        return secure.getpeercert(binary_form=True) or b""


def test_tls_serves_a_renewed_certificate_to_connections_from_then_on(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    context = tls_context(*first)

    async def talk(web: WebServer) -> None:
        before = await asyncio.to_thread(served_by, web.address)
        context.load_cert_chain(*second)
        assert await asyncio.to_thread(served_by, web.address) != before

    serving(talk, context)


def test_a_key_of_another_certificate_is_an_error(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    with pytest.raises(OSError):
        tls_context(first[0], second[1])
    with pytest.raises(OSError):
        tls_context(str(tmp_path / "none.crt"), first[1])


def test_idle_connections_make_room_for_who_asks() -> None:
    async def talk(web: WebServer) -> None:
        idle = [
            await asyncio.open_connection(*web.address) for _ in range(server.MAX_CONNECTIONS + 20)
        ]
        reader, writer = await asyncio.open_connection(*web.address)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        for _reader, each in (*idle, (reader, writer)):
            each.close()

    serving(talk)
