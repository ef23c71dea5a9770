"""The text driver against simulated instruments, over TCP and on pseudo-terminals, with noise."""

import asyncio
import contextlib
import os
import random
import tomllib
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Line, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import DeviceError, DeviceFrame, Transaction
from cpppod.workers.drivers.text.driver import TextDriver, make_driver
from cpppod.workers.drivers.text.listener import TcpListener
from cpppod.workers.simulators.text import Connection, Disturbance, Instrument, NmeaSource, Scale
from cpppod.workers.transport.port import SerialPort
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.workers.devices.plant import ANSWERING_S

MODELS = Path(__file__).parents[4] / "etc" / "models"
GOOD = int(Quality.GOOD)
SCALE = Group(
    "now",
    1.0,
    (
        Tag("weight", "weight", "LREAL"),
        Tag("unit", "unit", "STRING"),
        Tag("stable", "stable", "BOOL"),
    ),
)
GPS = Group(
    "position",
    1.0,
    (Tag("latitude", "latitude", "LREAL"), Tag("longitude", "longitude", "LREAL")),
)


def model(name: str) -> dict[str, Any]:
    return tomllib.loads((MODELS / f"{name}.toml").read_text(encoding="utf-8"))


def device(name: str, address: str, *groups: Group, **options: Any) -> Device:
    return Device(
        "d",
        "text",
        address,
        timeout_s=ANSWERING_S,
        groups=groups,
        model=model(name),
        options=options,
    )


