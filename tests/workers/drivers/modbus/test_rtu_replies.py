"""Modbus RTU replies that lie, over a pty: no wrong value ever has good quality.

Asked is unit 1, function 3, address 0, count 2. What the unit really holds is 0x0001, 0x0002;
everything else that arrives is dead beef.
"""

import asyncio
import os
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.plant import Line, Tag
from cpppod.protocols.model.values import Quality
from tests.workers.devices.plant import (
    ANSWERING_S,
    SILENT_S,
    device,
    make_plant,
    polled,
    registers,
    simulated_line,
)

REQUEST_LENGTH = 8
Script = Callable[[bytes], list[tuple[float, bytes]]]


class ScriptedUnit:
    """The far end of a pty: answers each request with what a script makes of it."""

    def __init__(self, script: Script, *, latest_s: float = 60.0) -> None:
        self._script = script
        self._latest_s = latest_s
        self._buffer = bytearray()
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        asyncio.get_running_loop().add_reader(self.master, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)

    def _readable(self) -> None:
        self._buffer += os.read(self.master, 4096)
        while len(self._buffer) >= REQUEST_LENGTH:
            request = bytes(self._buffer[:REQUEST_LENGTH])
            del self._buffer[:REQUEST_LENGTH]
            until_s = time.monotonic() + self._latest_s
            for delay_s, reply in self._script(request):
                asyncio.get_running_loop().call_later(delay_s, self._write, reply, until_s)

    def _write(self, reply: bytes, until_s: float) -> None:
        """Send; what this machine held back for longer than the script may ask for is dropped."""
        if time.monotonic() > until_s:
            return
        try:
            os.write(self.master, reply)
        except OSError:
            pass  # the test has ended


def frame(text: str, unit: int = 1) -> bytes:
    return rtu.encode(unit, bytes.fromhex(text))


GOOD = frame("030400010002")
BAD = frame("0304deadbeef")

BAD_ROWS: dict[str, Script] = {
    "R02 CRC wrong by one bit": lambda _: [(0, BAD[:-1] + bytes((BAD[-1] ^ 1,)))],
    "R07 echo only": lambda request: [(0, request)],
    "R08 unit 2": lambda _: [(0, frame("0304deadbeef", 2))],
    "R16 unit 0": lambda _: [(0, frame("0304deadbeef", 0))],
    "R10 three bytes missing": lambda _: [(0, BAD[:-3])],
    "R12 count 250 with 4 bytes": lambda _: [(0, frame("03fadeadbeef"))],
    "R13 one register": lambda _: [(0, frame("0302dead"))],
    "R14 five registers": lambda _: [(0, frame("030a" + "dead" * 5))],
    "R15 exception": lambda _: [(0, frame("8302"))],
    "R19 silence": lambda _: [],
    "R20 function 4": lambda _: [(0, frame("0404deadbeef"))],
}
GOOD_ROWS: dict[str, Script] = {
    "R01 good": lambda _: [(0, GOOD)],
    "R03 noise 00": lambda _: [(0, b"\0" + GOOD)],
    "R04 noise ffffff": lambda _: [(0, b"\xff\xff\xff" + GOOD)],
    "R05 noise 0103": lambda _: [(0, b"\x01\x03" + GOOD)],
    "R06 echo, then the reply": lambda request: [(0, request + GOOD)],
    "R09 split by 60 ms": lambda _: [(0, GOOD[:4]), (0.06, GOOD[4:])],
    "R11 trailing 00": lambda _: [(0, GOOD + b"\0")],
    "R17 two replies": lambda _: [(0, GOOD + BAD)],
    "R18 4000 bytes of noise after": lambda _: [(0, GOOD + b"\xa5" * 4000)],
}
TAGS = registers(0, 2, type="UINT")


async def poll_scripted(
    script: Script, polls: int, timeout_s: float = SILENT_S
) -> list[tuple[object, int]]:
    """What r0 and r1 were published as, over so many finished polls."""
    unit = ScriptedUnit(script)
    line = Line("line", unit.path)
    settings = {"timeout_s": timeout_s, "retries": 0, "demote_after": 10, "period_s": 0.02}
    scripted = device("d", "line", TAGS, driver="modbus-rtu", **settings)
    async with polled(scripted, line=line) as (_, published):
        await published.until(lambda: len(published.blocks) >= polls)
    unit.close()
    return [sample for block in published.blocks for sample in block.samples.values()]


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_reply_that_lies_is_never_a_value(name: str) -> None:
    samples = asyncio.run(poll_scripted(BAD_ROWS[name], 2))
    assert samples
    assert all(value is None and quality & 0xFF >= Quality.BAD for value, quality in samples)


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_a_good_reply_is_used_whatever_is_around_it(name: str) -> None:
    samples = asyncio.run(poll_scripted(GOOD_ROWS[name], 4, ANSWERING_S))
    assert [value for value, quality in samples if quality == 0] == [1, 2]


