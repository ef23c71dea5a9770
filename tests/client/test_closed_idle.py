"""A target that closes its connections while nobody asks: the next request goes over a new one."""

import asyncio
import contextlib
import time
from typing import Any

import pytest

from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.enip.originator.errors import CommunicationCeased
from cpppod.simulator import Simulator
from tests.client.hostile_target import hostile_target, wrapped
from tests.client.shells import SHELLS, connect
from tests.patience import PATIENCE_S

SEVEN = bytes.fromhex("cc000000c40007000000")

pytestmark = pytest.mark.parametrize("shell", SHELLS)


def until_ended(connection: Any) -> None:
    """Return when the target has closed."""
    end = time.monotonic() + PATIENCE_S
    while not getattr(connection, "connection", connection).ended:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_every_call_after_the_target_closed_goes_over_a_new_connection(shell: str) -> None:
    asked: list[bytes] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        asked.append(request)
        return wrapped(frame, SEVEN)

    with hostile_target(answer, replies=1) as address:
        connection = connect(shell, address)
        with contextlib.closing(connection):
            for call in (
                lambda: connection.process(["T"])[1],
                lambda: [result.value for result in connection.synchronous(["T"])],
                lambda: [result.value for result in connection.operate(["T"])],
                lambda: [connection.read_tags(["T"])],
            ):
                assert call() == [[7]]
                until_ended(connection)
            assert connection.request(asked[0]).data == SEVEN[4:]
    assert len(asked) == 5, "each once"


def test_a_request_that_was_sent_is_not_sent_again(shell: str) -> None:
    asked: list[bytes] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        asked.append(request)
        return b""

    with hostile_target(answer, replies=1) as address:
        connection = connect(shell, address)
        with contextlib.closing(connection), pytest.raises(CommunicationCeased):
            connection.process(["T=(DINT)5"])
    assert len(asked) == 1


def drop_connections(plc: Simulator) -> None:
    """Have the simulator close every connection and listen again."""

    async def restart() -> None:
        await plc.disable()
        await plc.enable()

    loop = plc._loop
    assert loop is not None
    asyncio.run_coroutine_threadsafe(restart(), loop).result(PATIENCE_S)


def test_a_class_3_connection_is_opened_anew_with_it(shell: str) -> None:
    with Simulator(["A=DINT"]) as plc:
        connection = connect(shell, plc.address, connected=True)
        with contextlib.closing(connection):
            assert connection.process(["A=(DINT)5", "A"], multiple=True)[0] == 0
            plan: Any = connection.prepare(["A"])
            for _ in range(2):
                drop_connections(plc)
                assert connection.read_plan(plan) == [5]
                drop_connections(plc)
                assert connection.process(["A"])[1] == [[5]]
            assert connection.carrier.connection is not None


def test_a_target_that_does_not_come_back_is_said(shell: str) -> None:
    with hostile_target(lambda frame, request: wrapped(frame, SEVEN), replies=1) as address:
        connection = connect(shell, address)
        assert connection.process(["T"])[1] == [[7]]
        until_ended(connection)
    with contextlib.closing(connection), pytest.raises(CommunicationCeased, match="refused"):
        connection.process(["T"])
