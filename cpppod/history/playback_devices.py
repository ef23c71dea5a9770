"""A recording in simulated devices: a Modbus TCP device, a controller with tags.

    boiler.level=40001:REAL      a tag's register, in the forms of the Modbus tools, and its type
    (INT)

A value that a register cannot hold leaves it as it was; a bad value does, too: what a device that
does not answer holds, nobody knows.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpppod.history.recording import PlaybackError, RecordedChange
from cpppod.protocols.modbus.address import Address, parse_address
from cpppod.protocols.modbus.pdu import unpack_registers
from cpppod.protocols.modbus.registers import Codec, codec
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import is_bad
from cpppod.simulator import Simulator
from cpppod.simulator.tags import Declaration
from cpppod.workers.simulators.modbus.simulator import Plant, PortTaken, TcpEndpoint
from cpppod.workers.simulators.modbus.simulator import Simulator as ModbusSimulator

Register = tuple[Address, Codec | None]  # a coil has no codec


def parse_registers(texts: Sequence[str]) -> dict[str, Register]:
    """The registers of `TAG=ADDRESS[:TYPE]` texts, or of files with one a line.

    Raises:
        PlaybackError: one of them is not TAG=ADDRESS.
    """
    found: dict[str, Register] = {}
    for text in texts:
        if "=" not in text and Path(text).is_file():
            lines = Path(text).read_text(encoding="utf-8").splitlines()
            wanted = [line.split("#", 1)[0].strip() for line in lines]
            found.update(parse_registers([line for line in wanted if line]))
            continue
        tag, equals, where = text.partition("=")
        if not equals or not tag.strip():
            raise PlaybackError(f"{text!r}: expected TAG=ADDRESS[:TYPE]")
        found[tag.strip()] = _register(tag.strip(), where.strip())
    return found


def _register(tag: str, where: str) -> Register:
    address, _, kind = where.rpartition(":")
    if not address or not kind[:1].isalpha():
        address, kind = where, "INT"
    try:
        cell = parse_address(address)
        if cell.table.has_bits:
            return cell, None
        if cell.bit is not None:
            raise PlaybackError(f"{tag}: a bit of a register cannot be played; name the register")
        return cell, codec(Tag(tag.rpartition(".")[2], address, kind.upper()))
    except EncodeError as error:
        raise PlaybackError(f"{tag}: {error}") from error


class ModbusSink:
    """A Modbus TCP device whose registers hold what was recorded; it answers to every unit."""

    def __init__(self, host: str, port: int, registers: dict[str, Register]) -> None:
        if not registers:
            raise PlaybackError("--modbus: which registers? add --registers TAG=ADDRESS[:TYPE]")
        self._registers = registers
        self._plant = Plant()
        self._simulator = ModbusSimulator(self._plant)
        self._endpoint = TcpEndpoint(self._plant, host, port)

    async def open(self, tags: dict[str, Any]) -> str:
        missing = sorted(set(self._registers) - set(tags))
        if missing:
            raise PlaybackError(f"not recorded: {', '.join(missing[:5])}")
        for address, value_codec in self._registers.values():
            count = 1 if value_codec is None else value_codec.registers
            self._cells(address).update(
                dict.fromkeys(range(address.offset, address.offset + count), 0)
            )
        try:
            where = await self._simulator.serve(self._endpoint)
        except PortTaken as error:
            raise PlaybackError(str(error)) from error
        return f"modbus: {where}, {len(self._registers)} tags"

    def _cells(self, address: Address) -> dict[int, int]:
        return self._plant.cells(None, address.table)

    async def play(self, moment: RecordedChange) -> None:
        for tag, (value, quality) in moment.samples.items():
            register = self._registers.get(tag)
            if register is None or value is None or is_bad(quality):
                continue
            address, value_codec = register
            cells = _cells_of(value, value_codec)
            self._cells(address).update(enumerate(cells, address.offset))

    async def close(self) -> None:
        await self._simulator.close()


def _cells_of(value: Any, value_codec: Codec | None) -> list[int]:
    """A value as cells; none where it does not fit."""
    if value_codec is None:
        return [int(bool(value))]
    assert value_codec.encode is not None  # bits were refused
    try:
        try:
            return unpack_registers(value_codec.encode(value))
        except EncodeError:
            return unpack_registers(value_codec.encode(round(value)))
    except (EncodeError, TypeError, ValueError, OverflowError):
        return []


class EnipSink:
    """A simulated controller: a structure tag per device with what was recorded of it as members.

    Numbers are DINT (LINT where they are larger) or REAL, as their first recorded value says.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = str(SocketAddress(host, port))
        self._members: dict[str, dict[str, Any]] = {}
        self._simulator: Simulator | None = None

    async def open(self, tags: dict[str, Any]) -> str:
        structures: dict[str, list[dict[str, Any]]] = {}
        for tag, value in tags.items():
            device, _, name = tag.partition(".")
            kind = _cip_type(value)
            if kind is not None and name:
                structures.setdefault(device, []).append({"name": name, **kind})
                self._members.setdefault(device, {})[name] = _nothing(kind)
        if not structures:
            raise PlaybackError("--enip: no tag of a device (boiler.level) in the recording")
        try:
            self._simulator = Simulator(
                [Declaration(device, f"{device}_tags") for device in structures],
                structures={f"{device}_tags": members for device, members in structures.items()},
                address=self._address,
            )
            host, port = await self._simulator.start()
        except EncodeError as error:
            raise PlaybackError(f"--enip: {error}") from error
        return f"enip: {SocketAddress(host, port)}, {', '.join(structures)}"

    async def play(self, moment: RecordedChange) -> None:
        assert self._simulator is not None
        changed = set()
        for tag, (value, quality) in moment.samples.items():
            device, _, name = tag.partition(".")
            members = self._members.get(device, {})
            if name in members and value is not None and not is_bad(quality):
                members[name] = value
                changed.add(device)
        for device in changed:
            with contextlib.suppress(EncodeError):  # of another type than its first value
                self._simulator[device] = self._members[device]

    async def close(self) -> None:
        if self._simulator is not None:
            await self._simulator.stop()


def _cip_type(value: Any) -> dict[str, Any] | None:
    """The type of a member that holds such values; None for what no member can."""
    if isinstance(value, list):
        element = _cip_type(value[0]) if value else None
        return None if element is None else {**element, "length": len(value)}
    if isinstance(value, bool):
        return {"type": "BOOL"}
    if isinstance(value, int):
        return {"type": "DINT" if -(2**31) <= value < 2**31 else "LINT"}
    if isinstance(value, float):
        return {"type": "REAL"}
    return {"type": "STRING"} if isinstance(value, str) else None


def _nothing(kind: dict[str, Any]) -> Any:
    """A member's value before there is one."""
    empty: Any = "" if kind["type"] == "STRING" else 0
    return [empty] * kind["length"] if "length" in kind else empty
