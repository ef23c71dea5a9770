"""Pollers: a value of each address that is asked for, as of the last poll."""

import collections
import logging
from typing import Any

from cpppod.modbus import PlcOffline

from ..misc import timer

__all__ = ["PlcOffline", "poller", "poller_simulator"]

log = logging.getLogger("cpppo.remote")


class poller:
    """Remembers what it is told; subclasses talk to a device by `_write`, `_receive` and `_store`.

    Attributes:
        online: while it is not, every value reads as None and nothing can be written.
        rate: seconds between polls.
    """

    def __init__(self, description: Any = None, rate: float | None = None) -> None:
        self.description = id(self) if description is None else description
        self.online = True
        self.rate = rate
        self._data: dict[int, Any] = {}

    def poll(self, address: int, rate: float | None = None) -> None:
        """Poll `address` from now on; the fastest rate asked for holds."""
        if rate is not None:
            self.rate = min(self.rate or rate, rate)
        self._poll(address)

    def read(self, address: int) -> Any:
        """The value last polled, None until then and while offline; it is polled from now on."""
        self._poll(address)
        self._receive()
        return self._data[address] if self.online else None

    def write(self, address: int, value: Any, **how: Any) -> None:
        """Write a value, or several from `address` on.

        Raises:
            PlcOffline: it is not online.
        """
        if not self.online:
            raise PlcOffline(f"Write to PLC {self.description}/{address:6d} failed: Offline")
        self._write(address, value, **how)

    def forget(self, address: int) -> None:
        """Drop the value of `address`, until it is polled again."""
        self._forget(address)

    def _poll(self, address: int) -> None:
        self._data.setdefault(address, None)

    def _write(self, address: int, value: Any, **how: Any) -> None:
        self._store(address, value)

    def _receive(self) -> None:
        """Take in what has come."""

    def _forget(self, address: int) -> None:
        self._data[address] = None

    def _store(self, address: int, value: Any, create: bool = True) -> None:
        """Remember values from `address` on; lost while offline."""
        values = value if hasattr(value, "__getitem__") else [value]
        if not self.online:
            return
        for number, each in enumerate(values, address):
            if create or number in self._data:
                self._data[number] = each


class poller_simulator(poller):
    """A device in memory: what is written is polled one cycle later. Every address begins at 0."""

    def __init__(self, description: Any, **keywords: Any) -> None:
        super().__init__(description=description, **keywords)
        self._written: dict[int, collections.deque[tuple[float, Any]]] = {}
        self._polled = timer()

    def _poll(self, address: int) -> None:
        if address not in self._data:
            self._write(address, 0)
        super()._poll(address)

    def _write(self, address: int, value: Any, **how: Any) -> None:
        self._written.setdefault(address, collections.deque()).append((timer(), value))

    def _receive(self) -> None:
        if self._polled + (self.rate or 0) > timer():
            return
        self._polled += self.rate or 0
        for address, waiting in self._written.items():
            while waiting and waiting[0][0] <= self._polled and self.online:
                self._store(address, waiting.popleft()[1])
