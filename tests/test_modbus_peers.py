"""Other people's Modbus clients and servers with ours: mbpoll (libmodbus), pymodbus, cpppo."""

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cpppod.modbus import Poller, Server
from cpppod.protocols.model.plant import Tag
from tests import peers
from tests.patience import PATIENCE_S
from tests.workers.devices.plant import device, polled, registers, write

CELLS = ("1-32=1,0", "10001-10032=0,1", "30001-30100=42", "40001-40100=7")


def mbpoll(*arguments: str) -> dict[int, str]:
    """Values by reference, as `mbpoll` prints them."""
    done = subprocess.run(
        [peers.program("mbpoll"), "-1", "-q", "-o", "10", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {int(n): v for n, v in re.findall(r"^\[(\d+)\]:\s+(-?\S+)", done.stdout, re.MULTILINE)}


READS = [
    (["-t", "0", "-r", "1", "-c", "10"], {n: str(n % 2) for n in range(1, 11)}),
    (["-t", "1", "-r", "1", "-c", "10"], {n: str((n + 1) % 2) for n in range(1, 11)}),
    (["-t", "3", "-r", "1", "-c", "5"], dict.fromkeys(range(1, 6), "42")),
    (["-t", "4", "-r", "1", "-c", "100"], dict.fromkeys(range(1, 101), "7")),
]
WRITES = [
    (["-t", "4", "-r", "3"], ["99"], 40_003, [99]),
    (["-t", "4", "-r", "5"], ["1", "2", "3"], 40_005, [1, 2, 3]),
    (["-t", "0", "-r", "2"], ["1"], 2, [1]),
    (["-t", "0", "-r", "4"], ["1", "1", "1"], 4, [1, 1, 1]),
    (["-t", "4:float", "-B", "-r", "11"], ["1.5"], 40_011, [0x3FC0, 0]),
]


def transports(tmp_path: Path) -> list[tuple[str, Any]]:
    link = str(tmp_path / "line")
    serial = ["-m", "rtu", "-a", "1", "-b", "9600", "-P", "none", link]
    return [
        ("127.0.0.1:0", lambda at: ["-m", "tcp", "-a", "1", "-p", at.split(":")[1], "127.0.0.1"]),
        (f"pty:{link}", lambda at: serial),
    ]


@pytest.mark.parametrize("index", [0, 1], ids=["TCP", "RTU"])
def test_mbpoll_reads_and_writes_all_that_it_can(index: int, tmp_path: Path) -> None:
    address, where = transports(tmp_path)[index]
    with Server(address, *CELLS) as server:
        target = where(server.address)
        for arguments, expected in READS:
            assert mbpoll(*arguments, *target) == expected
        for arguments, values, number, cells in WRITES:
            mbpoll(*arguments, *target, *values)
            assert [server.get(number + at) for at in range(len(cells))] == cells


@pytest.mark.parametrize("serial", [False, True], ids=["TCP", "RTU"])
def test_pymodbus_client_reads_and_writes_the_simulator(serial: bool, tmp_path: Path) -> None:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

    link = str(tmp_path / "line")

    async def scenario(server: Server) -> None:
        client: Any
        if serial:
            client = AsyncModbusSerialClient(link, baudrate=9600, parity="N", timeout=PATIENCE_S)
        else:
            host, _, port = server.address.rpartition(":")
            client = AsyncModbusTcpClient(host, port=int(port), timeout=PATIENCE_S)
        await client.connect()
        unit = {"device_id": 1}
        assert (await client.read_holding_registers(0, count=5, **unit)).registers == [7] * 5
        assert (await client.read_input_registers(0, count=2, **unit)).registers == [42] * 2
        assert (await client.read_coils(0, count=4, **unit)).bits[:4] == [True, False] * 2
        assert (await client.read_discrete_inputs(0, count=2, **unit)).bits[:2] == [False, True]
        assert not (await client.write_register(1, 11, **unit)).isError()
        assert not (await client.write_registers(2, [12, 13], **unit)).isError()
        assert not (await client.write_coil(1, True, **unit)).isError()
        assert not (await client.write_coils(2, [False, True], **unit)).isError()
        masked = await client.mask_write_register(
            address=4, and_mask=0xFFF0, or_mask=0x0005, **unit
        )
        assert not masked.isError()
        both = await client.readwrite_registers(
            read_address=0, read_count=5, address=0, values=[10], **unit
        )
        assert both.registers == [10, 11, 12, 13, 5]
        refused = await client.read_holding_registers(500, count=1, **unit)
        assert (refused.isError(), refused.exception_code) == (True, 2)
        identity = await client.read_device_information(**unit)
        assert identity.information[0] == b"cpppod"
        client.close()

    with Server(f"pty:{link}" if serial else "127.0.0.1:0", *CELLS) as server:
        asyncio.run(scenario(server))


def test_our_master_polls_and_writes_pymodbus_server() -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    async def scenario() -> None:
        data = SimData(0, count=100, values=7, datatype=DataType.REGISTERS)
        server: Any = ModbusTcpServer(SimDevice(1, simdata=[data]), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert server.transport is not None
        port = server.transport.sockets[0].getsockname()[1]
        tags = (*registers(0, 20), Tag("w", "40003", writable=True))
        async with polled(device("d", f"127.0.0.1:{port}", tags)) as (wire, published):
            await published.until(lambda: published.value("d.r19") == 7)
            assert (await write(wire, "d", ["w", 0, [55]])).failure is None
            await published.until(lambda: published.value("d.r2") == 55)  # the same register
        await server.shutdown()

    asyncio.run(scenario())


def test_cpppos_poller_reads_and_writes_the_simulator() -> None:
    script = (
        "import sys, time\n"
        "from cpppo.remote import plc_modbus\n"
        "p = plc_modbus.poller_modbus('x', host='127.0.0.1', port=int(sys.argv[1]), rate=.1)\n"
        "p.poll(40001); p.poll(30001); p.poll(1)\n"
        f"end = time.time() + {PATIENCE_S}\n"
        "while None in (p.read(40001), p.read(30001), p.read(1)) and time.time() < end:\n"
        "    time.sleep(.05)\n"
        "p.write(40002, 123)\n"
        "print(p.read(40001), p.read(30001), bool(p.read(1)))\n"
        "p.stop(); p.join()\n"
    )
    with Server("127.0.0.1:0", *CELLS) as server:
        port = server.address.rpartition(":")[2]
        done = subprocess.run(
            [peers.cpppo_python(), "-c", script, port],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.stdout.split() == ["7", "42", "True"], done.stderr
        assert server.get(40_002) == 123


def test_our_poller_reads_cpppos_simulator() -> None:
    command = [peers.cpppo_python(), "-m", "cpppo.bin.modbus_sim", "-a", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "40001-40100=99"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        port = int(line.rstrip().rpartition(":")[2])
        with Poller("theirs", host="127.0.0.1", port=port, rate=0.1, timeout_s=20.0) as plc:
            plc.poll(40001)
            assert plc.wait(PATIENCE_S)
            assert plc.read(40001) == 99
            plc.write(40002, [1, 2])
            while plc.read(40003) != 2:
                assert plc.wait(PATIENCE_S)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
