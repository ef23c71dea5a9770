"""Class 3 connections that the gateway opens at a device for its clients."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip.connection_manager import ForwardOpen, ForwardOpenReply
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.request import Carriage
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device
from cpppod.simulator import Settings, Simulator
from cpppod.workers.drivers.enip import links
from cpppod.workers.drivers.enip.driver import EnipDriver, make_driver
from tests.client.hostile_target import hostile_target
from tests.enip_frames import forward_open, read
from tests.patience import PATIENCE_S

OPEN = forward_open("@2/1", size=4000, large=True)


@pytest.fixture
def plc() -> Iterator[Simulator]:
    with Simulator(["A=DINT[1000]"], Settings()) as running:
        yield running


class Asker:
    """A driver, and what it tells of others' requests."""

    def __init__(self, driver: EnipDriver) -> None:
        self.driver = driver
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.ready = asyncio.Event()
        self._number = 0
        driver.ends.replied = self._replied
        driver.ends.refused = lambda number, place, error: self.told.put_nowait(error)
        driver.ends.lost = self.told.put_nowait
        driver.ends.ready = self.ready.set

    def _replied(self, number: int, place: int, replies: list[bytes]) -> bool:
        for at, reply in enumerate(replies, place):
            self.told.put_nowait((at, MessageRouterReply.decode(reply)))
        return True

    def send(self, carriage: int, *bodies: bytes, connection: int = 7) -> bool:
        self._number += 1
        group = RouteGroup(1, "", 0, 5, 157, b"", 0, b"", carriage, connection)
        return self.driver.relay(self._number, 0, bodies, group, 2.0)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.told.get(), PATIENCE_S)

    async def opened(self, message: bytes = OPEN, connection: int = 7) -> MessageRouterReply:
        assert self.send(Carriage.OPEN, message, connection=connection)
        reply: MessageRouterReply = (await self.next())[1]
        return reply


def with_asker(plc_address: tuple[str, int], work: Any, **changes: Any) -> None:
    host, port = plc_address

    async def run() -> None:
        device = Device("d", "enip", f"{host}:{port}", timeout_s=PATIENCE_S)
        driver = make_driver(replace(device, **changes))
        await driver.open()
        try:
            await work(Asker(driver))
        finally:
            await driver.close()

    asyncio.run(run())


def test_a_connection_to_a_device_without_sender_contexts_carries_requests() -> None:
    async def work(asker: Asker) -> None:
        opened = await asker.opened()
        assert opened.status == 0
        assert asker.send(Carriage.CONNECTED, on_it(1, read("A[7]")))
        message = await asker.next()
        assert (message[1].status, message[1].data) == (0, b"\xc4\0\x63\0\0\0")
        assert asker.send(Carriage.CLOSE, b"")
        await asker.next()
        again = await asker.opened()
        assert again.status == 0

    with Simulator(["A=DINT[1000]"], Settings(faults=("no-context",))) as running:
        running.write("A", [99], 7)
        with_asker(running.address, work)


def on_it(sequence: int, message: bytes) -> bytes:
    return sequence.to_bytes(2, "little") + message


@pytest.mark.parametrize("changes", [{}, {"route_path": "1/0"}, {"connected": True}])
def test_connection_is_opened_used_and_closed(plc: Simulator, changes: dict[str, Any]) -> None:
    async def work(asker: Asker) -> None:
        granted = ForwardOpenReply.decode((await asker.opened()).data)
        asked = ForwardOpen.decode(OPEN[6:], large=True)
        assert granted.connection_serial != asked.connection_serial or granted.to_id != asked.to_id
        sent = [on_it(1, read("A", 900)), on_it(9, read("A[5]"))]
        assert asker.send(Carriage.CONNECTED, *sent)
        replies = dict([await asker.next(), await asker.next()])
        assert [len(replies[place].data) for place in (0, 1)] == [2 + 3600, 6]
        assert asker.send(Carriage.CLOSE, bytes(2))
        assert (await asker.next())[1].status == 0
        assert asker.send(Carriage.CONNECTED, on_it(2, read("A")))
        assert (await asker.next()).failure is Failure.NOT_CONNECTED

    with_asker(plc.address, work, **changes)


def test_refusal_of_the_device_is_passed_on_and_nothing_is_kept(plc: Simulator) -> None:
    async def work(asker: Asker) -> None:
        refused = await asker.opened(forward_open("@2/7"))
        assert (refused.status, refused.extended) == (1, (0x0117,))
        assert asker.driver.describe()["connections_carried"] == 0

    with_asker(plc.address, work)


def test_connection_lost_with_tcp_is_opened_again_before_its_next_request(plc: Simulator) -> None:
    async def work(asker: Asker) -> None:
        await asker.opened()
        await asker.driver.close()
        assert not (await asker.next()).connected
        await asker.driver.open()
        request = on_it(3, read("A[1]"))
        assert not asker.send(Carriage.CONNECTED, request), "it waits"
        await asyncio.wait_for(asker.ready.wait(), PATIENCE_S)
        assert asker.send(Carriage.CONNECTED, request)
        assert (await asker.next())[1].status == 0

    with_asker(plc.address, work)


def test_device_that_does_not_open_it_again_has_no_such_connection() -> None:
    opened = iter([True, False])

    def answer(frame: Frame, request: bytes) -> bytes:
        asked = ForwardOpen.decode(request[6:], large=True)
        granted = ForwardOpenReply(5, asked.to_id, *asked.triad, 1, 1).encode()
        reply = b"\xdb\0\0\0" + granted if next(opened) else b"\xdb\0\1\1\x13\1"
        data = frame.data[:14] + len(reply).to_bytes(2, "little") + reply
        return Frame(frame.command, data, frame.session, 0, frame.context).encode()

    async def work(asker: Asker) -> None:
        assert (await asker.opened()).status == 0
        await asker.driver.close()
        await asker.next()
        await asker.driver.open()
        assert not asker.send(Carriage.CONNECTED, on_it(3, read("A")))
        await asyncio.wait_for(asker.ready.wait(), PATIENCE_S)
        assert asker.send(Carriage.CONNECTED, on_it(3, read("A")))
        assert (await asker.next()).failure is Failure.NOT_CONNECTED

    with hostile_target(answer) as address:
        with_asker(address, work)


def test_connections_of_others_are_bounded_and_those_left_by_their_clients_go(
    plc: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 2)

    async def work(asker: Asker) -> None:
        for connection in (1, 2):
            assert (await asker.opened(connection=connection)).status == 0
        full = await asker.opened(connection=3)
        assert (full.service, full.status, full.extended) == (0xDB, 1, (0x0113,))
        for link in asker.driver._links._links.values():
            link.used_s = -1e9
        assert (await asker.opened(connection=3)).status == 0

    with_asker(plc.address, work)


def test_open_that_is_none_is_refused(plc: Simulator) -> None:
    async def work(asker: Asker) -> None:
        assert (await asker.opened(OPEN[:-3])).status == 0x13

    with_asker(plc.address, work)
