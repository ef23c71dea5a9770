"""Small servers of sockets: a thread a connection, and a bench of clients against a server.

Who writes new programs uses asyncio; `server_main` is for those that bring a `target(conn, addr)`.
"""

import contextlib
import logging
import multiprocessing
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import Any

from ..dotdict import dotdict
from ..misc import function_name, parse_ip_port, timer

log = logging.getLogger("network")

LATENCY_S = 0.5
ADDRESS = r"[Ss]tarted.*address =\s*(?P<address>.*)?"


def readable(timeout: float | None = 0, default: Any = None) -> Callable[[Any], Any]:
    """A decorator: call `function(sock, ...)` once `sock` can be read, within `timeout` seconds."""
    wait_s = timeout

    def decorate(function: Any) -> Any:
        def waiting(sock: Any, *args: Any, timeout: float | None = wait_s, **how: Any) -> Any:
            ready, _, _ = select.select([sock.fileno()], [], [], timeout)
            return function(sock, *args, **how) if ready else default

        return waiting

    return decorate


@readable()
def recv(conn: socket.socket, maxlen: int = 4096) -> bytes:
    """What can be read within `timeout=` seconds; None for nothing, b"" at the end."""
    try:
        return conn.recv(maxlen)
    except OSError:
        return b""


@readable(default=(None, None))
def recvfrom(conn: socket.socket, maxlen: int = 4096) -> tuple[bytes, Any]:
    """(datagram, sender) within `timeout=` seconds; (None, None) for nothing."""
    try:
        return conn.recvfrom(maxlen)
    except OSError:
        return b"", None


@readable()
def accept(conn: socket.socket) -> Any:
    """(socket, address) of a connection that comes within `timeout=` seconds, else None."""
    return conn.accept()


def drain(conn: socket.socket, timeout: float = 0.1, close: bool = True) -> bytes | None:
    """Say that nothing more will be sent, and read what still comes within `timeout` seconds."""
    try:
        conn.shutdown(socket.SHUT_WR)
        received: bytes | None = recv(conn, timeout=timeout)
    except OSError:
        received = b""
    if close:
        conn.close()
    return received


