"""Polling: steady cycles, back-off, several rates, and the async iterator."""

import asyncio
import threading
import time
from typing import Any

import pytest

from cpppod import poll
from cpppod.proxy import UnknownParameter, powerflex_750_series
from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S
from tests.ports import free_port

DRIVE = ["Motor_Velocity@0x93/3/10=REAL", "Output_Current@0x93/7/10=REAL"]


class Collected:
    """A process that is done once it has seen enough."""

    def __init__(self, enough: int) -> None:
        self.seen: list[tuple[Any, Any]] = []
        self.enough = enough

    @property
    def done(self) -> bool:
        return len(self.seen) >= self.enough

    def __call__(self, name: Any, value: Any) -> None:
        self.seen.append((name, value))


def test_parameters_are_polled_until_the_process_is_done() -> None:
    collected = Collected(6)
    with Simulator(DRIVE) as drive:
        poll.poll(
            powerflex_750_series,
            address=drive.address,
            cycle=0.02,
            params=["Motor Velocity", "Output Current"],
            process=collected,
        )
    assert collected.seen[:2] == [("Motor Velocity", [0.0]), ("Output Current", [0.0])]
    assert len(collected.seen) == 6


def test_polling_goes_on_when_the_device_comes_back() -> None:
    collected = Collected(1)
    failures: list[str] = []
    address = ("127.0.0.1", free_port())
    thread = threading.Thread(
        target=poll.poll,
        kwargs={
            "proxy_class": powerflex_750_series,
            "address": address,
            "cycle": 0.05,
            "latency": 0.01,
            "backoff_max": 0.1,
            "params": ["Motor Velocity"],
            "process": collected,
            "failure": lambda error: failures.append(str(error)),
        },
    )
    thread.start()
    while not failures:
        time.sleep(0.01)
    with Simulator(DRIVE, Settings(address=f"{address[0]}:{address[1]}")):
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "refused" in failures[0]
    assert collected.seen == [("Motor Velocity", [0.0])]


def test_a_name_that_is_not_known_is_refused_at_once() -> None:
    with pytest.raises(UnknownParameter):
        poll.poll(powerflex_750_series, ("127.0.0.1", 1), params=["Foo"], pass_thru=False)


def test_a_cycle_that_is_not_due_is_waited_for_and_a_late_one_is_skipped() -> None:
    with Simulator(DRIVE) as drive:
        via = powerflex_750_series(*drive.address)
        first, delay, values = poll.loop(via, cycle=10.0, params=["Motor Velocity"])
        assert values == [("Motor Velocity", [0.0])]
        assert 0.0 < delay <= 10.0
        again, left, nothing = poll.loop(via, cycle=10.0, last_poll=first, params=["x"])
        assert (again, nothing) == (first, [])
        assert left <= delay
        late, _, values = poll.loop(
            via, cycle=10.0, last_poll=first - 35.0, params=["Motor Velocity"]
        )
        assert late == first - 35.0 + 30.0
        assert len(values) == 1
        via.close_gateway()


def test_back_off_grows_to_its_limit_and_starts_anew() -> None:
    backoff = poll.Backoff(0.2, None, None, None)
    assert [backoff.failed() for _ in range(8)] == pytest.approx(
        [0.2, 0.3, 0.45, 0.675, 1.0125, 1.51875, 2.0, 2.0]
    )
    backoff.succeeded()
    assert backoff.failed() == 0.2


def test_execute_can_tell_details() -> None:
    with Simulator(DRIVE) as drive:
        via = powerflex_750_series(*drive.address)
        ((name, (value, result)),) = poll.execute(via, ["Motor Velocity"], details=True)
        assert (name, value) == ("Motor Velocity", [0.0])
        assert result.status == 0
        via.close_gateway()


def test_values_come_as_an_async_iterator() -> None:
    async def work() -> list[Any]:
        seen = []
        with Simulator(DRIVE) as drive:
            via = powerflex_750_series(*drive.address)
            async for item in poll.values(via, ["Motor Velocity"], cycle=0.01):
                seen.append(item)
                if len(seen) == 3:
                    break
            via.close_gateway()
        return seen

    assert asyncio.run(work()) == [("Motor Velocity", [0.0])] * 3


def test_several_rates_share_one_connection() -> None:
    with Simulator(DRIVE) as drive:
        via = powerflex_750_series(*drive.address)
        slow, fast = Collected(2), Collected(8)
        threads = [
            threading.Thread(
                target=poll.run,
                args=(via,),
                kwargs={"process": process, "cycle": cycle, "params": [name], "latency": 0.01},
            )
            for process, cycle, name in (
                (slow, 0.08, "Motor Velocity"),
                (fast, 0.02, "Output Current"),
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert slow.done
        assert fast.done
        via.close_gateway()


def test_what_a_device_refuses_is_printed_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Simulator(DRIVE) as drive:
        via = powerflex_750_series(*drive.address, timeout=PATIENCE_S)
        for name, read in poll.execute(via, ["Output Current", "Output Power"], details=True):
            poll.shown(name, read)
        via.close_gateway()
    assert capsys.readouterr().out == (
        " Output Current: [0.0]\n   Output Power: None  path destination unknown (0x05, 0x0000)\n"
    )
