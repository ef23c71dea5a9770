"""The I/O thread runs blocking calls in order and tells how long the present one takes."""

import asyncio
import threading

import pytest

from cpppod.workers.process import io_thread as io_thread_module
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from tests.patience import PATIENCE_S


def test_results_and_errors_come_back_to_the_loop() -> None:
    async def scenario() -> None:
        io = IoThread()
        assert await io.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await io.call(divmod, 7, 0)
        assert await io.call(sorted, [2, 1], reverse=True) == [2, 1]
        io.close()

    asyncio.run(scenario())


def test_calls_run_one_after_another_on_one_thread_beside_the_loop() -> None:
    async def scenario() -> None:
        io = IoThread()
        names = await asyncio.gather(*(io.call(threading.get_ident) for _ in range(5)))
        assert len(set(names)) == 1
        assert names[0] != threading.get_ident()
        io.close()

    asyncio.run(scenario())


def test_age_is_that_of_the_present_call() -> None:
    async def scenario() -> None:
        io = IoThread()
        assert io.age_us() == 0
        entered, leave = threading.Event(), threading.Event()

        def block() -> None:
            entered.set()
            leave.wait(PATIENCE_S)

        blocked = io.call(block)
        while not entered.is_set():
            await asyncio.sleep(0)
        first = io.age_us()
        while io.age_us() < first + 2_000:
            await asyncio.sleep(0)
        leave.set()
        await blocked
        await io.call(int)
        io.close()

    asyncio.run(scenario())


def test_calls_behind_a_hung_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_thread_module, "MAX_WAITING", 3)

    async def scenario() -> None:
        io = IoThread()
        entered, leave = threading.Event(), threading.Event()

        def block() -> None:
            entered.set()
            leave.wait(PATIENCE_S)

        calls = [io.call(block)]
        while not entered.is_set():
            await asyncio.sleep(0)
        calls += [io.call(lambda: None) for _ in range(3)]
        with pytest.raises(IoThreadBusy):
            io.call(lambda: None)
        leave.set()
        await asyncio.gather(*calls)
        io.close()

    asyncio.run(scenario())


def test_call_that_nobody_awaits_any_more_harms_nobody() -> None:
    async def scenario() -> None:
        io = IoThread()
        io.call(int).cancel()
        assert await io.call(int, 5) == 5
        io.close()

    asyncio.run(scenario())
