"""Playback: on time, at a factor, in a loop; as a feed, a Modbus device, a controller."""

import argparse
import asyncio
import contextlib
import io
import time
from pathlib import Path
from typing import Any

import pytest
from pycomm3 import LogixDriver
from pymodbus.client import AsyncModbusTcpClient

from cpppod.feed import Subscriber
from cpppod.history import logger
from cpppod.history.playback import Player, add_arguments, run
from cpppod.history.playback_devices import EnipSink, ModbusSink, parse_registers
from cpppod.history.playback_feed import FeedSink
from cpppod.history.recording import PlaybackError, RecordedChange
from tests.patience import PATIENCE_S
from tests.ports import adjacent_ports

T0 = 1_700_000_000
US = 1_000_000


def moment(at_s: float, **samples: Any) -> RecordedChange:
    return RecordedChange(
        round((T0 + at_s) * US), {f"boiler.{tag}": (value, 0) for tag, value in samples.items()}
    )


class Recorder:
    """A sink that notes when each moment came."""

    def __init__(self, stop_after: int = 1_000_000) -> None:
        self.played: list[tuple[float, RecordedChange]] = []
        self._stop_after = stop_after
        self._begun = time.monotonic()

    async def open(self, tags: dict[str, Any]) -> str:
        return ""

    async def play(self, moment: RecordedChange) -> None:
        self.played.append((time.monotonic() - self._begun, moment))
        if len(self.played) >= self._stop_after:
            raise asyncio.CancelledError

    async def close(self) -> None:
        return


