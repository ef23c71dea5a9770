"""A server that sends back what it is sent."""

import socket
import sys
from typing import Any

from cpppo.server import network

address = ("", 8007)


def echo_server(conn: socket.socket, addr: Any) -> None:
    """Serve one client until it ends."""
    with conn:
        while message := network.recv(conn, timeout=None):
            conn.sendall(message)


def main() -> int:
    """Serve until stopped."""
    return int(network.server_main(address=address, target=echo_server))


if __name__ == "__main__":
    sys.exit(main())
