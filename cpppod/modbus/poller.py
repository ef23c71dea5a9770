"""Modbus for programs: poll, read and write a device; serve registers.

    from cpppod.modbus import Poller
    plc = Poller("boiler", host="localhost", port=1502, rate=0.5)
    plc.poll(40001)
    plc.read(40001)            # None until it was polled, and while the device is offline
    plc.write(40001, 123)      # returns when the device has answered

    Poller ── its addresses, values, rate, load
      └ Client ── one connection; several pollers (units) may share it

Everything runs on a thread of the client's; methods may be called from any thread. It is the same
engine as the gateway's: replies are matched to their requests, refused addresses are found by
halving and polled alone, late RTU replies are waited out.
"""

import asyncio
import math
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, TypedDict, Unpack

from cpppod.modbus.client import Client, PlcOffline
from cpppod.modbus.server import Server
from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.address import Address, Table, from_number, to_number
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException, Request
from cpppod.protocols.modbus.registers import codec
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import REAL_TYPES, explain, is_bad
from cpppod.workers.devices.driver import DeviceFrame
from cpppod.workers.drivers.modbus.driver import ModbusDriver

DEFAULT_PORT = 502
LOAD_SPANS_S = (60.0, 300.0, 900.0)
TABLE_SPAN = 10_000  # ranges never join across a multiple of it: there the tables change
POLL_LIMIT_BITS, POLL_LIMIT_REGISTERS = 1968, 123

__all__ = [
    "Client",
    "ModbusException",
    "ParameterException",
    "PlcOffline",
    "Poller",
    "Server",
    "merge",
    "shatter",
]


class ParameterException(ValueError):
    """An address that cannot be written, or a value that does not fit."""


class ValueKind(TypedDict, total=False):
    """How a value lies in registers: a CIP type, and its orders (big, little)."""

    type: str
    word_order: str
    byte_order: str


