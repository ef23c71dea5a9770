"""A Modbus device that is polled, as a thread: `cpppod.modbus.Poller`."""

import threading
from typing import Any

from cpppod import modbus
from cpppod.modbus import PlcOffline, merge, shatter
from cpppod.protocols.modbus.address import from_number

from .plc import poller
from .pymodbus_fixes import (
    Defaults,
    ModbusException,
    ParameterException,
    modbus_client_tcp,
    modbus_client_timeout,
    unit_of,
)

__all__ = ["Defaults", "PlcOffline", "merge", "poller", "poller_modbus", "shatter"]


class poller_modbus(modbus.Poller, threading.Thread):
    """Polls the addresses it was told of until `done`; see `cpppod.modbus.Poller`.

    Args:
        client: a `modbus_client_tcp` or `modbus_client_rtu` to share; else `host` and `port`.
        multi: write single registers by function 16 too.
        rate: seconds between polls; None: the fastest that `poll` was told, 1 s without any.
    """

    def __init__(
        self,
        description: Any,
        client: modbus_client_timeout | None = None,
        reach: int = 100,
        multi: bool = False,
        unit: int | None = None,
        host: str | None = None,
        port: int | None = None,
        rate: float | None = None,
    ) -> None:
        assert client is None or (host is None and port is None), "a client, or host and port"
        threading.Thread.__init__(self, name=str(description), daemon=True)
        self.multi = multi
        self._over = threading.Event()
        self._rated = rate is not None
        self._timeout_s = Defaults.Timeout
        shared = client or modbus_client_tcp(host=host or "127.0.0.1", port=port)
        super().__init__(description, shared, reach, unit=unit_of(unit), rate=rate)
        self._own = client is None
        self.start()

    def run(self) -> None:
        """Wait until it is done; the polls run on the connection's thread."""
        self._over.wait()
        modbus.Poller.stop(self)

    @property
    def done(self) -> bool:
        """Whether it is to end; set it to have it end."""
        return self._over.is_set()

    @done.setter
    def done(self, done: bool) -> None:
        if done:
            self._over.set()

    def stop(self) -> None:
        """Have it end."""
        self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Have it end, and wait for that."""
        self._over.set()
        threading.Thread.join(self, timeout)

    def poll(self, address: int, rate: float | None = None, **how: Any) -> None:
        """Poll `address` from now on; the fastest rate asked for holds."""
        if rate is not None and not self._rated:
            self._rated, self.rate = True, float(rate)
        super().poll(address, rate, **how)

    def write(self, address: int, value: Any, unit: int | None = None, **how: Any) -> None:
        """Write a value, or several from `address` on; returns when it is answered.

        Raises:
            PlcOffline: there is no connection.
            ModbusException: the device refused, or did not answer in `Defaults.Timeout`.
            ParameterException: an address that cannot be written, or a value that does not fit.
        """
        values = list(value) if hasattr(value, "__iter__") else value
        if self.multi and not isinstance(values, list) and address > 9999:
            values = [values]
        where = f"Modbus Write to PLC {self.description}/{address:6d} failed"
        try:
            request = self._write_request(address, values, {})
            self.client.transact(self.unit if unit is None else unit, request)
        except modbus.PlcOffline as error:
            if error.connected:
                raise ModbusException(f"{where}: Timeout: {error}") from error
            raise PlcOffline(f"{where}: Offline: {error}") from error
        except modbus.ModbusException as error:
            raise ModbusException(f"{where}: {error}", error.code) from error
        except modbus.ParameterException as error:
            raise ParameterException(str(error)) from error
        self._again()

    def forget(self, address: int) -> None:
        """Drop the value of `address`, until it is polled again."""
        self._values.pop(from_number(address), None)

    def _planned(self) -> Any:
        if self._timeout_s != Defaults.Timeout:
            self._timeout_s = Defaults.Timeout
            self._changes += 1  # the plan holds the time-out
        return super()._planned()