def test_an_echo_is_named_where_it_is_seen_and_stripped_where_that_is_configured() -> None:
    async def scenario(strip: bool) -> tuple[object, str]:
        unit = ScriptedUnit(
            lambda request: [(0, request), (0.02, GOOD)] if strip else [(0, request)]
        )
        line = Line("line", unit.path, strip_echo=strip)
        keys = {"timeout_s": ANSWERING_S if strip else 0.5, "retries": 0, "driver": "modbus-rtu"}
        async with polled(device("d", "line", TAGS, **keys), line=line) as (wire, published):
            await published.until(lambda: bool(published.blocks))
            error = wire.devices["d"].counters.last_error
        unit.close()
        return published.value("d.r0"), error

    assert asyncio.run(scenario(True)) == (1, "")
    value, error = asyncio.run(scenario(False))
    assert value is None
    assert "echo seen" in error


def late_script(timeout_s: float) -> Script:
    """Each address has a value of its own, and its reply comes after 0 to 2 times the time-out."""
    import random

    dice = random.Random(11)

    def script(request: bytes) -> list[tuple[float, bytes]]:
        address = int.from_bytes(request[2:4], "big")
        reply = rtu.encode(1, b"\x03\x02" + (1000 + address).to_bytes(2, "big"))
        return [(dice.uniform(0, 2 * timeout_s), reply)]

    return script


async def late_polls(polls: int, timeout_s: float) -> tuple[int, int]:
    """(wrong, good) of so many polls of constants, one address a request."""
    unit = ScriptedUnit(late_script(timeout_s), latest_s=2 * timeout_s + 0.005)
    line = Line("line", unit.path)
    tags = tuple(Tag(f"r{at}", f"HR:{at}", type="UINT") for at in range(0, 100, 10))
    keys = {"timeout_s": timeout_s, "retries": 0, "demote_after": 10**9, "period_s": 0.001}
    late = device("d", "line", tags, driver="modbus-rtu", model={"one_at_a_time": True}, **keys)
    async with polled(late, line=line) as (wire, published):
        requests = wire.devices["d"].counters.requests
        await published.until(lambda: sum(requests.values()) >= polls, 3600.0)
    unit.close()
    wrong = good = 0
    for block in published.blocks:
        for name, (value, quality) in block.samples.items():
            if quality == 0:
                good += 1
                wrong += value != 1000 + int(name[1:])
    return wrong, good


async def late_lines(lines: int, polls: int, timeout_s: float) -> tuple[int, int]:
    """The same on several lines at once: real time-outs, in a fraction of the time."""
    results = await asyncio.gather(*(late_polls(polls, timeout_s) for _ in range(lines)))
    return sum(wrong for wrong, _ in results), sum(good for _, good in results)


def test_late_replies_never_become_anothers_value() -> None:
    wrong, good = asyncio.run(late_lines(5, 20, 0.05))
    assert wrong == 0
    assert good


@pytest.mark.campaign
def test_late_replies_never_become_anothers_value_in_10000_polls() -> None:
    wrong, good = asyncio.run(late_lines(10, 1_000, 0.1))
    print(f"10,000 polls, {good} values, {wrong} wrong")
    assert wrong == 0
    assert good > 1_000


@pytest.mark.parametrize(("share", "timeout_s"), [(0.001, 0.5), (0.01, 0.2)])
def test_noise_on_the_line_is_counted_and_never_a_value(
    share: float, timeout_s: float, tmp_path: Path
) -> None:
    async def scenario() -> None:
        plant = make_plant("1:40001-40020=7")
        plant.faults.add(parse_fault(f"noise-before:2,rate={45 * share / 2}"))
        plant.faults.add(parse_fault(f"crc,rate={45 * share}"))
        link = str(tmp_path / "line")
        keys = {"timeout_s": timeout_s, "retries": 1, "driver": "modbus-rtu", "period_s": 0.01}
        async with simulated_line(plant, link):
            noisy = device("d", "line", registers(0, 20), **keys)
            async with polled(noisy, line=Line("line", link)) as (_, published):
                await published.until(lambda: len(published.blocks) >= 30)
        samples = [block.samples.values() for block in published.blocks]
        good = [each for each in samples if not any(quality for _, quality in each)]
        assert all(value == 7 for each in samples for value, quality in each if quality == 0)
        assert len(good) >= (0.85 if share < 0.01 else 0.3) * len(samples)

    asyncio.run(scenario())