class Poller:
    """Polls the addresses it was told of, over and over; see the module.

    Args:
        description: whatever tells it apart from others.
        client: a connection to share; else it makes one to `host`:`port`, where `host` may also be
            the path of a serial port.
        reach: cells closer than this are read in one request.
        unit: 1 where none is given.
        rate: seconds between polls; None: 1 s.
    """

    def __init__(
        self,
        description: str,
        client: Client | None = None,
        reach: int = 100,
        *,
        unit: int | None = None,
        host: str | None = None,
        port: int | None = None,
        rate: float | None = None,
        timeout_s: float = 1.0,
        **settings: Any,
    ) -> None:
        self.description = description
        self.reach = reach
        self.rate = 1.0 if rate is None else float(rate)
        self._own = client is None
        if client is None:
            address = host or "127.0.0.1"
            if "/" not in address:
                address = str(SocketAddress(address, port or DEFAULT_PORT))
            client = Client(address, timeout_s=timeout_s, **settings)
        self.client = client
        self.unit = 1 if unit is None else unit
        self.online = False
        self.counter = 0
        self.duration = 0.0
        self._load = [0.0] * len(LOAD_SPANS_S)
        self._tags: dict[Address, Tag] = {}
        self._values: dict[Address, Any] = {}
        self._refused: dict[Address, str] = {}
        self.trouble = ""
        self._changes = 0  # of the addresses, by the callers' threads; the plan follows
        self._planned_at = -1
        self._group: Group | None = None
        self._driver: ModbusDriver | None = None
        self._polled = threading.Event()
        self._waiting_s = 0.0
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Future[None] | None = client.start(self._run)

    # What programs call

    def poll(self, address: int, rate: float | None = None, **how: Unpack[ValueKind]) -> None:
        """Poll `address` from now on; the rate of all becomes `rate` if that is faster.

        Args:
            how: `type` of the value that begins at a register (UINT, INT, DINT, REAL, LREAL ...),
                its `word_order` and `byte_order` (big, little). Coils and inputs are BOOL.

        Raises:
            EncodeError: there is no such address or type.
        """
        cell = from_number(address)
        if rate is not None:
            self.rate = min(self.rate, float(rate))
        known = self._tags.get(cell)
        if known is None or how:
            tag = _tag(cell, how)
            if tag != known:
                self._tags[cell] = tag
                self._changes += 1
                self._again()

    def read(self, address: int) -> int | float | bool | None:
        """The value last polled; None until then and while offline. Polls `address` from now on."""
        value: int | float | bool | None = self._values.get(from_number(address))
        self.poll(address)
        return value

    def reason(self, address: int) -> str:
        """Why the last poll brought no value of `address`; "" where it did, or was none yet."""
        return self._refused.get(from_number(address), "")

    def write(self, address: int, value: Any, **how: Unpack[ValueKind]) -> None:
        """Write a value, or a list of values from `address` on; returns when it is answered.

        Args:
            how: as for `poll`; by default what `address` is polled as.

        Raises:
            ParameterException: no coil or holding register, or a value that does not fit.
            PlcOffline: no answer; whether the device took it is not known.
            ModbusException: the device refused.
        """
        self.client.transact(self.unit, self._write_request(address, value, how))
        self._again()

    def broadcast(self, address: int, value: Any, **how: Unpack[ValueKind]) -> None:
        """As `write`, but to every unit of the line at once (unit 0); none of them answers.

        Raises:
            ParameterException, PlcOffline, ModbusException: as `write`.
        """
        self.client.broadcast(self._write_request(address, value, how))

    def forget(self, address: int) -> None:
        """Poll `address` no more."""
        cell = from_number(address)
        self._tags.pop(cell, None)
        self._values.pop(cell, None)
        self._refused.pop(cell, None)
        self._changes += 1

    def stop(self) -> None:
        """Poll no more; the connection is closed if it is this poller's own."""
        task, self._task = self._task, None
        if task is not None:
            self.client.cancel(task)
        if self._own:
            self.client.close()
        self.online = False
        self._values.clear()

    def join(self, timeout: float | None = None) -> None:
        """For programs that treat a poller as a thread: `stop` has already waited."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return when a poll that begins from now on has ended; False where none did in time."""
        self._waiting_s = time.monotonic()
        self._polled.clear()
        return self._polled.wait(timeout)

    @property
    def polling(self) -> set[tuple[int, int]]:
        """The ranges that are polled: (first address, count)."""
        return set(self._ranges(self._tags))

    @property
    def failing(self) -> set[tuple[int, int]]:
        """The ranges whose last poll failed."""
        return set(self._ranges(list(self._refused)))

    @property
    def load(self) -> tuple[float, float, float]:
        """Share of the rate that polls took, over the last 1, 5 and 15 minutes."""
        one, five, fifteen = self._load
        return one, five, fifteen

    def __enter__(self) -> "Poller":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Its loop

    def _ranges(self, cells: Iterable[Address]) -> list[tuple[int, int]]:
        tags = self._tags
        held = [(cell, tags[cell]) for cell in list(cells) if cell in tags]
        return merge([(to_number(cell), _width(cell, tag)) for cell, tag in held], self.reach)

    def _again(self) -> None:
        """Poll soon: there is something new."""
        if self._wake is not None:
            self.client.soon(self._wake.set)

    async def _run(self) -> None:
        self._wake = asyncio.Event()
        while True:
            started_s = time.monotonic()
            if self._tags:
                await self._poll_all()
                self.duration = time.monotonic() - started_s
                self._account(self.duration)
                if started_s >= self._waiting_s:
                    self._polled.set()
            left_s = started_s + self.rate - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def _poll_all(self) -> None:
        group = self._planned()
        driver = self._driver
        assert driver is not None
        try:
            samples = await self.client.use(lambda: driver.poll(group))
        except PlcOffline as error:
            self._values.clear()
            self.online, self.trouble = False, str(error)
            self._refused = dict.fromkeys(self._tags, self.trouble)
            return
        good = {name: value for name, (value, quality) in samples.items() if not is_bad(quality)}
        cells = {tag.name: cell for cell, tag in list(self._tags.items())}
        self._refused = {
            cells[name]: _reason(quality)
            for name, (_, quality) in samples.items()
            if name not in good and name in cells
        }
        self._values = {cells[name]: value for name, value in good.items() if name in cells}
        self.online, self.trouble = bool(good), ""
        self.counter += 1

    def _write_request(self, address: int, value: Any, how: ValueKind) -> Request:
        cell = from_number(address)
        several = isinstance(value, list | tuple)
        values = list(value) if several else [value]
        try:
            tag = _tag(cell, how) if how else self._tags.get(cell, _tag(cell, {}))
            return _write_request(cell, tag, values, several=several)
        except (EncodeError, ValueError, TypeError, OverflowError) as error:
            raise ParameterException(f"{cell}: {error}") from None

    def _planned(self) -> Group:
        """The group of all addresses; made anew when they changed."""
        group, changes = self._group, self._changes
        if group is None or changes != self._planned_at:
            group = Group("polled", 1.0, tuple(self._tags.values()))
            device = Device(
                "polled",
                "modbus",
                self.client.address,
                unit=self.unit,
                timeout_s=self.client.timeout_s,
                groups=(group,),
            )
            gap = min(max(0, self.reach - 1), pdu.MAX_READ_REGISTERS)
            model = Model(
                max_registers=POLL_LIMIT_REGISTERS,
                max_coils=POLL_LIMIT_BITS,
                gap_registers=gap,
                gap_coils=max(0, self.reach - 1),
            )
            frame = DeviceFrame(between=self.client.give_way)
            self._driver = ModbusDriver(device, model, self.client.exchange, None, frame)
            self._group, self._planned_at = group, changes
        return group

    def _account(self, busy_s: float) -> None:
        share = min(1.0, busy_s / self.rate)
        for index, span_s in enumerate(LOAD_SPANS_S):
            weight = 1.0 - math.exp(-self.rate / span_s)
            self._load[index] += weight * (share - self._load[index])