class Wire(asyncio.Protocol):
    """The instrument's end of a TCP connection."""

    def __init__(self, instrument: Instrument, disturbance: Disturbance) -> None:
        self.instrument, self.disturbance = instrument, disturbance
        self.connection: Connection | None = None
        self.transport: Any = None
        self.connected = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.connection = Connection(self.instrument, self.disturbance, self.transport.write)
        self.connected.set()

    def data_received(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.received(data)


@asynccontextmanager
async def served(
    instrument: Instrument, disturbance: Disturbance | None = None
) -> AsyncIterator[tuple[str, list[Wire]]]:
    """The address at which the instrument listens, and its connections."""
    wires: list[Wire] = []

    def connect() -> Wire:
        wires.append(Wire(instrument, disturbance or Disturbance(random.Random(1))))
        return wires[-1]

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", wires
    finally:
        server.close()
        for wire in wires:
            wire.transport.abort()


@asynccontextmanager
async def opened(driver: TextDriver) -> AsyncIterator[TextDriver]:
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the event loop that workers use."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def for_ever(call: Callable[[], Awaitable[object]]) -> None:
    """Call until it raises."""
    while True:
        await call()


def disturbed(seed: int) -> Disturbance:
    return Disturbance(random.Random(seed), noise=0.5, fragment=True)


def test_a_scale_over_tcp_loses_no_value_to_fragments_and_noise() -> None:
    async def test() -> None:
        scale = Scale(random.Random(1))
        async with (
            served(scale, disturbed(2)) as (address, _),
            opened(make_driver(device("sics", address, SCALE))) as driver,
        ):
            for _ in range(300):
                scale.move()
                samples = await driver.poll(SCALE)
                assert samples["weight"] == (scale.sent[-1], GOOD)
                assert samples["unit"] == ("kg", GOOD)
                assert samples["stable"] in [(True, GOOD), (False, GOOD)]
            counters = driver.describe()["counters"]
            assert counters["frames"] == len(scale.sent) == 300
            assert counters["noise_bytes"] > 100
            assert counters["unexpected_frames"] == counters["overlong_frames"] == 0

    run(test)


def test_a_listening_gateway_gets_every_position_in_order_from_a_noisy_source() -> None:
    async def test() -> None:
        source = NmeaSource(random.Random(3))
        made = make_driver(
            device("nmea0183", "127.0.0.1:0", GPS, listen=True, deliver="every", queue=1000)
        )
        listener = made._own
        assert isinstance(listener, TcpListener)
        opening = asyncio.ensure_future(made.open())
        while not listener.port:
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(
            lambda: Wire(source, disturbed(4)), "127.0.0.1", listener.port
        )
        await opening
        assert wire.connection is not None
        for _ in range(200):
            wire.connection._out(source.say(0.0))
        positions = []
        for _ in range(200):
            samples = await made.poll(GPS)
            assert samples["latitude"][1] == samples["longitude"][1] == GOOD
            positions.append((samples["latitude"][0], samples["longitude"][0]))
        assert positions == [
            (pytest.approx(lat, abs=1e-6), pytest.approx(lon, abs=1e-6)) for lat, lon in source.sent
        ]
        while made.describe()["counters"]["frames"] < 4 * 200:  # those after the last position
            await asyncio.sleep(0)
        counters = made.describe()["counters"]
        assert counters["frames"] == 4 * 200
        assert counters["checksum_errors"] == counters["dropped_frames"] == 0
        wire.transport.abort()
        await made.close()
        listener.release()

    run(test)


@asynccontextmanager
async def on_pty(
    instrument: Instrument, disturbance: Disturbance
) -> AsyncIterator[tuple[SerialPort, Connection]]:
    """An open serial port with the instrument at its other end."""
    loop = asyncio.get_running_loop()
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    connection = Connection(instrument, disturbance, lambda data: os.write(ours, data))
    loop.add_reader(ours, lambda: connection.received(os.read(ours, 4096)))
    port = SerialPort(Line("line", os.ttyname(theirs), parity="N"))
    await port.open()
    try:
        yield port, connection
    finally:
        await port.close()
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


def test_a_scale_on_a_serial_line_loses_no_value_to_fragments_and_noise() -> None:
    async def test() -> None:
        scale = Scale(random.Random(5))
        async with on_pty(scale, disturbed(6)) as (port, _):
            driver = make_driver(device("sics", "line", SCALE), port)
            for _ in range(100):
                scale.move()
                assert (await driver.poll(SCALE))["weight"] == (scale.sent[-1], GOOD)
            assert driver.describe()["counters"]["frames"] == len(scale.sent) == 100
            await driver.close()

    run(test)


def test_an_nmea_source_on_a_serial_line_gives_every_position() -> None:
    async def test() -> None:
        source = NmeaSource(random.Random(7))
        async with on_pty(source, disturbed(8)) as (port, connection):
            driver = make_driver(device("nmea0183", "line", GPS, deliver="every"), port)
            for _ in range(50):
                polled = asyncio.ensure_future(driver.poll(GPS))
                connection._out(source.say(0.0))
                samples = await polled
                latitude, longitude = source.sent[-1]
                assert samples["latitude"] == (pytest.approx(latitude, abs=1e-6), GOOD)
                assert samples["longitude"] == (pytest.approx(longitude, abs=1e-6), GOOD)
            assert driver.describe()["counters"]["checksum_errors"] == 0
            await driver.close()

    run(test)


TARE = Group("tare", 1.0, (Tag("tare", "tare_weight", "REAL", writable=True),))
ORDERS = Group("orders", 1.0, (Tag("zero", "zero", "BOOL", writable=True),))


def test_a_write_sends_the_command_and_a_refusal_is_its_outcome() -> None:
    async def test() -> None:
        scale = Scale(random.Random(1))
        seen: list[Transaction] = []
        tare, zero = TARE.tags[0], ORDERS.tags[0]
        async with (
            served(scale) as (address, _),
            opened(make_driver(device("sics", address, TARE, ORDERS))) as driver,
        ):
            driver.frame.on_transaction = seen.append
            assert (await driver.poll(ORDERS))["zero"] == (None, int(Quality.NOT_YET_KNOWN))
            assert (await driver.write([(tare, 0, [1.25])])).failure is None
            assert (await driver.poll(TARE))["tare"] == (1.25, GOOD)
            refused = await driver.write([(tare, 0, [99.0])])
            assert (refused.failure, refused.codes, refused.error) == (
                Failure.EXCEPTION,
                (2,),
                "wrong tare",
            )
            scale._gross = 50.0
            refused = await driver.write([(zero, 0, [1])])
            assert (refused.codes, refused.error) == ((2,), "above the zeroing range")
            scale._gross = 0.5
            assert (await driver.write([(zero, 0, [1])])).failure is None
            assert (await driver.poll(ORDERS))["zero"] == (1, GOOD)
            not_set = await driver.write([(replace(tare, address="weight"), 0, [1])])
            assert not_set.failure is Failure.NOT_WRITABLE
            assert driver.cip is None
        results = [(done.operation, done.result) for done in seen]
        assert results == [
            ("write", "ok"),
            ("read", "ok"),
            ("write", "refused"),
            ("write", "refused"),
            ("write", "ok"),
        ]
        assert seen[0].request == "TA 1.250 kg\\r\\n"

    run(test)


class Script:
    """An instrument that answers each request with the next of some texts."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.received = b""

    def answer(self, data: bytes) -> bytes:
        self.received += data
        return self.answers.pop(0) if self.answers else b""

    def say(self, now_s: float) -> bytes:
        return b""


def test_a_refusal_is_a_bad_value_with_the_device_s_number() -> None:
    async def test() -> None:
        async with (
            served(Script(b"S +\r\n", b"ES\r\n")) as (address, _),
            opened(make_driver(device("sics", address, SCALE))) as driver,
        ):
            for number in (2, 1):
                samples = await driver.poll(SCALE)
                status = quality(Quality.DEVICE_STATUS, status=number)
                assert set(samples.values()) == {(None, status)}
            assert driver.describe()["counters"]["refused"] == 2

    run(test)


def test_silence_is_a_time_out_and_a_late_reply_is_not_taken_for_the_next() -> None:
    async def test() -> None:
        script = Script(b"", b"S S      2.000 kg\r\n")
        async with served(script) as (address, wires):
            made = device("sics", address, SCALE)
            async with opened(make_driver(replace(made, timeout_s=0.05))) as driver:
                with pytest.raises(DeviceError) as raised:
                    await driver.poll(SCALE)
                assert raised.value.quality == Quality.TIMEOUT
                assert raised.value.connected
                driver._device = made  # what is answered in time is not to be late
                wires[0].transport.write(b"S S      1.000 kg\r\n")
                while not driver._link._stream.received._data:
                    await asyncio.sleep(0)
                assert (await driver.poll(SCALE))["weight"] == (2.0, GOOD)

    run(test)


def test_one_silent_frame_of_two_is_a_quality_of_its_tags() -> None:
    async def test() -> None:
        group = Group(
            "both", 1.0, (Tag("weight", "weight", "REAL"), Tag("serial", "serial", "STRING"))
        )
        turns = 0

        async def between() -> None:
            nonlocal turns
            turns += 1

        async with served(Script(b"S D      2.000 kg\r\n")) as (address, _):
            made = replace(device("sics", address, group), timeout_s=1.0)
            async with opened(make_driver(made)) as driver:
                driver.frame.between = between
                samples = await driver.poll(group)
                assert samples == {
                    "weight": (2.0, GOOD),
                    "serial": (None, int(Quality.TIMEOUT)),
                }
                assert turns == 1

    run(test)


def test_an_unanswered_write_is_unknown_and_a_lost_connection_says_so() -> None:
    async def test() -> None:
        tare = TARE.tags[0]
        async with served(Script()) as (address, wires):
            made = replace(device("sics", address, TARE), timeout_s=0.05)
            async with opened(make_driver(made)) as driver:
                outcome = await driver.write([(tare, 0, [1.0])])
                assert (outcome.failure, outcome.unknown) == (Failure.TIMEOUT, True)
                assert (await driver.write([(tare, 0, ["x"])])).failure is Failure.BAD_VALUE
                wires[0].transport.abort()
                with pytest.raises(DeviceError) as raised:
                    await for_ever(lambda: driver.poll(TARE))
                assert raised.value.quality in (Quality.NOT_CONNECTED, Quality.TIMEOUT)

    run(test)


def test_a_lost_spontaneous_connection_ends_the_poll_and_a_new_one_goes_on() -> None:
    async def test() -> None:
        source = NmeaSource(random.Random(1))
        async with served(source) as (address, wires):
            driver = make_driver(device("nmea0183", address, GPS))
            await driver.open()
            polled = asyncio.ensure_future(driver.poll(GPS))
            await wires[0].connected.wait()
            wires[0].transport.abort()
            with pytest.raises(DeviceError) as raised:
                await polled
            assert not raised.value.connected
            await driver.close()
            await driver.open()
            polled = asyncio.ensure_future(driver.poll(GPS))
            while len(wires) < 2 or wires[1].connection is None:
                await asyncio.sleep(0)
            wires[1].connection._out(source.say(0.0))
            assert (await polled)["latitude"][1] == GOOD
            await driver.close()

    run(test)


def test_only_the_newest_frame_since_the_last_poll_counts_where_that_is_asked_for() -> None:
    async def test() -> None:
        source = NmeaSource(random.Random(1))
        async with served(source) as (address, wires):
            made = replace(device("nmea0183", address, GPS), timeout_s=0.2)
            async with opened(make_driver(made)) as driver:
                await wires[0].connected.wait()
                assert wires[0].connection is not None
                for _ in range(5):
                    wires[0].connection._out(source.say(0.0))
                while driver.describe()["counters"]["frames"] < 20:
                    await asyncio.sleep(0)
                samples = await driver.poll(GPS)
                assert samples["latitude"][0] == pytest.approx(source.sent[-1][0], abs=1e-6)
                with pytest.raises(DeviceError) as raised:
                    await driver.poll(GPS)
                assert raised.value.quality == Quality.TIMEOUT

    run(test)


def test_a_write_goes_while_a_poll_waits_for_a_frame_that_comes_by_itself() -> None:
    async def test() -> None:
        options = {
            "frames": {"weight": {"pattern": "W(?P<w>[0-9]+);"}},
            "commands": {"start": {"request": "GO {value}\r\n", "reply": "OK;"}},
        }
        weight, start = Tag("w", "w", "INT"), Tag("start", "start", "INT", writable=True)
        group = Group("g", 1.0, (weight,))
        async with served(Script(b"OK;W7;")) as (address, _):
            made = Device("d", "text", address, timeout_s=5.0, groups=(group,), options=options)
            async with opened(make_driver(made)) as driver:

                async def between() -> None:
                    driver.frame.between = DeviceFrame().between
                    assert (await driver.write([(start, 0, [1])])).failure is None

                driver.frame.between = between
                assert await driver.poll(group) == {"w": (7, GOOD)}

    run(test)


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    async def test() -> None:
        source = NmeaSource(random.Random(1))
        async with served(source) as (address, wires):
            made = device("nmea0183", address, GPS, deliver="every", queue=3)
            async with opened(make_driver(made)) as driver:
                await wires[0].connected.wait()
                assert wires[0].connection is not None
                for _ in range(5):
                    wires[0].connection._out(source.say(0.0))
                while driver.describe()["counters"]["frames"] < 20:
                    await asyncio.sleep(0)
                samples = await driver.poll(GPS)
                assert samples["latitude"][0] == pytest.approx(source.sent[2][0], abs=1e-6)
                assert driver.describe()["counters"]["dropped_frames"] == 2 * 4

    run(test)


READER = {
    "encoding": "utf-8",
    "quiet": True,
    "start": ["on\r\n"],
    "frames": {"scan": {"pattern": "\\x02(?P<code>[^\\x02\\x03]*)\\x03"}},
}


def test_a_quiet_device_keeps_its_last_value_and_is_told_what_to_do_first() -> None:
    async def test() -> None:
        group = Group("scan", 1.0, (Tag("code", "code", "STRING"),))
        script = Script()
        async with served(script) as (address, wires):
            made = Device("d", "text", address, timeout_s=0.5, groups=(group,), options=READER)
            async with opened(make_driver(made)) as driver:
                assert await driver.poll(group) == {"code": (None, int(Quality.NOT_YET_KNOWN))}
                while script.received != b"on\r\n":
                    await asyncio.sleep(0)
                wires[0].transport.write("\x02Ärmel-7\x03".encode())
                while not driver.describe()["counters"]["frames"]:
                    await asyncio.sleep(0)
                for _ in range(3):
                    assert await driver.poll(group) == {"code": ("Ärmel-7", GOOD)}

    run(test)


def test_a_listener_turns_strangers_away_and_lets_a_device_replace_its_old_connection() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        strict = TcpListener("127.0.0.1:0", timeout_s=0.1, sources=("10.0.0.0/8",))
        with pytest.raises(DeviceError, match="no device has connected"):
            await strict.open()
        _, wire = await loop.create_connection(
            lambda: Wire(Script(), disturbed(1)), "127.0.0.1", strict.port
        )
        while not strict.turned_away:
            await asyncio.sleep(0)
        with pytest.raises(DeviceError):
            await strict.open()
        assert strict.turned_away == 1
        strict.release()
        wire.transport.abort()

        listener = TcpListener("127.0.0.1:0", timeout_s=ANSWERING_S)
        opening = asyncio.ensure_future(listener.open())
        while not listener.port:
            await asyncio.sleep(0)
        for text in (b"old", b"new"):
            _, wire = await loop.create_connection(
                lambda: Wire(Script(), Disturbance(random.Random(1))), "127.0.0.1", listener.port
            )
            wire.transport.write(text)
            await opening
            received = b""
            while received != text:
                with contextlib.suppress(DeviceError):
                    received += await listener.receive(0.1)
        wire.transport.abort()
        with pytest.raises(DeviceError, match="closed"):
            await for_ever(lambda: listener.receive(0.1))
        await listener.close()
        listener.release()

    run(test)


def test_a_driver_made_anew_takes_the_bound_address_over() -> None:
    async def test() -> None:
        address = f"127.0.0.1:{free_port()}"
        old = TcpListener(address, timeout_s=0.01)
        new = TcpListener(address, timeout_s=0.01)
        for listener in (old, new):
            with pytest.raises(DeviceError, match="no device has connected"):
                await listener.open()
            await listener.close()
        assert (old.port, bool(new.port)) == (0, True)
        new.release()

    run(test)


def test_settings_and_tags_that_cannot_be_are_named_together() -> None:
    wrong = Group("g", 1.0, (Tag("a", "nothing"), Tag("b", "weight", "REAL", writable=True)))
    with pytest.raises(ValueError, match=r"tag a: address .*tag b: writable"):
        make_driver(device("sics", "127.0.0.1:1", wrong))
    with pytest.raises(ValueError, match="encoding"):
        make_driver(device("sics", "127.0.0.1:1", SCALE, encoding="morse"))
    with pytest.raises(ValueError, match="host:port"):
        make_driver(device("sics", "nowhere", SCALE))


def test_a_scale_that_closes_its_connection_is_asked_and_written_over_a_new_one() -> None:
    async def test() -> None:
        async with (
            served(Scale(random.Random(1))) as (address, wires),
            opened(make_driver(device("sics", address, SCALE))) as driver,
        ):
            for number in range(3):
                assert (await driver.poll(SCALE))["weight"][1] == GOOD
                wires[number].transport.close()
                while not driver._link._stream.ended:
                    await asyncio.sleep(0)
            zero = ORDERS.tags[0]
            outcome = await driver.write([(zero, 0, [True])])
            assert (outcome.failure, len(wires)) == (None, 4)

    run(test)
