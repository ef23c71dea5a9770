"""Over real sockets: targets that answer late, out of order, with lies, or without end."""

import struct
import tracemalloc
from collections import deque
from typing import Any

import pytest

from cpppod import client
from cpppod.protocols.enip.encapsulation import Frame
from tests.client.hostile_target import hostile_target, wrapped
from tests.client.shells import SHELLS, connect
from tests.patience import PATIENCE_S

SEVEN = bytes.fromhex("cc000000c40007000000")


pytestmark = pytest.mark.parametrize("shell", SHELLS)


def read(
    shell: str, address: tuple[str, int], *texts: str, timeout: float = PATIENCE_S, **how: Any
) -> list[Any]:
    connection = connect(shell, address, timeout=PATIENCE_S)
    try:
        return connection.process(client.parse_operations(texts), timeout=timeout, **how)[1]
    finally:
        connection.close()


def test_replies_out_of_order_reach_their_requests(shell: str) -> None:
    held: deque[tuple[Frame, bytes]] = deque()

    def answer(frame: Frame, request: bytes) -> bytes:
        number = int(request[4 : 4 + request[3]].strip(b"\0T"))
        held.appendleft((frame, struct.pack("<i", number)))
        if len(held) < 4:
            return b""
        replies = b"".join(wrapped(f, SEVEN[:6] + value) for f, value in held)
        held.clear()
        return replies

    with hostile_target(answer) as address:
        assert read(shell, address, "T1", "T2", "T3", "T4", depth=4) == [[1], [2], [3], [4]]


@pytest.mark.parametrize(("echoes", "depth"), [(False, 4), (True, 1)])
def test_a_target_that_sends_no_context_back_is_asked_one_by_one(
    shell: str, echoes: bool, depth: int
) -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        number = int(request[4 : 4 + request[3]].strip(b"\0T"))
        value = SEVEN[:6] + struct.pack("<i", number)
        return wrapped(frame._replace(context=bytes(8)), value)

    with hostile_target(answer, echoes=echoes) as address:
        assert read(shell, address, "T1", "T2", "T3", depth=depth) == [[1], [2], [3]]


def test_a_reply_in_pieces_is_put_together(shell: str) -> None:
    stream = bytearray()
    count = 0

    def answer(frame: Frame, request: bytes) -> bytes:
        nonlocal count
        count += 1
        stream.extend(wrapped(frame, SEVEN))
        keep = 0 if count == 5 else 5
        sent = bytes(stream[: len(stream) - keep])
        del stream[: len(sent)]
        return sent

    with hostile_target(answer) as address:
        assert read(shell, address, *["T"] * 5, depth=5) == [[7]] * 5


def test_a_late_reply_is_a_time_out_and_never_the_next_requests_value(shell: str) -> None:
    late: list[bytes] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        if not late:
            late.append(wrapped(frame, SEVEN[:6] + b"\x63\0\0\0"))
            return b""
        return late[0] + wrapped(frame, SEVEN)

    with hostile_target(answer) as address:
        connection = connect(shell, address, timeout=PATIENCE_S)
        with pytest.raises(client.ReplyTimeout):
            connection.process(["T"], timeout=0.2)
        assert connection.process(["T"]) == (0, [[7]])
        assert connection.protocol.late == 1
        connection.close()


ENDLESS = [
    ("P05 endless 0x06 without data", lambda frame: wrapped(frame, b"\xcc\0\6\0")),
    ("P01 another context", lambda frame: Frame(0x6F, b"", 1, 0, b"another!").encode()),
    ("P02 a length beyond the frame", lambda frame: wrapped(frame, SEVEN)[:40] + b"\xff" * 4),
    ("P06 more elements than asked", lambda frame: wrapped(frame, SEVEN + b"\1\0\0\0")),
    ("P10 ten megabytes of noise", lambda frame: b"\x5a" * 10_000_000),
    ("another service", lambda frame: wrapped(frame, b"\xcd" + SEVEN[1:])),
    ("another session", lambda frame: wrapped(frame, SEVEN, session=5)),
    ("status words that are not there", lambda frame: wrapped(frame, b"\xcc\0\1\x40")),
    ("an item that is too long", lambda frame: wrapped(frame, SEVEN)[:-8] + bytes(4)),
]


@pytest.mark.parametrize(("name", "reply"), ENDLESS, ids=[name for name, _ in ENDLESS])
def test_a_lying_target_gives_an_error_and_never_a_value(shell: str, name: str, reply: Any) -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        data: bytes = reply(frame)
        if request[0] == 0x52:
            data = data.replace(b"\xcc\0", b"\xd2\0")
        return data

    tracemalloc.start()
    with hostile_target(answer) as address, pytest.raises(client.CommunicationCeased):
        read(shell, address, "T", timeout=1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64_000_000  # the target's own ten megabytes, twice, and room


def test_a_silent_target_is_a_time_out(shell: str) -> None:
    with (
        hostile_target(lambda frame, request: b"") as address,
        pytest.raises(client.ReplyTimeout, match="Communication ceased"),
    ):
        read(shell, address, "T", "T", timeout=0.2, depth=2)


def test_a_target_that_refuses_at_the_encapsulation_layer_says_so(shell: str) -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        return Frame(0x6F, b"", 0x01020304, 8, frame.context).encode()

    with (
        hostile_target(answer) as address,
        pytest.raises(client.EnipStatusError, match="0x08"),
    ):
        read(shell, address, "T")
