"""The line that the timing tests stand on keeps a real line's time."""

import asyncio
import math
import os
import time
from pathlib import Path

import pytest

from tests.paced_pty import PacedLine
from tests.patience import PATIENCE_S


async def carry(line: PacedLine, data: bytes) -> float:
    """Send `data` from the gateway's end; seconds until the last byte is at the units' end."""
    sender = os.open(line.gateway.link, os.O_RDWR | os.O_NOCTTY)
    receiver = os.open(line.units.link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    received = bytearray()
    arrived = asyncio.Event()

    def readable() -> None:
        received.extend(os.read(receiver, 4096))
        if len(received) >= len(data):
            arrived.set()

    asyncio.get_running_loop().add_reader(receiver, readable)
    started_s = time.monotonic()
    os.write(sender, data)
    await asyncio.wait_for(arrived.wait(), PATIENCE_S)
    lasted_s = time.monotonic() - started_s
    asyncio.get_running_loop().remove_reader(receiver)
    os.close(sender)
    os.close(receiver)
    assert bytes(received) == data
    return lasted_s


def test_a_thousand_bytes_at_19200_baud_take_their_time_within_2_percent(tmp_path: Path) -> None:
    wanted_s = 1000 * 11 / 19_200

    async def scenario() -> float:
        line = PacedLine(tmp_path)
        best_s = math.inf
        for _ in range(20):  # until this process was not kept waiting
            lasted_s = await carry(line, os.urandom(1000))
            assert lasted_s >= 0.98 * wanted_s
            best_s = min(best_s, lasted_s)
            if best_s <= 1.02 * wanted_s:
                break
        line.close()
        return best_s

    assert asyncio.run(scenario()) == pytest.approx(wanted_s, rel=0.02)


def test_both_sides_at_once_are_a_collision(tmp_path: Path) -> None:
    async def scenario() -> int:
        line = PacedLine(tmp_path, 9_600)
        first = os.open(line.gateway.link, os.O_RDWR | os.O_NOCTTY)
        second = os.open(line.units.link, os.O_RDWR | os.O_NOCTTY)
        for side in (first, second):
            os.write(side, bytes(range(1, 201)))  # a fifth of a second
        while line.carried < 400:
            await asyncio.sleep(0.001)
        os.close(first)
        os.close(second)
        line.close()
        return line.collisions

    assert asyncio.run(scenario()) == 1
