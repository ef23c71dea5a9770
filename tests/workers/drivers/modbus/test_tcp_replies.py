"""Modbus TCP replies that lie, over real sockets: no wrong value ever has good quality.

Asked is unit 1, function 3, address 0, count 2. What the device really holds is 0x0001, 0x0002;
everything else that arrives is dead beef.
"""

import asyncio
from collections.abc import Callable

import pytest

from cpppod.protocols.modbus.faults import Fault, parse_fault
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import Quality
from tests.workers.devices.plant import (
    ANSWERING_S,
    SILENT_S,
    device,
    make_plant,
    polled,
    registers,
    simulated,
)

REQUEST_LENGTH = 12
GOOD = bytes.fromhex("01030400010002")


class Scripted(asyncio.Protocol):
    """A device that answers each request with the bytes that a script makes of its id."""

    def __init__(self, script: Callable[[int], list[tuple[float, bytes]]]) -> None:
        self._script = script
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= REQUEST_LENGTH:
            transaction = int.from_bytes(self._buffer[:2], "big")
            del self._buffer[:REQUEST_LENGTH]
            for delay_s, reply in self._script(transaction):
                asyncio.get_running_loop().call_later(delay_s, self._write, reply)

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)  # type: ignore[attr-defined]


def adu(transaction: int, body: str, *, protocol: int = 0, length: int | None = None) -> bytes:
    data = bytes.fromhex(body)
    size = len(data) if length is None else length
    return (
        (transaction & 0xFFFF).to_bytes(2, "big")
        + protocol.to_bytes(2, "big")
        + (size.to_bytes(2, "big") + data)
    )


BAD = "010304deadbeef"
GOOD_HEX = GOOD.hex()


def swapped(number: int) -> int:
    return (number & 0xFF) << 8 | number >> 8


ROWS: dict[str, Callable[[int], list[tuple[float, bytes]]]] = {
    "M01 transaction + 1": lambda t: [(0, adu(t + 1, BAD))],
    "M02 transaction swapped": lambda t: [(0, adu(swapped(t), BAD))],
    "M03 unit + 1": lambda t: [(0, adu(t, "02" + BAD[2:]))],
    "M04 protocol 1": lambda t: [(0, adu(t, BAD, protocol=1))],
    "M05 length short": lambda t: [(0, adu(t, BAD, length=3))],
    "M06 length long": lambda t: [(0, adu(t, BAD, length=255))],
    "M07 length 0": lambda t: [(0, adu(t, BAD, length=0))],
    "M08 length 65535": lambda t: [(0, adu(t, BAD, length=65_535))],
    "M09 one register": lambda t: [(0, adu(t, "010302dead"))],
    "M10 byte count 3": lambda t: [(0, adu(t, "010303deadbe"))],
    "M11 byte count 250": lambda t: [(0, adu(t, "0103fadeadbeef"))],
    "M12 ten registers": lambda t: [(0, adu(t, "010314" + "dead" * 10))],
    "M13 function 4": lambda t: [(0, adu(t, "010404deadbeef"))],
    "M14 exception 2": lambda t: [(0, adu(t, "018302"))],
    "M15 exception EE": lambda t: [(0, adu(t, "0183ee"))],
    "M16 exception without code": lambda t: [(0, adu(t, "0183"))],
    "M17 exception of function 4": lambda t: [(0, adu(t, "018402"))],
    "M18 function 7f": lambda t: [(0, adu(t, "017f04deadbeef"))],
    "M19 300 bytes a5": lambda t: [(0, b"\xa5" * 300)],
    "M22 id 0": lambda t: [(0, adu(0, BAD))],
    "M23 acknowledge": lambda t: [(0, adu(t, "018305"))],
    "M24 busy": lambda t: [(0, adu(t, "018306"))],
    "silence": lambda t: [],
}

GOOD_ROWS: dict[str, Callable[[int], list[tuple[float, bytes]]]] = {
    "M20 twice, the second another": lambda t: [(0, adu(t, GOOD_HEX) + adu(t, BAD))],
    "M20 twice, the second later": lambda t: [(0, adu(t, GOOD_HEX)), (0.01, adu(t, BAD))],
    "M21 byte by byte": lambda t: [
        (0.01 * at, bytes((byte,))) for at, byte in enumerate(adu(t, GOOD_HEX))
    ],
    "M22 stale then good": lambda t: [(0, adu(t - 1, BAD) + adu(t, GOOD_HEX))],
    "M22 id 0 then good": lambda t: [(0, adu(0, BAD) + adu(t, GOOD_HEX))],
    "M17 then good": lambda t: [(0, adu(t, "018402") + adu(t, GOOD_HEX))],
}

