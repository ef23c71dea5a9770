"""Devices at the end of routes that restart or close silent sessions, and clients that pipeline,
by a ledger: each request is answered once, in its turn, right or with the status that says why."""

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.simulator import Settings, Simulator
from cpppod.workers.transport.enip_endpoint import Limits
from tests.enip_frames import REGISTER, frames, read, routed, rr
from tests.gateway.running import RunningGateway, eventually
from tests.patience import PATIENCE_S
from tests.ports import free_port

LENGTH = 200
MAY_BE = {(0, ()), (1, (0x0204,)), (1, (0x0312,)), (1, (0x0301,))}


class Client:
    """One session that reads elements of A along a route, and keeps the ledger.

    Attributes:
        asked: elements, as they were asked for.
        statuses: of the replies; one with a value that is not its element's is an error.
    """

    def __init__(self, address: tuple[str, int], link: int = 3) -> None:
        self._socket = socket.create_connection(address, PATIENCE_S)
        self._link = link
        self._data = b""
        self._socket.sendall(REGISTER)
        self.asked: list[int] = []
        self.statuses: Counter[tuple[int, tuple[int, ...]]] = Counter()
        self._answered = 0
        self._handle = int.from_bytes(self._next()[4:8], "little")

    def _next(self) -> bytes:
        while not (found := frames(self._data)):
            data = self._socket.recv(65_536)
            assert data, "the gateway has closed the session"
            self._data += data
        self._data = self._data[len(found[0]) :]
        return found[0]

    def send(self, count: int) -> None:
        """Ask for so many elements at once."""
        out = []
        for _ in range(count):
            number = len(self.asked)
            self.asked.append(number * 7 % LENGTH)
            message = routed(read(f"A[{self.asked[-1]}]"), f"1/{self._link}")
            out.append(rr(message, self._handle, number.to_bytes(8, "little")))
        self._socket.sendall(b"".join(out))

    def receive(self, count: int) -> None:
        """Take so many replies; they must be the next in order."""
        for _ in range(count):
            reply = self._next()
            assert int.from_bytes(reply[12:20], "little") == self._answered
            decoded = MessageRouterReply.decode(reply[40:])
            if not decoded.status:
                element = self.asked[self._answered]
                assert decoded.data == b"\xc4\0" + element.to_bytes(4, "little")
            self.statuses[decoded.status, tuple(decoded.extended)] += 1
            self._answered += 1

    def nothing_more(self) -> None:
        """No reply came twice."""
        self._socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            self._socket.recv(1)
        self._socket.close()


class Device:
    """A controller that can be stopped and started again at the same address."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._limits = limits
        self.start()

    def start(self) -> None:
        options = {} if self._limits is None else {"limits": self._limits}
        settings = Settings(udp=False, address=self.address, **options)  # type: ignore[arg-type]
        self._simulator = Simulator([f"A=DINT[{LENGTH}]"], settings)
        self._simulator.__enter__()
        self._simulator["A"] = list(range(LENGTH))

    def stop(self) -> None:
        self._simulator.__exit__(None, None, None)


@contextmanager
def leading_to(gateway: RunningGateway, *devices: Device) -> Iterator[tuple[str, int]]:
    """Where the gateway listens; routes 1/3 and on lead to the devices."""
    before = gateway.configuration.read_text()
    added = [
        f'[[route]]\npath = "1/{3 + place}"\naddress = "{device.address}"\n'
        for place, device in enumerate(devices)
    ]
    gateway.configuration.write_text("\n".join([before, *added]))
    try:
        assert gateway.ask("reload")["applied"]
        gateway.wait_until_well()
        yield gateway.address(44818)
    finally:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
        gateway.wait_until_well()
        for device in devices:
            device.stop()


def ask_while_restarting(gateway: RunningGateway, requests: int, every_s: float) -> Counter:  # type: ignore[type-arg]
    """What so many requests, 20 at a time, are answered with while their device restarts."""
    device = Device()
    with leading_to(gateway, device) as address:
        client = Client(address)
        over = threading.Event()

        def restart() -> None:
            while not over.wait(every_s):
                device.stop()
                device.start()

        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            pace_s = every_s / 50
            while len(client.asked) < requests or client.statuses[0, ()] < requests // 10:
                client.send(20)
                client.receive(20)
                time.sleep(pace_s)  # while the device is away the answer comes at once
        finally:
            over.set()
            restarting.join()
        client.nothing_more()
    assert sum(client.statuses.values()) == len(client.asked)
    assert set(client.statuses) <= MAY_BE, client.statuses
    return client.statuses


def test_each_request_is_answered_once_and_in_order_while_the_device_restarts(
    gateway: RunningGateway,
) -> None:
    ask_while_restarting(gateway, requests=400, every_s=0.2)


@pytest.mark.campaign
def test_ten_thousand_requests_are_answered_once_while_the_device_restarts_every_second(
    gateway: RunningGateway,
) -> None:
    print(ask_while_restarting(gateway, requests=10_000, every_s=1.0))


@pytest.mark.campaign
def test_no_first_request_after_five_seconds_of_silence_fails_where_two_end_a_session(
    gateway: RunningGateway,
) -> None:
    devices = [Device(Limits(idle_s=2.0)) for _ in range(10)]
    with leading_to(gateway, *devices) as address:
        clients = [Client(address, 3 + place) for place in range(len(devices))]
        for _ in range(11):  # the first is after no silence
            for client in clients:
                client.send(1)
                client.receive(1)
            time.sleep(5)
        for client in clients:
            assert client.statuses == {(0, ()): 11}
            client.nothing_more()


def test_client_that_pipelines_a_hundred_is_answered_everything_in_its_order(
    gateway: RunningGateway,
) -> None:
    with leading_to(gateway, Device()) as address:
        client = Client(address)
        eventually(lambda: _works(client))
        for _ in range(5):
            client.send(100)
            client.receive(100)
        client.send(1_000)
        client.receive(1_000)
        client.nothing_more()
    assert set(client.statuses) <= MAY_BE
    assert client.statuses[0, ()] >= 1_500


def _works(client: Client) -> bool:
    before = client.statuses[0, ()]
    client.send(1)
    client.receive(1)
    return client.statuses[0, ()] > before


def test_client_that_never_reads_its_replies_holds_nobody(gateway: RunningGateway) -> None:
    with leading_to(gateway, Device()) as address:
        polite, deaf = Client(address), Client(address)
        eventually(lambda: _works(polite))
        deaf._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf._socket.setblocking(False)
        request = rr(routed(read("A[0]", LENGTH), "1/3"), deaf._handle) * 50
        for place in itertools.count():  # until the gateway reads no more of him
            try:
                deaf._socket.send(request)
            except BlockingIOError:
                if place > 100:
                    break
            right = polite.statuses[0, ()]
            polite.send(10)
            polite.receive(10)
            assert polite.statuses[0, ()] == right + 10
        polite.nothing_more()
        deaf._socket.close()
