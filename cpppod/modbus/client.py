"""One Modbus connection on a thread of its own, for programs that block.

Several pollers may share it: one request is on it at a time, and a write waits for at most one.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from cpppod.protocols.modbus.pdu import Request
from cpppod.protocols.model.plant import Line
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.health import RECONNECT_FIRST_S, Backoff
from cpppod.workers.drivers.modbus.driver import exchange_on
from cpppod.workers.transport.port import RTU_OVER_TCP, TcpPort, make_port

RECONNECT_CAP_S = 5.0
CONNECT_S = 1.0  # a connection may take so long even where replies must be faster
CALL_S = 60.0  # a blocking call ends by itself long before; this is against a bug of ours
SERIAL_DEFAULTS: dict[str, Any] = {"baudrate": 9600, "parity": "N"}

_Result = TypeVar("_Result")


class PlcOffline(Exception):
    """The device does not answer, or cannot be reached.

    Attributes:
        connected: there is a connection; it is the reply that did not come.
    """

    def __init__(self, text: str, *, connected: bool = False) -> None:
        super().__init__(text)
        self.connected = connected


class LoopThread:
    """A thread with an event loop of its own."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], Awaitable[_Result]], timeout_s: float = CALL_S) -> _Result:
        """The result of a coroutine that runs there.

        Raises:
            PlcOffline: no answer within `timeout_s`. What the coroutine raises passes through.
        """

        async def run() -> _Result:
            return await work()

        future = asyncio.run_coroutine_threadsafe(run(), self.loop)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise PlcOffline(f"no answer in {timeout_s:g} s") from None

    def stop(self) -> None:
        """End the loop and its tasks; it may not be used any more."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()


class Client:
    """One connection to a Modbus TCP address, a serial port, or a line behind TCP.

    Args:
        address: `host:port`, the path of a serial port, or `rtu-over-tcp://host:port`.
        settings: of a serial line: baudrate, bytesize, parity, stopbits, strip_echo.
    """

    def __init__(self, address: str, *, timeout_s: float = 1.0, **settings: Any) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.is_serial = "/" in address and not address.startswith(RTU_OVER_TCP)
        self.is_rtu = self.is_serial or address.startswith(RTU_OVER_TCP)
        self._thread = LoopThread(f"modbus {address}")
        self._port: Any
        if self.is_rtu:
            line = Line("line", address, **(SERIAL_DEFAULTS | settings))
            self._port = make_port(line, timeout_s=max(CONNECT_S, timeout_s))
        else:
            self._port = TcpPort(address, timeout_s=max(CONNECT_S, timeout_s))
        self.exchange = exchange_on(self._port, rtu=self.is_rtu)
        self._lock: asyncio.Lock | None = None
        self._open = False
        self._backoff = Backoff(RECONNECT_FIRST_S, RECONNECT_CAP_S)
        self._next_s = 0.0
        self._trouble = ""

    def transact(self, unit: int, request: Request) -> bytes:
        """The data of the reply to one request.

        Raises:
            ModbusException: the device refused.
            PlcOffline: it did not answer.
        """
        return self._thread.call(lambda: self.ask(unit, request))

    def broadcast(self, request: Request) -> None:
        """Send a write to every unit (unit 0). None answers; a device that does is not waited for
        longer than the time-out.

        Raises:
            ModbusException: a device answered, and refused.
            PlcOffline: there is no connection.
        """
        self._thread.call(lambda: self.use(lambda: self._broadcast(request), at_once=True))

    async def _broadcast(self, request: Request) -> None:
        try:
            await self.exchange.transact(0, request, self.timeout_s, counts=Counter())
        except DeviceError as error:
            if error.quality != Quality.TIMEOUT:
                raise

    def connect(self) -> None:
        """Connect, if that is not done yet (any request does).

        Raises:
            PlcOffline: there is no connection.
        """

        async def nothing() -> None:
            return None

        self._thread.call(lambda: self.use(nothing, at_once=True))

    def close(self) -> None:
        """Disconnect and end the thread."""
        if not self._thread.loop.is_closed():
            self._thread.call(self._close)
            self._thread.stop()

    async def ask(self, unit: int, request: Request, *, at_once: bool = True) -> bytes:
        """As `transact`, on the client's own loop."""

        async def ask() -> bytes:
            return await self.exchange.transact(unit, request, self.timeout_s, counts=Counter())

        return await self.use(ask, at_once=at_once)

    async def use(
        self, work: Callable[[], Awaitable[_Result]], *, at_once: bool = False
    ) -> _Result:
        """The result of `work` while the connection is nobody else's.

        Raises:
            PlcOffline: there is no connection, or the device did not answer. Without `at_once` a
                connection that failed is not tried again before its back-off is over.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            try:
                if not self._open:
                    await self._connect(at_once=at_once)
                return await work()
            except DeviceError as error:
                if not error.connected:
                    self._open = False
                    await self._port.close()
                text = f"{self.address}: {error.text}"
                raise PlcOffline(text, connected=self._open) from None

    async def give_way(self) -> None:
        """Between two requests of a long `use`: let whoever waits go first.

        Raises:
            CancelledError: the task was cancelled meanwhile; it has the turn again.
        """
        assert self._lock is not None
        self._lock.release()
        cancelled = False
        while True:
            try:
                await self._lock.acquire()
                break
            except asyncio.CancelledError:  # `use` releases the lock: have it again before
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    def start(self, work: Callable[[], Awaitable[None]]) -> "asyncio.Future[None]":
        """Run a coroutine on the client's loop; its task."""

        async def make() -> "asyncio.Task[None]":
            async def run() -> None:
                await work()

            return asyncio.get_running_loop().create_task(run())

        return self._thread.call(make)

    def soon(self, function: Callable[[], object]) -> None:
        """Call `function` on the client's loop, some time soon."""
        if not self._thread.loop.is_closed():
            self._thread.loop.call_soon_threadsafe(function)

    def cancel(self, task: "asyncio.Future[None]") -> None:
        """End a coroutine that `start` began; returns when it has ended."""

        async def stop() -> None:
            task.cancel()
            await asyncio.wait((task,))

        if not self._thread.loop.is_closed():
            self._thread.call(stop)

    async def _connect(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if not at_once and now < self._next_s:
            raise PlcOffline(self._trouble)
        try:
            await self._port.open()
        except DeviceError as error:
            await self._close()
            self._trouble = error.text  # it names the address
            self._next_s = time.monotonic() + self._backoff.failed()
            raise PlcOffline(self._trouble) from None
        self._backoff.reset()
        self._open = True

    async def _close(self) -> None:
        self._open = False
        await self._port.close()
