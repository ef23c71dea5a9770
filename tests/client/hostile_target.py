"""A TCP target in a thread that registers sessions and answers requests as a test says."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip.encapsulation import Frame, FrameReader
from cpppod.protocols.model.errors import DecodeError
from tests.patience import PATIENCE_S

SESSION = 0x01020304
Answerer = Callable[[Frame, bytes], bytes]  # frame, Message Router request -> bytes to send


def wrapped(frame: Frame, message: bytes, **changes: int) -> bytes:
    """The SendRRData reply to `frame` that carries `message`."""
    data = struct.pack("<IHHHHHH", 0, 0, 2, 0, 0, 0xB2, len(message)) + message
    return Frame(0x6F, data, changes.get("session", SESSION), 0, frame.context).encode()


def router_request(frame: Frame) -> bytes:
    """The request in a SendRRData frame, out of its Unconnected Send if it is in one."""
    message = frame.data[16:]
    if message[:2] == b"\x52\x02" and message[2:6] == b"\x20\x06\x24\x01":
        return UnconnectedSend.decode(message[6:]).request
    return message


@contextlib.contextmanager
def hostile_target(
    answer: Answerer, *, echoes: bool = True, replies: int = 0
) -> Iterator[tuple[str, int]]:
    """The address of a target that answers by `answer`.

    Args:
        echoes: whether it sends the sender context of a registration back.
        replies: closes each connection after so many; 0: never.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []
    sockets = [listener]

    def serve(peer: socket.socket) -> None:
        reader = FrameReader()
        left = replies
        with contextlib.suppress(OSError, DecodeError):
            while data := peer.recv(65_536):
                reader.receive_data(data)
                while (frame := reader.next_frame()) is not None:
                    if frame.command == 0x65:
                        context = frame.context if echoes else bytes(8)
                        peer.sendall(Frame(0x65, b"\1\0\0\0", SESSION, 0, context).encode())
                    elif frame.command == 0x6F:
                        peer.sendall(answer(frame, router_request(frame)))
                        left -= 1
                        if not left:
                            peer.shutdown(socket.SHUT_RDWR)
        peer.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                sockets.append(peer)
                thread = threading.Thread(target=serve, args=(peer,))
                thread.start()
                threads.append(thread)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(PATIENCE_S)
        for each_thread in threads:
            each_thread.join(PATIENCE_S)
