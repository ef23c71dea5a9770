"""Modbus TCP devices whose every read is one number, written down; nothing of the project in it.

    python devices.py LEDGER NAME ...      prints {"name": port}; obeys lines on its standard input

`cut` ends every connection and refuses new ones for two seconds, `freeze` answers nobody any more.
A pair of registers holds the number of the read that it is in.
"""

import json
import socket
import socketserver
import struct
import sys
import threading
import time
from typing import TextIO

LOCK = threading.Lock()
NUMBERS: dict[str, int] = {}
OPEN: set[socket.socket] = set()


class State:
    """What a line on the standard input changes."""

    cut_until = 0.0
    frozen = False


def serve(name: str, ledger: TextIO) -> socketserver.ThreadingTCPServer:
    class Session(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            OPEN.add(self.request)
            try:
                while time.monotonic() > State.cut_until:
                    head = self.exactly(7)
                    transaction, _, length, unit = struct.unpack(">HHHB", head)
                    function, _, count = struct.unpack(">BHH", self.exactly(length - 1)[:5])
                    if State.frozen or time.monotonic() <= State.cut_until:
                        return
                    reply = self.answer(function, count)
                    self.request.sendall(
                        struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit) + reply
                    )
            except OSError:
                pass
            finally:
                OPEN.discard(self.request)

        def answer(self, function: int, count: int) -> bytes:
            if function != 3:
                return bytes((function | 0x80, 1))
            with LOCK:
                NUMBERS[name] += 1
                n = NUMBERS[name]
                ledger.write(f"{name} {n}\n")
                ledger.flush()
            words = struct.pack(">I", n) * (count // 2)
            return bytes((3, len(words))) + words

        def exactly(self, count: int) -> bytes:
            data = b""
            while len(data) < count:
                more = self.request.recv(count - len(data))
                if not more:
                    raise OSError
                data += more
            return data

    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    path, *names = sys.argv[1:]
    with open(path, "w", encoding="ascii") as ledger:
        NUMBERS.update(dict.fromkeys(names, 0))
        servers = {name: serve(name, ledger) for name in names}
        print(json.dumps({name: server.server_address[1] for name, server in servers.items()}))
        sys.stdout.flush()
        for line in sys.stdin:
            if line.strip() == "cut":
                State.cut_until = time.monotonic() + 2.0
                for connection in list(OPEN):
                    connection.shutdown(socket.SHUT_RDWR)
            elif line.strip() == "freeze":
                State.frozen = True


if __name__ == "__main__":
    main()