class server_thread(threading.Thread):
    """A thread that serves one connection; joining ends its sending half."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.conn, self.addr = (*keywords["args"], None)[:2]

    def run(self) -> None:
        """Serve, and log what goes wrong."""
        try:
            super().run()
        except Exception:  # the user's code may raise anything: its connection ends
            log.warning("%s server failure", self.name, exc_info=True)

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(OSError):
            self.conn.shutdown(socket.SHUT_WR)
        super().join(timeout)


def settled(server: Any) -> Any:
    """`server["control"]` with what `server_main` needs: done, disable, latency and timeout."""
    control = server.setdefault("control", {}) if server else dotdict()
    control["done"], control["disable"] = False, False
    if "latency" not in control:
        control["latency"] = LATENCY_S
    if "timeout" not in control:
        control["timeout"] = 2 * float(control["latency"])
    return control


def server_main(
    address: tuple[str, int],
    target: Callable[..., Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    idle_service: Callable[[], Any] | None = None,
    thread_factory: Any = server_thread,
    reuse: bool = True,
    tcp: bool = True,
    udp: bool = False,
    address_output: bool | None = None,
    **others: Any,
) -> int:
    """Serve until `kwargs["server"]["control"]` is `done` or `disable`; 0.

    Args:
        target: called as `target(conn, addr, **kwargs)` in a thread for each connection; with
            `udp` once with the socket and None.
        idle_service: called about every `control.latency` seconds.
        thread_factory: makes the threads; `others` are keywords of it.
        address_output: print the address bound.

    Raises:
        OSError: the address is not to be had.
    """
    control = settled((kwargs or {}).get("server"))
    threads: list[Any] = []

    def serve(conn: socket.socket, addr: Any) -> None:
        thread = thread_factory(target=target, args=(conn, addr), kwargs=kwargs, **others)
        thread.daemon = True
        thread.start()
        threads.append(thread)

    with contextlib.ExitStack() as sockets:
        listener = None
        if tcp:
            listener = sockets.enter_context(_listening(address, reuse=reuse))
            control["address"] = listener.getsockname()
            _tell("TCP", control["address"], address_output)
        if udp:
            datagrams = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagrams.bind(address)
            control["address_udp"] = datagrams.getsockname()
            _tell("UDP", control["address_udp"], address_output)
            serve(datagrams, None)
        try:
            _accept(listener, control, serve, idle_service)
        except KeyboardInterrupt:
            control["done"] = True
        for thread in threads:
            thread.join(timeout=float(control["timeout"]))
    return 0


def _listening(address: tuple[str, int], *, reuse: bool) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if reuse:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(address)
    found.listen(100)
    return found


def _tell(kind: str, address: Any, wanted: bool | None) -> None:
    log.log(25, "%s server started on %r", kind, address)
    if wanted:
        print(f"Network {kind} Server address = {address!r}", flush=True)


def _accept(listener: Any, control: Any, serve: Any, idle_service: Any) -> None:
    while not control.get("disable") and not control.get("done"):
        latency = float(control["latency"])
        accepted = None
        if listener is None:
            time.sleep(latency)
        else:
            accepted = accept(listener, timeout=latency)
        if accepted is not None:
            serve(*accepted)
        elif idle_service is not None:
            idle_service()


def soak(
    command: Any,
    control: Any = None,
    address_latency: float | None = None,
    address_re: str | None = None,
) -> None:
    """Read a program's output until it ends; its address goes to `control["address"]`.

    Args:
        command: has `is_alive()` and `stdout`, bytes that may be read without waiting.
        address_re: finds the `address` in a line; by default `started ... address = HOST:PORT`.
    """
    pattern = re.compile(ADDRESS if address_re is None else address_re)
    rest = ""
    while command.is_alive() and not (control and control.get("done", False)):
        ready, _, _ = select.select([command.stdout.fileno()], [], [], address_latency or 0.1)
        read = command.stdout.read() if ready else None
        if not read:
            time.sleep(0 if not ready else address_latency or 0.1)
            continue
        *lines, rest = (rest + read.decode("utf-8", "backslashreplace")).split("\n")
        for line in lines:
            log.log(23, ">>> %s", line)
            found = pattern.search(line)
            if found and control is not None and not control.get("address"):
                host, port = parse_ip_port(found["address"].strip())
                control["address"] = (str(host), port)


def bench(
    server_func: Callable[..., Any],
    client_func: Callable[..., Any],
    client_count: int,
    server_kwds: dict[str, Any] | None = None,
    client_kwds: dict[str, Any] | None = None,
    client_max: int = 10,
    server_join_timeout: float = 1.0,
    address_latency: float = 0.1,
    address_delay: float | None = None,
    address_via_stdout: bool = False,
    server_cls: Any = None,
) -> int:
    """How many of `client_count` clients failed against a server that is started for them.

    Args:
        server_func: run as a process (or `server_cls`) with `server_kwds`.
        client_func: called in up to `client_max` threads with its number and `client_kwds`; what
            it returns says whether it failed.
        address_delay: seconds to wait for `server_kwds["server"]["control"]["address"]`, which the
            clients get as `address=`; with `address_via_stdout` it is read in the server's output.

    Raises:
        AssertionError: the server tells no address.
    """
    given = server_kwds or {}
    control = given.get("server", {}).get("control", {})
    kind: Any = server_cls or multiprocessing.Process
    output = None
    if address_delay and address_via_stdout:
        kind, output = _redirected(kind)
    server = kind(target=server_func, args=(), kwargs=given)
    server.daemon = True
    server.start()
    try:
        clients = dict(client_kwds or {})
        if address_delay:
            if output is not None:
                server.stdout = output
                how = {"command": server, "control": control, "address_latency": address_latency}
                threading.Thread(target=soak, kwargs=how, daemon=True).start()
            clients["address"] = _awaited(control, address_delay, address_latency)
        return _failures(client_func, client_count, client_max, clients)
    finally:
        _end(server, control, server_join_timeout)


def _redirected(kind: Any) -> tuple[Any, Any]:
    """A class of processes whose output can be read, and where."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)

    class Redirected(kind):  # type: ignore[misc]
        def run(self) -> None:
            with contextlib.redirect_stdout(writing.makefile("w", encoding="utf-8")):
                super().run()

    return Redirected, reading.makefile("rb", buffering=0)


def _awaited(control: Any, seconds: float, latency: float) -> Any:
    until = timer() + seconds
    while not (address := control.get("address")) and timer() < until:
        time.sleep(latency)
    assert address, f"the server told no address in {seconds} s"
    return address


def _failures(function: Any, count: int, at_once: int, keywords: dict[str, Any]) -> int:
    def failed(number: int) -> bool:
        try:
            return bool(function(number, **keywords))
        except Exception:  # whatever it is, this client failed
            log.exception("client %d of %s failed", number, function_name(function))
            return True

    with ThreadPool(at_once) as pool:
        return sum(pool.map(failed, range(count), chunksize=1))


def _end(server: Any, control: Any, timeout: float) -> None:
    if "done" in control:
        control["done"] = True
        server.join(timeout=timeout)
    for means in ("terminate", "kill"):
        if server.is_alive() and hasattr(server, means):
            getattr(server, means)()
            server.join(timeout=timeout)
