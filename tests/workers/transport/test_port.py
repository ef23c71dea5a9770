"""Ports and locks: one owner each, trouble in words, the same adapter under another name."""

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Line
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.lock import OwnedConnection
from cpppod.workers.simulators.modbus.simulator import PtyEndpoint
from cpppod.workers.transport import port as ports
from cpppod.workers.transport.port import SerialPort, TcpPort, make_port
from tests.patience import PATIENCE_S
from tests.workers.devices.plant import make_plant

TIOCGEXCL = 0x80045440  # tty_ioctl(2); termios has no name for it yet


async def refused(port: SerialPort | TcpPort) -> DeviceError:
    with pytest.raises(DeviceError) as error:
        await port.open()
    assert error.value.quality == Quality.NOT_CONNECTED
    return error.value


def test_a_port_that_is_open_elsewhere_is_refused_in_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        pty = PtyEndpoint(make_plant("40001"), str(tmp_path / "line"))
        await pty.open()
        first, second = (SerialPort(Line("l", str(tmp_path / "line"))) for _ in range(2))
        await first.open()
        assert "another process has it open" in (await refused(second)).text
        await first.close()
        with open(tmp_path / "line", "rb", buffering=0) as line:  # root could open it all the same
            assert fcntl.ioctl(line, TIOCGEXCL, bytes(4)) == bytes(4), "no mark is left behind"
        await second.open()
        await second.close()
        await pty.close()

    asyncio.run(scenario())


def test_a_port_that_is_not_there_or_no_port_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        missing = SerialPort(Line("l", str(tmp_path / "none")))
        assert "no such file" in (await refused(missing)).text
        (tmp_path / "file").write_text("")
        assert (await refused(SerialPort(Line("l", str(tmp_path / "file"))))).text
        closed = TcpPort("127.0.0.1:1")
        error = await refused(closed)
        assert "connection refused" in error.text
        assert error.failure is Failure.REFUSED
        unknown = TcpPort("nobody.invalid:502", timeout_s=5.0)
        error = await refused(unknown)
        assert error.failure is Failure.NO_SUCH_HOST
        assert error.text == "nobody.invalid:502: no such host"

    asyncio.run(scenario())


def test_an_adapter_that_comes_back_under_another_number_is_found_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        by_id = tmp_path / "by-id"
        by_id.mkdir()
        monkeypatch.setattr(ports, "_BY_ID", by_id)
        name, adapter = tmp_path / "ttyUSB0", by_id / "usb-adapter"
        first = PtyEndpoint(make_plant("40001"), str(name))
        await first.open()
        adapter.symlink_to(os.path.realpath(name))
        port = SerialPort(Line("l", str(name)))
        await port.open()
        await port.close()
        second = PtyEndpoint(make_plant("40001"), str(tmp_path / "ttyUSB1"))
        await second.open()
        await first.close()  # ttyUSB0 is gone; the same adapter is ttyUSB1 now
        adapter.unlink()
        adapter.symlink_to(os.path.realpath(tmp_path / "ttyUSB1"))
        await port.open()
        await port.close()
        await second.close()

    asyncio.run(scenario())


def test_a_wire_has_one_owner_among_all_processes(tmp_path: Path) -> None:
    class Idle:
        async def open(self) -> None: ...

        async def close(self) -> None: ...

    async def scenario() -> None:
        first, second = (OwnedConnection(Idle(), str(tmp_path), "line hall") for _ in range(2))
        await first.open()
        with pytest.raises(DeviceError, match="another process owns it"):
            await second.open()
        await first.close()
        with pytest.raises(DeviceError):
            await second.open()
        first.release()
        await second.open()
        second.release()

    asyncio.run(scenario())


async def drink(port: TcpPort) -> None:
    """Receive until there is no more."""
    while True:
        await port.receive(1.0)


def test_a_peer_that_sends_without_end_is_cut_off() -> None:
    async def scenario() -> None:
        cut = asyncio.Event()

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(b"\xa5" * 65_536)
                    await writer.drain()
            except ConnectionError:
                cut.set()

        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        port = TcpPort(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await port.open()
        await asyncio.wait_for(cut.wait(), PATIENCE_S)  # though nobody received anything
        with pytest.raises(DeviceError):
            await drink(port)
        await port.close()
        server.close()

    asyncio.run(scenario())


def test_device_is_reached_at_an_ipv6_address() -> None:
    async def scenario() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            await writer.drain()

        server = await asyncio.start_server(greet, "::1", 0)
        number = server.sockets[0].getsockname()[1]
        port = TcpPort(f"[::1]:{number}")
        await port.open()
        assert await port.receive(PATIENCE_S) == b"hello"
        await port.close()
        server.close()
        with pytest.raises(DeviceError, match=rf"\[::1\]:{number}: "):
            await TcpPort(f"[::1]:{number}").open()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["10.0.0.5:0", "10.0.0.5:70000", "10.0.0:502", "10.0.0.5:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        TcpPort(text)


def test_a_line_is_a_path_or_a_socket() -> None:
    assert isinstance(make_port(Line("l", "/dev/ttyS0")), SerialPort)
    assert isinstance(make_port(Line("l", "rtu-over-tcp://127.0.0.1:4001")), TcpPort)
