"""Modbus connections under cpppo's names; those of `cpppod.modbus`, whose replies are matched."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

import pymodbus.exceptions

from cpppod import modbus
from cpppod.compat import Replaced
from cpppod.protocols.modbus import pdu

__all__ = [
    *("Defaults", "modbus_client_rtu", "modbus_client_tcp", "modbus_client_timeout"),
    *("modbus_server_rtu", "modbus_server_rtu_printing", "modbus_server_tcp"),
    "modbus_server_tcp_printing",
]


class Defaults:
    """What holds where nothing is said; `Timeout` (s) is looked at for each request."""

    Port = 502
    UnitId = 0
    Timeout = 0.05


class ModbusException(pymodbus.exceptions.ModbusException, modbus.ModbusException):
    """A request that failed: refused, or without a reply in time."""

    def __init__(self, text: str, code: int = 0) -> None:
        pymodbus.exceptions.ModbusException.__init__(self, text)
        self.code = code


class ParameterException(pymodbus.exceptions.ParameterException, modbus.ParameterException):
    """An address that cannot be written, or a value that does not fit."""


@dataclass
class Response:
    """A reply of the device."""

    bits: list[bool] = field(default_factory=list)
    registers: list[int] = field(default_factory=list)
    exception_code: int = 0

    def isError(self) -> bool:
        """Whether the device refused."""
        return bool(self.exception_code)


class modbus_client_timeout(modbus.Client):
    """One connection that several pollers may share; `with client:` holds it for a thread.

    Attributes:
        timeout: seconds for each request; None or True: `Defaults.Timeout`, as it is then.
    """

    def __init__(self, address: str, **settings: Any) -> None:
        self._timeout_s: float | None = None
        self._held = threading.RLock()
        super().__init__(address, **settings)

    @property
    def timeout(self) -> float:
        return self.timeout_s

    @timeout.setter
    def timeout(self, timeout: float | bool | None) -> None:
        self._timeout_s = None if timeout in (None, True, 0) else float(timeout or 0)

    @property
    def timeout_s(self) -> float:
        return Defaults.Timeout if self._timeout_s is None else self._timeout_s

    @timeout_s.setter
    def timeout_s(self, timeout_s: float) -> None:
        """Set by the connection itself; `timeout` decides."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._open

    def connect(self) -> bool:  # type: ignore[override]
        """Whether there is a connection, now at the latest."""
        try:
            super().connect()
        except modbus.PlcOffline:
            return False
        return True

    def __enter__(self) -> Self:
        self._held.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.release()

    def _asked(self, request: Callable[[], pdu.Request], how: dict[str, Any]) -> bytes:
        unit = next((how[key] for key in _UNITS if how.get(key) is not None), None)
        try:
            return self.transact(unit_of(unit), request())
        except modbus.PlcOffline as error:
            raise ModbusException(f"failed: Timeout: {error}") from error

    def _read(self, function: int, address: int, count: int, how: dict[str, Any]) -> Response:
        try:
            data = self._asked(lambda: pdu.read(function, address, count), how)
        except pdu.ModbusException as error:
            if isinstance(error, ModbusException):
                raise
            return Response(exception_code=error.code)
        if function in (pdu.Function.READ_COILS, pdu.Function.READ_DISCRETE_INPUTS):
            return Response(bits=pdu.unpack_bits(data, count))
        return Response(registers=pdu.unpack_registers(data))

    def _written(self, request: Callable[[], pdu.Request], how: dict[str, Any]) -> Response:
        try:
            self._asked(request, how)
        except pdu.ModbusException as error:
            if isinstance(error, ModbusException):
                raise
            return Response(exception_code=error.code)
        return Response()

    def read_coils(self, address: int, count: int = 1, **how: Any) -> Response:
        """The coils from the wire address `address` (0 is 00001) on."""
        return self._read(pdu.Function.READ_COILS, address, count, how)

    def read_discrete_inputs(self, address: int, count: int = 1, **how: Any) -> Response:
        """The discrete inputs from `address` on."""
        return self._read(pdu.Function.READ_DISCRETE_INPUTS, address, count, how)

    def read_holding_registers(self, address: int, count: int = 1, **how: Any) -> Response:
        """The holding registers from `address` on."""
        return self._read(pdu.Function.READ_HOLDING_REGISTERS, address, count, how)

    def read_input_registers(self, address: int, count: int = 1, **how: Any) -> Response:
        """The input registers from `address` on."""
        return self._read(pdu.Function.READ_INPUT_REGISTERS, address, count, how)

    def write_coil(self, address: int, value: bool, **how: Any) -> Response:
        """Write one coil."""
        return self._written(lambda: pdu.write_coil(address, value), how)

    def write_coils(self, address: int, values: list[bool], **how: Any) -> Response:
        """Write coils from `address` on."""
        return self._written(lambda: pdu.write_coils(address, values), how)

    def write_register(self, address: int, value: int, **how: Any) -> Response:
        """Write one holding register."""
        return self._written(lambda: pdu.write_register(address, value), how)

    def write_registers(self, address: int, values: list[int], **how: Any) -> Response:
        """Write holding registers from `address` on."""
        return self._written(lambda: pdu.write_registers(address, values), how)


class modbus_client_tcp(modbus_client_timeout):
    """A Modbus TCP connection."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None, **others: Any) -> None:
        super().__init__(f"{host}:{port or Defaults.Port}")
        self.timeout = others.get("timeout")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"


class modbus_client_rtu(modbus_client_timeout):
    """A Modbus RTU line on a serial port."""

    SETTINGS: ClassVar = ("baudrate", "bytesize", "parity", "stopbits")

    def __init__(self, port: str, timeout: float | None = None, **others: Any) -> None:
        settings = {name: others[name] for name in self.SETTINGS if name in others}
        super().__init__(port, **settings)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"


class _Server:
    """pymodbus' server classes are not offered: they had other arguments in each release."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise Replaced(
            f"{type(self).__name__}: use cpppod.modbus.Server(address, '40001-40100=0'), or the "
            "command modbus_sim"
        )


class modbus_server_tcp(_Server):
    """Not offered."""


class modbus_server_tcp_printing(_Server):
    """Not offered."""


class modbus_server_rtu(_Server):
    """Not offered."""


class modbus_server_rtu_printing(_Server):
    """Not offered."""


_UNITS = ("unit", "slave", "device_id", "dev_id")


def unit_of(unit: int | None) -> int:
    """The unit that a request goes to: `Defaults.UnitId` without one, 1 where that is 0."""
    return (Defaults.UnitId if unit is None else unit) or 1
