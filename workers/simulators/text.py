"""Instruments that speak text, simulated: a scale with the SICS command set, an NMEA 0183 source.

    python -m cpppod.workers.text_simulator sics --tcp 127.0.0.1:4305
    python -m cpppod.workers.text_simulator nmea --pty /tmp/gps --period 0.5
    python -m cpppod.workers.text_simulator nmea --connect 127.0.0.1:4306 --noise 0.2 --fragment

    Instrument ── answers (bytes -> bytes), says (now -> bytes) ──► Stream ── noise, pieces ──► wire

`--noise` puts stray bytes between frames, `--fragment` cuts what is sent into random pieces, both
repeatable by `--seed`. One connection or many; every one sees the same instrument.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.protocols.model.durations import parse_seconds
from cpppod.protocols.text.checksums import digits
from cpppod.workers.transport.turns import TurnProtocol, Turns

LINE_LIMIT = 200  # bytes of a command; a scale's are far shorter
NOISE_BYTES = b"\x00\xff\x1b ?*$,S0\r\n"  # some of them look like parts of frames
MAXIMUM_WEIGHT_KG = 60.0


class Instrument(Protocol):
    """What is simulated."""

    def answer(self, data: bytes) -> bytes:
        """What it says to the bytes `data`."""

    def say(self, now_s: float) -> bytes:
        """What it says by itself at that time, every period."""


class Scale:
    """A scale: its weight goes to a target and rests there, then to another.

    Attributes:
        sent: the weights that it has told, in the order told.
    """

    def __init__(self, chosen: random.Random) -> None:
        self._chosen = chosen
        self._gross = 0.0
        self._target = 12.5
        self._rest = 0
        self._zero = 0.0
        self._tare = 0.0
        self._buffer = b""
        self._repeating = False
        self.sent: list[float] = []

    def move(self) -> None:
        """One step of the weight."""
        gap = self._target - self._gross
        if abs(gap) > 0.0005:
            self._gross += gap if abs(gap) < 0.05 else gap * 0.4
            return
        self._rest += 1
        if self._rest > 5:
            self._rest = 0
            self._target = round(self._chosen.uniform(0, MAXIMUM_WEIGHT_KG), 3)

    def answer(self, data: bytes) -> bytes:
        """Answers to the whole commands in `data`."""
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        self._buffer = self._buffer[-LINE_LIMIT:]
        return b"".join(self._command(line.decode("ascii", "replace").strip()) for line in lines)

    def say(self, now_s: float) -> bytes:
        """The weight, where it was told to repeat it."""
        self.move()
        return self._weight("S") if self._repeating else b""

    def _command(self, line: str) -> bytes:
        name, _, rest = line.partition(" ")
        if name == "TA" and rest:
            return self._take_tare(rest)
        command = _COMMANDS.get(name)
        return command(self) if command is not None and not rest else b"ES\r\n"

    def _weight(self, name: str) -> bytes:
        net = round(self._gross - self._zero - self._tare, 3)
        self.sent.append(net)
        return f"{name} {self._stability()} {net:10.3f} kg\r\n".encode("ascii")

    def _stability(self) -> str:
        return "S" if self._rest else "D"

    def _repeat(self) -> bytes:
        self._repeating = True
        return self._weight("S")

    def _reset(self) -> bytes:
        self._repeating, self._tare, self._zero = False, 0.0, 0.0
        return b'I4 A "B021002593"\r\n'

    def _set_zero(self) -> bytes:
        if self._gross > MAXIMUM_WEIGHT_KG / 2:
            return b"Z +\r\n"
        self._zero, self._tare = self._gross, 0.0
        return b"Z A\r\n"

    def _set_tare(self) -> bytes:
        self._tare = round(self._gross - self._zero, 3)
        return f"TI {self._stability()} {self._tare:10.3f} kg\r\n".encode("ascii")

    def _tell_tare(self) -> bytes:
        return f"TA A {self._tare:10.3f} kg\r\n".encode("ascii")

    def _take_tare(self, rest: str) -> bytes:
        number, _, unit = rest.partition(" ")
        try:
            tare = float(number)
        except ValueError:
            return b"ES\r\n"
        if unit != "kg" or not 0 <= tare <= MAXIMUM_WEIGHT_KG:
            return b"TA L\r\n"
        self._tare = tare
        return self._tell_tare()


_COMMANDS: dict[str, Callable[[Scale], bytes]] = {
    "S": lambda scale: scale._weight("S"),
    "SI": lambda scale: scale._weight("S"),
    "SIR": Scale._repeat,
    "Z": Scale._set_zero,
    "TI": Scale._set_tare,
    "TA": Scale._tell_tare,
    "I4": lambda _: b'I4 A "B021002593"\r\n',
    "@": Scale._reset,
}


class NmeaSource:
    """A ship's instruments: position, course, heading, depth, each period.

    Attributes:
        sent: the positions that it has told, (latitude, longitude) in degrees.
    """

    def __init__(self, chosen: random.Random) -> None:
        self._chosen = chosen
        self._latitude, self._longitude = 48.1173, 11.5167
        self._course, self._depth = 84.4, 12.0
        self._time_s = 12 * 3600.0
        self.sent: list[tuple[float, float]] = []

    def answer(self, data: bytes) -> bytes:
        """It does not listen."""
        return b""

    def say(self, now_s: float) -> bytes:
        """One sentence of each kind."""
        step = self._chosen.uniform
        self._time_s = (self._time_s + 1.0) % 86_400
        self._latitude += step(-0.001, 0.001)
        self._longitude += step(-0.001, 0.001)
        self._course = (self._course + step(-3, 3)) % 360
        self._depth = min(50.0, max(2.0, self._depth + step(-0.3, 0.3)))
        clock, latitude, longitude = self._clock(), *self._position()
        return b"".join(
            (
                sentence(f"GPGGA,{clock},{latitude},{longitude},1,08,0.9,545.4,M,46.9,M,,"),
                sentence(
                    f"GPRMC,{clock},A,{latitude},{longitude},022.4,{self._course:.1f},230394,,"
                ),
                sentence(f"HEHDT,{self._course:.1f},T"),
                sentence(f"SDDBT,{self._depth * 3.2808:.1f},f,{self._depth:.1f},M,0.0,F"),
            )
        )

    def _clock(self) -> str:
        whole = int(self._time_s)
        return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}.00"

    def _position(self) -> tuple[str, str]:
        latitude, longitude = _angle(self._latitude, 2), _angle(self._longitude, 3)
        self.sent.append((round(self._latitude, 6), round(self._longitude, 6)))
        north = "N" if self._latitude >= 0 else "S"
        east = "E" if self._longitude >= 0 else "W"
        return f"{latitude},{north}", f"{longitude},{east}"


def sentence(fields: str) -> bytes:
    """An NMEA sentence with its checksum."""
    body = fields.encode("ascii")
    return b"$" + body + b"*" + digits("xor8", body) + b"\r\n"


def _angle(degrees: float, places: int) -> str:
    whole, minutes = divmod(abs(degrees) * 60, 60)
    return f"{int(whole):0{places}d}{minutes:09.6f}"


class Disturbance:
    """What happens to bytes on their way: stray bytes before them, cuts within them."""

    def __init__(
        self, chosen: random.Random, *, noise: float = 0.0, fragment: bool = False
    ) -> None:
        self._chosen = chosen
        self._noise = noise
        self._fragment = fragment

    def pieces(self, data: bytes) -> list[bytes]:
        """`data` as it goes out."""
        if self._chosen.random() < self._noise:
            data = bytes(self._chosen.choices(NOISE_BYTES, k=self._chosen.randint(1, 20))) + data
        if not self._fragment or len(data) < 2:
            return [data]
        cuts = sorted(self._chosen.sample(range(1, len(data)), k=min(4, len(data) - 1)))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class Connection:
    """One wire to the instrument; `send` puts bytes on it."""

    def __init__(
        self, instrument: Instrument, disturbance: Disturbance, send: Callable[[bytes], Any]
    ) -> None:
        self._instrument = instrument
        self._disturbance = disturbance
        self._send = send

    def received(self, data: bytes) -> None:
        """Answer."""
        self._out(self._instrument.answer(data))

    async def speak(self, period_s: float) -> None:
        """Say what the instrument says by itself, without end."""
        while True:
            self._out(self._instrument.say(time.monotonic()))
            await asyncio.sleep(period_s)

    def _out(self, data: bytes) -> None:
        if data:
            for piece in self._disturbance.pieces(data):
                self._send(piece)


class _Socket(TurnProtocol):
    """A TCP connection to the instrument."""

    def __init__(
        self,
        turns: Turns,
        make: Callable[[Callable[[bytes], Any]], Connection],
        period_s: float,
    ) -> None:
        super().__init__(turns)
        self._make = make
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        super().connection_made(transport)
        write = cast(asyncio.WriteTransport, transport).write
        self._connection = self._make(write)
        self._task = asyncio.get_running_loop().create_task(self._connection.speak(self._period_s))

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        if self._connection is not None:
            self._connection.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: closed."""
        super().connection_lost(error)
        if self._task is not None:
            self._task.cancel()
        self.lost.set()


