"""What clients that are not ours read and write through the whole gateway."""

import re
import struct
import subprocess
from typing import Any

import pytest
from pycomm3 import LogixDriver
from pylogix import PLC

from tests.gateway.running import RunningGateway, eventually
from tests.patience import PATIENCE_S
from tests.peers import cpppo_python, program
from tests.stacks.foreign import ask

LOCAL, MODBUS, RTU = "setpoints", "boiler.limit", "meter_2.setpoint"


def set_known_values(gateway: RunningGateway) -> None:
    """Values that do not move by themselves, in the simulators behind the gateway's back."""
    registers = ",".join(map(str, struct.unpack(">2H", struct.pack(">f", 7.25))))
    assert gateway.simulators["boiler"].tell(f"set 40020-40021={registers}")["ok"]
    assert gateway.simulators["hall"].tell("set 2:40010=321")["ok"]
    gateway.ask("write", writes=[["setpoints[3]", 33.5]])
    eventually(lambda: gateway.value(MODBUS) == 7.25 and gateway.value(RTU) == 321)


def test_pycomm3_reads_local_modbus_and_rtu_backed_tags(gateway: RunningGateway) -> None:
    set_known_values(gateway)
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}") as plc:
        assert plc.read("setpoints[3]").value == 33.5
        assert plc.read(MODBUS).value == 7.25
        assert plc.read(RTU).value == 321
        boiler = plc.read("boiler").value
        assert boiler["limit"] == 7.25
        assert set(plc.tags) >= {"shift", "setpoints", "boiler", "meter_2", "press"}


def test_pylogix_reads_local_modbus_and_rtu_backed_tags(gateway: RunningGateway) -> None:
    set_known_values(gateway)
    host, port = gateway.address(44818)
    with PLC(host, port=port) as plc:
        answers = plc.Read(["setpoints[3]", MODBUS, RTU])
    assert [(each.Status, each.Value) for each in answers] == [
        ("Success", 33.5),
        ("Success", 7.25),
        ("Success", 321),
    ]


STACKS = [
    # (program, its arguments, reads of setpoints[3], MODBUS and RTU)
    ("ciplink_client.py", "{host}:{port}", [["reads", ["setpoints[3]", MODBUS, RTU]]]),
    (
        "cm_client.py",
        "{host} {port} - connected",
        [["read", "setpoints[3]", "REAL"], ["read", MODBUS, "REAL"], ["read", RTU, "INT"]],
    ),
    ("instro_client.py", "{host}:{port}", [["reads", ["setpoints[3]", MODBUS, RTU]]]),
    ("st_client.js", "{host} {port} connected", [["reads", ["setpoints[3]", MODBUS, RTU]]]),
]


@pytest.mark.parametrize(("stack", "arguments", "reads"), STACKS)
def test_other_stacks_read_local_modbus_and_rtu_backed_tags(
    gateway: RunningGateway, stack: str, arguments: str, reads: list[list[Any]]
) -> None:
    set_known_values(gateway)
    host, port = gateway.address(44818)
    results = ask(stack, arguments.format(host=host, port=port).split(), reads)
    values = results[0] if len(reads) == 1 else results
    assert values == [33.5, 7.25, 321]


def test_cpppo_s_client_reads_local_modbus_and_rtu_backed_tags(gateway: RunningGateway) -> None:
    set_known_values(gateway)
    host, port = gateway.address(44818)
    command = [cpppo_python(), "-m", "cpppo.server.enip.client", "-a", f"{host}:{port}", "--print"]
    done = subprocess.run(
        [*command, "setpoints[3]", MODBUS, RTU],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    values = [float(text) for text in re.findall(r"==\s*\[([-\d.]+)\]: 'OK'", done.stdout)]
    assert values == [33.5, 7.25, 321.0], done.stdout + done.stderr


def test_mbpoll_and_the_gateway_agree_on_the_registers(gateway: RunningGateway) -> None:
    set_known_values(gateway)
    _, port = gateway.address(15020)
    mbpoll = [program("mbpoll"), "-m", "tcp", "-o", "10", "-p", str(port), "-a", "1", "-1", "-q"]
    done = subprocess.run(
        [*mbpoll, "-t", "4:float", "-B", "-r", "20", "-c", "1", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert re.findall(r"\[20\]:\s+([\d.]+)", done.stdout) == ["7.25"], done.stdout
    before = gateway.value("boiler.cycles")
    done = subprocess.run(
        [*mbpoll, "-t", "4", "-r", "1", "-c", "1", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    counted = int(re.findall(r"\[1\]:\s+(\d+)", done.stdout)[0])
    assert counted >= before  # it counts on while mbpoll starts
    eventually(lambda: gateway.value("boiler.cycles") >= counted)


def test_write_by_pycomm3_reaches_the_rtu_device(gateway: RunningGateway) -> None:
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}") as plc:
        for number in (417, 418):
            assert plc.write((RTU, number)).error is None
            assert plc.read(RTU).value == number
    assert gateway.simulators["hall"].tell("get 2:40010")["result"] == [418]


def test_write_that_is_not_allowed_is_refused_and_nothing_is_written(
    gateway: RunningGateway,
) -> None:
    host, port = gateway.address(44818)
    before = gateway.simulators["hall"].tell("get 3:40010")["result"]
    with LogixDriver(f"{host}:{port}") as plc:
        assert plc.write(("meter_3.setpoint", 1001)).error  # its maximum is 1000
        assert plc.write(("meter_3.reading", 1)).error  # not writable
    assert gateway.simulators["hall"].tell("get 3:40010")["result"] == before


def test_read_after_a_write_is_never_old(gateway: RunningGateway) -> None:
    write_and_read(gateway, 150)


@pytest.mark.campaign
def test_ten_thousand_reads_after_writes_are_never_old(gateway: RunningGateway) -> None:
    write_and_read(gateway, 10_000)


def write_and_read(gateway: RunningGateway, count: int) -> None:
    """Write through one client and read through another, which no cache of a client connects."""
    host, port = gateway.address(44818)
    old = []
    with LogixDriver(f"{host}:{port}") as writer, LogixDriver(f"{host}:{port}") as reader:
        for number in range(count):
            wanted = number % 301
            assert writer.write(("mixer.speed_set", wanted)).error is None
            found = reader.read("mixer.speed_set").value
            if found != wanted:
                old.append((number, wanted, found))
    assert old == []


def test_control_socket_shows_what_a_client_wrote_and_the_other_way(
    gateway: RunningGateway,
) -> None:
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}") as plc:
        assert plc.write(("shift", 7)).error is None
        eventually(lambda: gateway.value("shift") == 7)
        done = gateway.ask("write", writes=[["shift", 8], ["mixer.speed_set", 55]])
        assert [each["ok"] for each in done["writes"]] == [True, True]
        assert plc.read("shift").value == 8
        assert plc.read("mixer.speed_set").value == 55
        assert gateway.value("mixer.speed_set") == 55