TAGS = registers(0, 2, type="UINT")


async def poll_scripted(
    script: Callable[[int], list[tuple[float, bytes]]], polls: int, timeout_s: float = SILENT_S
) -> list[tuple[object, int]]:
    """What r0 and r1 were published as, over so many finished polls."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Scripted(script), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = {"timeout_s": timeout_s, "retries": 0, "demote_after": 10, "period_s": 0.02}
    async with polled(device("d", address, TAGS, **settings)) as (_, published):
        await published.until(lambda: len(published.blocks) >= polls)
    server.close()
    return [sample for block in published.blocks for sample in block.samples.values()]


@pytest.mark.parametrize("name", ROWS)
def test_a_reply_that_lies_is_never_a_value(name: str) -> None:
    samples = asyncio.run(poll_scripted(ROWS[name], 2))
    assert samples
    assert all(value is None and quality & 0xFF >= Quality.BAD for value, quality in samples)


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_a_good_reply_is_used_whatever_else_arrives(name: str) -> None:
    samples = asyncio.run(poll_scripted(GOOD_ROWS[name], 5, ANSWERING_S))
    assert [value for value, quality in samples if quality == 0] == [1, 2]
    assert all(value is None for value, quality in samples if quality != 0)


def test_an_exceptions_code_is_kept_in_the_quality() -> None:
    samples = asyncio.run(poll_scripted(ROWS["M15 exception EE"], 1, ANSWERING_S))
    assert {quality >> 8 & 0xFF for _, quality in samples} == {0xEE}


def test_a_device_that_answers_with_id_0_is_believed_only_where_its_model_says_so() -> None:
    async def scenario() -> object:
        loop = asyncio.get_running_loop()

        def script(transaction: int) -> list[tuple[float, bytes]]:
            return [(0.0, adu(0, GOOD_HEX))]

        server = await loop.create_server(lambda: Scripted(script), "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = {"accept_zero_id": True}
        async with polled(device("d", address, TAGS, model=model)) as (_, published):
            await published.until(lambda: published.quality("d.r0") == 0)
        server.close()
        return published.value("d.r1")

    assert asyncio.run(scenario()) == 2


def test_a_busy_device_is_asked_again_within_the_same_poll() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=5")
        plant.faults.add(Fault("busy", times=2))
        async with simulated(plant) as (_, address):
            tags = registers(0, 2)
            async with polled(device("d", address, tags)) as (wire, published):
                await published.until(lambda: bool(published.blocks))
                assert published.value("d.r0") == 5
                requests = wire.devices["d"].counters.requests
                assert requests["read", "exception"] == 2

    asyncio.run(scenario())


LATE_POLLS = 150
CAMPAIGN_POLLS = 10_000


async def late_polls(polls: int, timeout_s: float) -> tuple[int, int]:
    """(wrong, good) of so many polls whose replies come after 0 to 2 times the time-out."""
    plant = make_plant(*(f"HR:{at}={1000 + at}" for at in range(100)))
    plant.faults.add(parse_fault(f"late:0-{2 * timeout_s}"))
    tags = tuple(Tag(f"r{at}", f"HR:{at}", type="UINT") for at in range(0, 100, 10))
    wrong = good = 0
    model = {"one_at_a_time": True}
    keys = {"timeout_s": timeout_s, "retries": 0, "demote_after": 10**9, "period_s": 0.001}
    async with simulated(plant) as (_, address):
        async with polled(device("d", address, tags, model=model, **keys)) as (wire, published):
            requests = wire.devices["d"].counters.requests
            await published.until(lambda: sum(requests.values()) >= polls, 3600.0)
        for block in published.blocks:
            for name, (value, quality) in block.samples.items():
                if quality == 0:
                    good += 1
                    wrong += value != 1000 + int(name[1:])
    return wrong, good


def test_late_replies_never_become_anothers_value() -> None:
    wrong, good = asyncio.run(late_polls(LATE_POLLS, 0.02))
    assert wrong == 0
    assert good


@pytest.mark.campaign
def test_late_replies_never_become_anothers_value_in_10000_polls() -> None:
    wrong, good = asyncio.run(late_polls(CAMPAIGN_POLLS, 0.02))
    assert wrong == 0
    assert good