def _tag(cell: Address, how: ValueKind) -> Tag:
    """The tag of an address, of the kind that its caller named.

    Raises:
        EncodeError: a type that cannot lie there.
    """
    if cell.table.has_bits:
        if how.get("type", "BOOL") != "BOOL":
            raise EncodeError(f"{cell}: a coil or input is BOOL, not {how['type']}", status=3)
        return Tag(str(cell), str(cell), type="BOOL")
    tag = Tag(str(cell), str(cell), **{"type": "UINT", **how})  # type: ignore[arg-type]
    codec(tag)
    return tag


def _width(cell: Address, tag: Tag) -> int:
    return 1 if cell.table.has_bits else codec(tag).registers


def _reason(quality: int) -> str:
    """Why a sample is bad: the device's exception where it gave one."""
    status = quality >> 8 & 0xFF
    return str(ModbusException(status)) if status else explain(quality)


def _write_request(cell: Address, tag: Tag, values: Sequence[Any], *, several: bool) -> Request:
    if not cell.table.writable:
        raise ValueError("inputs cannot be written")
    if not values:
        raise ValueError("no values")
    if cell.table == Table.COILS:
        bits = [bool(value) for value in values]
        return (
            pdu.write_coils(cell.offset, bits) if several else pdu.write_coil(cell.offset, bits[0])
        )
    encode = codec(tag).encode
    assert encode is not None  # only a single bit has none
    whole = tag.type not in REAL_TYPES
    words = [
        word
        for value in values
        for word in pdu.unpack_registers(encode(_integer(value) if whole else float(value)))
    ]
    if several or len(words) > 1:
        return pdu.write_registers(cell.offset, words)
    return pdu.write_register(cell.offset, words[0])


def _integer(value: Any) -> int:
    """A whole number, also where it is written as a float.

    Raises:
        ValueError: it has a fraction: a register would lose it.
    """
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(f"{value!r} is no whole number: name a type, such as REAL")
    return number


def merge(
    ranges: Iterable[tuple[int, int]], reach: int = 1, limit: int | None = None
) -> list[tuple[int, int]]:
    """The fewest (address, count) ranges that cover `ranges`, losing none of their cells.

    Ranges closer than `reach` are joined, never across a multiple of 10000; what is longer than a
    request may be (or than `limit`) is cut.
    """
    merged: list[tuple[int, int]] = []
    for address, count in sorted(ranges):
        if merged:
            first, length = merged[-1]
            end = max(first + length, address + count)
            near = address - (first + length) < max(1, reach)
            if near and address // TABLE_SPAN == first // TABLE_SPAN:
                merged[-1] = first, end - first
                continue
        merged.append((address, count))
    return [part for address, count in merged for part in shatter(address, count, limit)]


def shatter(address: int, count: int, limit: int | None = None) -> list[tuple[int, int]]:
    """A range cut into what one request may ask for: 1968 coils or inputs, 123 registers."""
    if limit is None:
        bits = from_number(address).table.has_bits
        limit = POLL_LIMIT_BITS if bits else POLL_LIMIT_REGISTERS
    return [(at, min(limit, address + count - at)) for at in range(address, address + count, limit)]