INSTRUMENTS: dict[str, Callable[[random.Random], Instrument]] = {"sics": Scale, "nmea": NmeaSource}


async def serve(instrument: Instrument, options: argparse.Namespace) -> None:
    """Simulate until stopped."""
    chosen = random.Random(options.seed)
    disturbance = Disturbance(chosen, noise=options.noise, fragment=options.fragment)

    def make(send: Callable[[bytes], Any]) -> Connection:
        return Connection(instrument, disturbance, send)

    if options.pty:
        await _on_pty(make, options)
    elif options.connect:
        await _connecting(make, options)
    else:
        loop = asyncio.get_running_loop()
        host, port = socket_address(options.tcp, host="127.0.0.1", any_port=True)
        turns = Turns()
        server = await loop.create_server(lambda: _Socket(turns, make, options.period), host, port)
        where = server.sockets[0].getsockname()
        print(f"{options.instrument} listening at {SocketAddress(*where[:2])}", flush=True)
        await server.serve_forever()


async def _connecting(make: Callable[..., Connection], options: argparse.Namespace) -> None:
    """Connect to whoever listens, again and again."""
    loop = asyncio.get_running_loop()
    host, port = socket_address(options.connect, host="127.0.0.1")
    turns = Turns()
    while True:
        with contextlib.suppress(OSError):
            _, socket = await loop.create_connection(
                lambda: _Socket(turns, make, options.period), host, port
            )
            print(f"{options.instrument} connected to {options.connect}", flush=True)
            await socket.lost.wait()
        await asyncio.sleep(min(1.0, options.period))