def command(*words: str) -> tuple[int, str, str]:
    """`cpppoctl play`: its status and what it printed."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(parser.parse_args(words))
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def plant(tmp_path: Path) -> str:
    with logger(tmp_path / "plant.hst") as file:
        for n in range(4):
            file.write({"boiler.level": n * 1.5, "pump.on": bool(n % 2)}, now=T0 + n)
    return str(tmp_path / "plant.hst")


def test_moments_come_when_they_are_due() -> None:
    recorder = Recorder()
    recording = [moment(0, a=0), moment(1, a=1), moment(1, a=2), moment(3, a=3)]
    asyncio.run(Player(lambda: recording, [recorder], factor=20).run())
    times = [at for at, _ in recorder.played]
    assert [each for _, each in recorder.played] == recording
    assert times[1] > 0.049  # timers may be early by their resolution
    assert times[3] > 0.149


def test_what_is_late_is_given_out_at_once_and_none_is_left_out() -> None:
    recorder = Recorder()
    recording = [moment(n / 1000, a=n) for n in range(5_000)]
    player = Player(lambda: recording, [recorder], factor=1e6)
    asyncio.run(player.run())
    assert [each for _, each in recorder.played] == recording
    assert player.samples == 5_000


def test_a_loop_begins_again() -> None:
    recorder = Recorder(stop_after=5)
    recording = [moment(0, a=0), moment(1, a=1)]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Player(lambda: recording, [recorder], factor=100, loop=True).run())
    values = [each.samples["boiler.a"][0] for _, each in recorder.played]
    assert values == [0, 1, 0, 1, 0]


def test_a_factor_must_be_above_nothing() -> None:
    with pytest.raises(PlaybackError, match="factor"):
        Player(list, [], factor=0)


def test_the_command_prints_values_as_they_were(plant: str) -> None:
    status, out, _ = command(plant, "--factor", "1000", "--tags", "boiler.*")
    assert status == 0
    assert out.splitlines() == [
        f"2023-11-14 22:13:2{n}.000  boiler.level = {n * 1.5}" for n in range(4)
    ]


def test_the_command_begins_and_ends_where_told(plant: str) -> None:
    options = ["--factor", "1000", "--tags", "boiler.level"]
    begin = ["--from", "2023-11-14 22:13:21.500"]
    assert [line.split()[-1] for line in command(plant, *options, *begin)[1].splitlines()] == [
        "1.5",
        "3.0",
        "4.5",
    ]
    end = ["--to", "2023-11-14T22:13:21Z"]
    assert len(command(plant, *options, *end)[1].splitlines()) == 2
    assert len(command(plant, *options, "--for", "2s")[1].splitlines()) == 3
    assert len(command(plant, *options, *begin, "--for", "1s")[1].splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.hst"], "neither a history file"),
        (["PLANT", "--tags", "nothing.*"], "nothing recorded"),
        (["PLANT", "--factor", "0"], "factor"),
        (["PLANT", "--modbus", "127.0.0.1:0"], "--registers"),
        (["PLANT", "--registers", "a=40001"], "--modbus"),
        (["PLANT", "--modbus", "here", "--registers", "a=1"], "HOST:PORT"),
        (["PLANT", "--modbus", "127.0.0.1:0", "--registers", "x.y=40001"], "not recorded: x.y"),
        (["PLANT", "--modbus", "127.0.0.1:0", "--registers", "x.y=what"], "x.y"),
        (["PLANT", "--modbus", "127.0.0.1:0", "--registers", "x.y"], "TAG=ADDRESS"),
    ],
)
def test_what_cannot_be_played_is_said(plant: str, words: list[str], said: str) -> None:
    status, _, err = command(*(plant if word == "PLANT" else word for word in words))
    assert status == 1
    assert err.startswith("cpppoctl: play: ") and said in err


def test_a_recorded_plant_is_in_a_modbus_device(tmp_path: Path) -> None:
    mapped = tmp_path / "registers.txt"
    mapped.write_text("# of the boiler\nboiler.level=40001:REAL\nboiler.count=HR:2:DINT  # two\n\n")
    registers = parse_registers([str(mapped), "boiler.on=CO:7", "boiler.small=40011"])

    async def scenario() -> None:
        sink = ModbusSink("127.0.0.1", 0, registers)
        told = await sink.open(dict.fromkeys(registers))
        port = int(told.split()[1].rstrip(",").rpartition(":")[2])
        await sink.play(moment(0, level=2.5, count=-70_000, on=True, small=7.4, other=1))
        await sink.play(RecordedChange(T0, {"boiler.level": (None, 18), "boiler.small": (1e9, 0)}))
        async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
            words = (await client.read_holding_registers(0, count=4)).registers
            coils = (await client.read_coils(7, count=1)).bits
            small = (await client.read_holding_registers(10, count=1)).registers
        kind = AsyncModbusTcpClient.DATATYPE
        assert client.convert_from_registers(words[:2], kind.FLOAT32) == 2.5
        assert client.convert_from_registers(words[2:], kind.INT32) == -70_000
        assert coils[0] is True and small == [7]
        await sink.close()

    asyncio.run(scenario())


def test_a_recorded_plant_is_a_feed_marked_as_replay() -> None:
    async def scenario() -> None:
        port, _ = adjacent_ports()
        sink = FeedSink("127.0.0.1", port)
        await sink.open({"boiler.a": 0, "boiler.b": 0})
        try:
            await sink.play(moment(0, a=1, b=2))
            async with Subscriber(f"tcp://127.0.0.1:{port}", "boiler") as feed:
                async with asyncio.timeout(PATIENCE_S):
                    first = await anext(aiter(feed))
                    assert first.publisher == "replay"
                    assert (first.device, first.source_us) == ("boiler", T0 * US)
                    assert {tag: sample.value for tag, sample in first.values.items()} == {
                        "a": 1,
                        "b": 2,
                    }
                    await sink.play(moment(1, a=5))
                    async for update in feed:
                        if update.source_us > T0 * US:
                            break
                    assert update.values["a"].value == 5
        finally:
            await sink.close()

    asyncio.run(scenario())


def test_a_recorded_plant_is_in_a_controller() -> None:
    def read(port: int) -> dict[str, Any]:
        with LogixDriver(f"127.0.0.1:{port}") as plc:
            found = plc.read(
                "boiler.level", "boiler.count", "boiler.on", "boiler.name", "boiler.a{2}"
            )
            return {tag.tag: tag.value for tag in found}

    async def scenario() -> None:
        sink = EnipSink("127.0.0.1", 0)
        first = {"boiler.level": 1.5, "boiler.count": 7, "boiler.on": True, "boiler.name": "x"}
        told = await sink.open({**first, "boiler.a": [1, 2], "boiler.none": None, "loose": 1})
        port = int(told.split()[1].rstrip(",").rpartition(":")[2])
        await sink.play(moment(0, level=2.5, count=9, on=True, name="eleven", a=[3, 4]))
        await sink.play(RecordedChange(T0, {"boiler.level": (None, 18), "loose": (5, 0)}))
        assert await asyncio.to_thread(read, port) == {
            "boiler.level": 2.5,
            "boiler.count": 9,
            "boiler.on": True,
            "boiler.name": "eleven",
            "boiler.a": [3, 4],
        }
        await sink.close()

    asyncio.run(scenario())


def test_a_controller_needs_tags_of_a_device(tmp_path: Path) -> None:
    with logger(tmp_path / "plain.hst") as file:
        file.write({"40001": 1}, now=T0)
    status, _, err = command(str(tmp_path / "plain.hst"), "--enip", "127.0.0.1:0")
    assert status == 1 and "no tag of a device" in err
