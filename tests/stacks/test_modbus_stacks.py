"""Other people's Modbus clients with our simulator, and our driver with their servers."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cpppod.modbus import Server
from cpppod.protocols.model.plant import Device, Group, Line, Tag
from tests.paced_pty import PacedLine
from tests.ports import free_port
from tests.stacks.foreign import ask, command, served
from tests.workers.devices.plant import Published, device, polled, registers, write

CELLS = ("1-32=1,0", "10001-10032=0,1", "30001-30125=42", "40001-40125=7")
TCP, LINE, RTU_OVER_TCP = "127.0.0.1:0", "pty:", "rtu-over-tcp://127.0.0.1:0"
CLIENTS = [
    # (program, how our simulator is reached, its arguments there)
    ("pymodbustcp_client.py", TCP, "{host} {port}"),
    ("modbus_tk_client.py", TCP, "{host} {port}"),
    ("modbus_tk_client.py", LINE, "{line}"),
    ("minimalmodbus_client.py", LINE, "{line}"),
    ("async_modbus_client.py", TCP, "tcp://{host}:{port}"),
    ("async_modbus_client.py", LINE, "serial://{line}"),
    ("async_modbus_client.py", RTU_OVER_TCP, "serial-tcp://{host}:{port}"),
    ("jsmodbus_client.js", TCP, "{host} {port}"),
    ("jsmodbus_client.js", LINE, "{line}"),
    ("modbus_serial_client.js", TCP, "tcp {host} {port}"),
    ("modbus_serial_client.js", LINE, "rtu {line}"),
    ("modbus_serial_client.js", RTU_OVER_TCP, "telnet {host} {port}"),
]
MOST = 120  # registers of one write: of more, jsmodbus says a wrong length
ALL: list[tuple[list[Any], Any]] = [
    # (operation, its result), one after the other
    (["coils", 0, 10], [1, 0] * 5),
    (["discrete", 0, 9], [0, 1, 0, 1, 0, 1, 0, 1, 0]),
    (["holding", 0, 125], [7] * 125),
    (["input", 0, 3], [42] * 3),
    (["register=", 2, 65535], None),
    (["holding", 1, 3], [7, 65535, 7]),
    (["registers=", 1, list(range(MOST))], None),
    (["registers=", 4, [1, 2, 3]], None),
    (["holding", 0, 9], [7, 0, 1, 2, 1, 2, 3, 6, 7]),
    (["coil=", 1, 1], None),
    (["coil=", 0, 0], None),
    (["coils=", 8, [0, 1, 1, 1, 0, 1, 1, 0, 1, 1]], None),
    (["coils", 0, 20], [0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0]),
]
BOTH: list[tuple[list[Any], Any]] = [(["both", 0, 4, 0, [10, 11]], [10, 11, 1, 2])]
MASK: list[tuple[list[Any], Any]] = [
    (["mask=", 3, 0xFFF0, 0x0005], None),
    (["holding", 3, 1], [5]),
]
SOME: dict[tuple[str, str], list[tuple[list[Any], Any]]] = {
    # what some have besides; on lines, modbus-serial waits for ever for replies of FC 22 and 23
    ("pymodbustcp_client.py", TCP): [*BOTH, (["identity"], "cpppod")],
    ("modbus_tk_client.py", TCP): [*BOTH, *MASK],
    ("modbus_tk_client.py", LINE): [*BOTH, *MASK],
    ("modbus_serial_client.js", TCP): [*BOTH, *MASK, (["identity"], "cpppod")],
    ("minimalmodbus_client.py", LINE): [
        (["float=", 20, 1.5, 0], None),
        (["holding", 20, 2], [0x3FC0, 0]),
        (["float", 20, 0], 1.5),
        (["long=", 22, -2, 3], None),
        (["holding", 22, 2], [0xFFFE, 0xFFFF]),
        (["long", 22, 3], -2),
        (["text=", 30, "Pump 1", 4], None),
        (["text", 30, 4], "Pump 1  "),
    ],
}
# On a line these wait their time-out for an exception, which is shorter than the reply they want.
NO_EXCEPTIONS = {("modbus_tk_client.py", LINE), ("minimalmodbus_client.py", LINE)}
REFUSED: list[list[Any]] = [["holding", 500, 1], ["register=", 500, 1]]


@pytest.mark.parametrize(("program", "reached", "arguments"), CLIENTS)
def test_their_client_reads_and_writes_all_that_it_can(
    program: str, reached: str, arguments: str, tmp_path: Path
) -> None:
    line = str(tmp_path / "line")
    wanted = ALL + SOME.get((program, reached), [])
    refused = [] if (program, reached) in NO_EXCEPTIONS else REFUSED
    with Server(reached + line if reached == LINE else reached, *CELLS) as server:
        host, _, port = server.address.removeprefix("rtu-over-tcp://").rpartition(":")
        where = arguments.format(host=host, port=port, line=line).split()
        results = ask(program, where, [operation for operation, _ in wanted] + refused)
    for (operation, expected), result in zip(wanted, results, strict=False):
        assert result == expected, operation
    for result in results[len(wanted) :]:
        assert "error" in result
        assert result["code"] in (2, None), result  # some have it in words alone


SERVERS = [
    "pymodbustcp_server.py",
    "modbus_tk_server.py",
    "jsmodbus_server.js",
    "modbus_serial_server.js",
]
TAGS = (
    *registers(0, 20),
    Tag("w", "40003", writable=True),
    Tag("pair", "40031", type="DINT", writable=True),
    Tag("one_bit", "40041", type="INT", writable=True),
    Tag("i", "30005"),
    Tag("c", "3", type="BOOL", writable=True),
    Tag("d", "10002", type="BOOL"),
)


def holds(published: Published, name: str, value: Any) -> bool:
    return bool(published.value(f"d.{name}") == value)


@pytest.mark.parametrize("program", SERVERS)
def test_our_driver_polls_and_writes_their_server(program: str) -> None:
    port = str(free_port())

    async def scenario(where: str) -> None:
        async with polled(device("d", where, TAGS)) as (wire, published):
            for name, value in (("r19", 7), ("i", 42), ("c", True), ("d", True)):
                await published.until(partial(holds, published, name, value))
            for name, value in (("w", 55), ("pair", -70_000), ("c", False), ("one_bit", -2)):
                assert (await write(wire, "d", [name, 0, [value]])).failure is None, name
                await published.until(partial(holds, published, name, value))
            await published.until(lambda: published.value("d.r2") == 55)  # the same register

    with served(program, port):
        asyncio.run(scenario(f"127.0.0.1:{port}"))


def test_our_driver_polls_and_writes_the_slave_of_modbus_tk_on_a_line(tmp_path: Path) -> None:
    tags = (*registers(0, 20), Tag("w", "40003", writable=True), Tag("c", "3", type="BOOL"))
    line = Line("line", port=str(tmp_path / "gateway"), baudrate=19_200, parity="N")
    unit = Device(
        "d", "modbus-rtu", "line", unit=1, timeout_s=10.0, groups=(Group("g", 0.1, tags),)
    )

    async def scenario() -> None:
        wires = PacedLine(tmp_path)
        slave = await asyncio.create_subprocess_exec(
            *command("modbus_tk_server.py", str(tmp_path / "units")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert slave.stdout is not None
            assert await slave.stdout.readline() == b"ready\n"
            async with polled(unit, line=line) as (wire, published):
                await published.until(partial(holds, published, "r19", 7))
                await published.until(partial(holds, published, "c", True))
                assert (await write(wire, "d", ["w", 0, [55]])).failure is None
                await published.until(partial(holds, published, "r2", 55))
        finally:
            slave.kill()
            await slave.wait()
            wires.close()

    asyncio.run(scenario())