async def _on_pty(make: Callable[..., Connection], options: argparse.Namespace) -> None:
    """A pseudo-terminal; `options.pty` becomes a link to it."""
    import tty  # there are no pseudo-terminals on Windows

    loop = asyncio.get_running_loop()
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    link_pty(os.ttyname(theirs), options.pty)

    def send(data: bytes) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # nobody reads: as on a real line
            os.write(ours, data)

    connection = make(send)
    loop.add_reader(ours, lambda: connection.received(os.read(ours, 4096)))
    print(f"{options.instrument} at {options.pty}", flush=True)
    try:
        await connection.speak(options.period)
    finally:
        loop.remove_reader(ours)
        with contextlib.suppress(OSError):
            os.unlink(options.pty)


def link_pty(terminal: str, path: str) -> None:
    """Make `path` a link to the terminal, in place of an older link."""
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(terminal, path)


async def _until_stopped(simulation: Coroutine[Any, Any, None]) -> None:
    """Run the simulation; SIGINT and SIGTERM end it."""
    task = asyncio.ensure_future(simulation)
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m cpppod.workers.text_simulator", description="Simulate an instrument."
    )
    made.add_argument("instrument", choices=sorted(INSTRUMENTS))
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "-a", "--tcp", metavar="HOST:PORT", help="listen there; port 0 takes a free one"
    )
    where.add_argument("--connect", metavar="HOST:PORT", help="connect there, again and again")
    where.add_argument("--pty", metavar="PATH", help="make a serial line: a link to a terminal")
    made.add_argument("--period", type=parse_seconds, default=1.0, help="seconds (%(default)s)")
    made.add_argument("--noise", type=float, default=0.0, help="share of frames with stray bytes")
    made.add_argument("--fragment", action="store_true", help="send in random pieces")
    made.add_argument("--seed", type=int, default=None, help="of noise and movement")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    options = parser().parse_args(arguments)
    instrument = INSTRUMENTS[options.instrument](random.Random(options.seed))
    try:
        asyncio.run(_until_stopped(serve(instrument, options)))
    except OSError as error:
        print(f"text_simulator: {error.strerror or error}; try another address", file=sys.stderr)
        return 1
    return 0
