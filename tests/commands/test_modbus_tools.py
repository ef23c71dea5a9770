"""`modbus_poll`, `modbus_scan` and `cpppod.modbus`."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cpppod.modbus import (
    Client,
    ModbusException,
    ParameterException,
    PlcOffline,
    Poller,
    Server,
    merge,
    shatter,
)
from cpppod.protocols.modbus import pdu
from cpppod.protocols.model.errors import EncodeError
from tests.patience import PATIENCE_S
from tests.ports import free_port


def command(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"cpppod.commands.{name}", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def poller(server: Server) -> Poller:
    host, _, port = server.address.rpartition(":")
    return Poller("plc", host=host, port=int(port), rate=0.05, timeout_s=20.0)


def test_the_readmes_poll_lines_write_and_then_say_what_changes(
    request: pytest.FixtureRequest,
) -> None:
    with Server("127.0.0.1:0", "40001-40100=99") as server:
        address = server.address.replace("127.0.0.1", "")
        process = subprocess.Popen(
            [sys.executable, "-m", "cpppod.commands.modbus_poll", "-a", address,
             "-R", "0.1", "-t", "20", "40001-40010=0", "40001-40100"],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert process.stderr is not None
        request.addfinalizer(process.kill)
        lines = [process.stderr.readline() for _ in range(100)]
        pattern = (
            r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} MainThread root     WARNING  main       "
            r"(\d{5}) == {1,5}(\d+) \(was: None\)\n"
        )
        found = [re.fullmatch(pattern, line) for line in lines]
        assert all(found)
        values = {int(each[1]): int(each[2]) for each in found if each}
        assert values == {n: 0 if n <= 40_010 else 99 for n in range(40_001, 40_101)}
        done = command("modbus_poll", "-a", address, "-t", "20", "--once", "40009=999")
        assert done.returncode == 0
        assert process.stderr.readline().endswith("40009 ==   999 (was: 0)\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def test_a_change_is_a_line_of_json_where_that_is_asked_for() -> None:
    with Server("127.0.0.1:0", "1-4=1,0") as server:
        done = command("modbus_poll", "-a", server.address, "-t", "20", "-1", "--json", "1-2")
    changes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["address"], each["value"]) for each in changes] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-1", "40999=1"], 1, "illegal data address"),
        (["-1", "30001=1"], 1, "cannot be written"),
        (["-1", "4x"], 2, "expected"),
        ([], 2, "required: registers; try modbus_poll --help"),
    ],
)
def test_a_poll_that_cannot_be_says_why(arguments: list[str], code: int, words: str) -> None:
    with Server("127.0.0.1:0", "40001=1") as server:
        done = command("modbus_poll", "-a", server.address, "-t", "20", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_at_an_ipv6_address_is_polled() -> None:
    with Server("[::1]:0", "40001=77") as server:
        assert server.address.startswith("[::1]:")
        done = command("modbus_poll", "-a", server.address, "--once", "40001")
    assert done.returncode == 0, done.stderr
    assert "77" in done.stderr


def test_a_single_poll_that_nobody_answers_ends_and_says_so() -> None:
    with Server("127.0.0.1:0", "1:40001=1") as server:
        done = command("modbus_poll", "-a", server.address, "-u", "9", "--once", "40001")
    assert done.returncode == 1
    assert "the gateway says no such unit (0x0B)" in done.stderr


def test_a_poll_tells_a_refused_register_connection_and_an_unknown_host_apart() -> None:
    with Server("127.0.0.1:0", "40001-40002=5") as server:
        partly = command(
            "modbus_poll", "-a", server.address, "-t", "20", "-1", "30001", "40001-40004"
        )
        nowhere = server.address
    assert partly.returncode == 1
    assert "40001 ==     5 (was: None)" in partly.stderr
    assert f"{nowhere}: 30001, 40003-40004: exception 2: illegal data address" in partly.stderr
    refused = command("modbus_poll", "-a", nowhere, "-1", "40001")
    unknown = command("modbus_poll", "-a", "no-such-host.invalid:502", "-1", "40001")
    assert (refused.returncode, unknown.returncode) == (1, 1)
    assert refused.stderr.startswith(f"modbus_poll: {nowhere}: connection refused; try ")
    assert unknown.stderr.startswith("modbus_poll: no-such-host.invalid:502: no such host; try ")


def test_polling_on_says_why_a_register_has_no_value_and_that_the_device_went() -> None:
    server = Server("127.0.0.1:0", "40001=5")
    process = subprocess.Popen(
        [sys.executable, "-m", "cpppod.commands.modbus_poll", "-a", server.address,
         "-R", "0.1", "-t", "20", "40001-40002"],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        first = {process.stderr.readline().split("main       ")[1] for _ in range(2)}
        assert first == {
            "40001 ==     5 (was: None)\n",
            "40002: exception 2: illegal data address\n",
        }
        server.stop()
        assert server.address in process.stderr.readline()
        assert process.stderr.readline().endswith("40001 ==  None (was: 5)\n")
    finally:
        process.kill()
        process.communicate()
        server.stop()


@pytest.mark.parametrize(
    ("arguments", "written", "shown"),
    [
        (["--type", "REAL", "40001=1.5"], [0x3FC0, 0], "40001 ==   1.5"),
        (["--type", "REAL", "--word-order", "little", "40001=1.5"], [0, 0x3FC0], "40001 ==   1.5"),
        (["--type", "INT", "40001=-2,7"], [0xFFFE, 7], "40001 ==    -2"),
        (["--type", "DINT", "40001-40004=-70000"], [0xFFFE, 0xEE90] * 2, "40003 == -70000"),
        (["--type", "INT", "--byte-order", "little", "40001=1"], [0x100], "40001 ==     1"),
    ],
)
def test_values_are_written_and_shown_as_the_type_that_is_named(
    arguments: list[str], written: list[int], shown: str
) -> None:
    with Server("127.0.0.1:0", "40001-40010=0") as server:
        done = command("modbus_poll", "-a", server.address, "-t", "20", "-1", *arguments)
        assert [server.get(40001 + at) for at in range(len(written))] == written
    assert done.returncode == 0, done.stderr
    assert shown in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-u", "0", "40001=1"],
        ["--broadcast", "40001"],
        ["--type", "FANCY", "40001"],
        ["--type", "REAL", "1-8"],
        ["--type", "REAL", "40001-40001"],
        ["--type", "REAL", "40001-40003"],
        ["--type", "REAL", "40001=1e400"],
        ["--type", "DINT", "40001-40005=1"],
        ["--type", "INT", "40001=1.5"],
    ],
)
def test_what_would_be_something_else_is_refused_before_a_byte_leaves(arguments: list[str]) -> None:
    done = command("modbus_poll", "-a", "127.0.0.1:1", "-1", *arguments)
    assert done.returncode == 2
    assert "refused" not in done.stderr  # nothing was connected to


def test_a_write_is_for_unit_1_unless_told_and_for_all_only_by_broadcast() -> None:
    with Server("127.0.0.1:0", "1:40001=0", "2:40001=0") as server:
        done = command("modbus_poll", "-a", server.address, "-t", "20", "-1", "40001=7")
        assert done.returncode == 0, done.stderr
        assert [server.get(40001, unit=unit) for unit in (1, 2)] == [7, 0]
    with Server("rtu-over-tcp://127.0.0.1:0", "1:40001=0", "2:40001=0") as server:
        address = f"rtu-over-tcp://{server.address.removeprefix('rtu-over-tcp://')}"
        done = command("modbus_poll", "-a", address, "--broadcast", "40001=9")
        assert done.returncode == 0, done.stderr
        assert [server.get(40001, unit=unit) for unit in (1, 2)] == [9, 9]


def test_a_program_polls_and_writes_floats_and_signed_values() -> None:
    with Server("127.0.0.1:0", "40001-40010=0") as server, poller(server) as plc:
        plc.poll(40001, type="REAL", word_order="little")
        plc.poll(40005, type="INT")
        plc.write(40001, 2.5)
        plc.write(40005, -3)
        while (plc.read(40001), plc.read(40005)) != (2.5, -3):
            plc.wait(PATIENCE_S)
        assert [server.get(40001), server.get(40002)] == [0, 0x4020]
        with pytest.raises(ParameterException, match="no whole number"):
            plc.write(40007, 1.5)
        plc.poll(40100)
        while not plc.reason(40100):
            plc.wait(PATIENCE_S)
        assert plc.reason(40100) == "exception 2: illegal data address"
        assert plc.reason(40001) == ""


def test_a_value_is_none_until_it_is_polled_and_while_offline() -> None:
    cells = ("40001-40010=5", "1-8=1")
    with Server("127.0.0.1:0", *cells) as server, poller(server) as plc:
        assert plc.read(40001) is None
        while plc.read(40001) is None:
            plc.wait(PATIENCE_S)
        assert plc.read(40001) == 5
        assert plc.online
        assert (plc.description, plc.rate, plc.counter > 0) == ("plc", 0.05, True)
        plc.poll(1, rate=10)
        assert plc.rate == 0.05
        plc.poll(1, rate=0.04)
        assert plc.rate == 0.04
        assert plc.polling == {(1, 1), (40_001, 1)}
        plc.write(40002, [7, 8])
        plc.write(40001, 6)
        plc.write(1, False)
        assert (server.get(40001), server.get(40003), server.get(1)) == (6, 8, 0)
        while plc.read(40001) != 6 or plc.read(1) is not False:
            plc.wait(PATIENCE_S)
        assert all(0 <= load <= 1 for load in plc.load)
        server.stop()
        while plc.online:
            plc.wait(PATIENCE_S)
        assert plc.read(40001) is None
        with pytest.raises(PlcOffline):
            plc.write(40001, 1)


def test_writes_that_cannot_be_are_refused_as_what_they_are() -> None:
    with Server("127.0.0.1:0", "40001-40002=5") as server, poller(server) as plc:
        for address, value in ((30_001, 1), (10_001, 1), (40_001, 70_000), (40_001, "x")):
            with pytest.raises(ParameterException):
                plc.write(address, value)
        with pytest.raises(ParameterException, match="no values"):
            plc.write(40_001, [])
        with pytest.raises(ModbusException) as refused:
            plc.write(40_500, 1)
        assert refused.value.code == 2
        with pytest.raises(EncodeError):
            plc.poll(20_000)


def test_a_bad_address_fails_alone_and_is_forgotten_on_request() -> None:
    with Server("127.0.0.1:0", "40001-40010=5") as server, poller(server) as plc:
        for address in (40_001, 40_005, 40_500):
            plc.poll(address)
        while not plc.failing:
            plc.wait(PATIENCE_S)
        assert plc.failing == {(40_500, 1)}
        assert plc.read(40_005) == 5
        plc.forget(40_500)
        assert (40_500, 1) not in plc.polling


def test_merging_loses_no_register_and_joins_as_documented() -> None:
    polled = [(each, 1) for each in (1, 2, 10_001, 30_001, 40_001, 40_005, 40_050, 400_201)]
    assert merge(polled, reach=10) == [
        (1, 2), (10_001, 1), (30_001, 1), (40_001, 5), (40_050, 1), (400_201, 1),
    ]  # fmt: skip
    assert merge([(40_001, 10), (40_002, 2)]) == [(40_001, 10)]
    assert merge([(39_999, 1), (40_001, 1)], reach=10) == [(39_999, 1), (40_001, 1)]
    assert shatter(40_001, 250) == [(40_001, 123), (40_124, 123), (40_247, 4)]
    assert shatter(1, 2000) == [(1, 1968), (1969, 32)]


def test_pollers_share_a_line_and_no_thread_or_socket_is_left(tmp_path: Path) -> None:
    link = str(tmp_path / "line")
    threads = set(threading.enumerate())
    with Server(f"pty:{link}", "1:40001-40010=1", "2:40001-40010=2"):
        client = Client(link, timeout_s=20.0)
        pollers = [Poller(f"u{unit}", client, unit=unit, rate=0.05) for unit in (1, 2)]
        for each in pollers:
            each.poll(40001)
        for unit, each in zip((1, 2), pollers, strict=True):
            while each.read(40001) is None:
                each.wait(PATIENCE_S)
            assert each.read(40001) == unit
            each.write(40002, unit + 10)
            each.stop()
        assert pdu.unpack_registers(client.transact(2, pdu.read(3, 1, 1))) == [12]
        client.close()
    assert set(threading.enumerate()) <= threads
    assert not Path(link).exists()


def test_a_broadcast_reaches_every_unit_and_nobody_answers(tmp_path: Path) -> None:
    link = str(tmp_path / "line")
    with Server(f"pty:{link}", "1:40001=1", "2:40001=2") as server:
        client = Client(link)
        assert client.transact(0, pdu.write_register(0, 9)) == b""
        assert pdu.unpack_registers(client.transact(2, pdu.read(3, 0, 1))) == [9]
        assert (server.get(40001, unit=1), server.get(40001, unit=2)) == (9, 9)
        client.close()


def test_a_stopped_server_gives_its_port_back_at_once() -> None:
    with Server(f"127.0.0.1:{free_port()}", "40001=1") as server:
        address = server.address
        with poller(server) as plc:
            plc.poll(40001)
            plc.wait(PATIENCE_S)
            server.stop()
    with Server(address, "40001=1"):
        pass
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_scan_finds_the_units_of_a_line_and_of_an_address(tmp_path: Path) -> None:
    link = str(tmp_path / "line")
    with Server(f"pty:{link}", "3:40001=1", "17:40009=1"):
        done = command("modbus_scan", link, "-u", "3-5,17", "-t", "2", "-b", "19200", "-p", "E",
                       "--json", "--identify")  # fmt: skip
        found = json.loads(done.stdout)
    assert [(each["unit"], each["settings"]) for each in found] == [
        (3, "19200 8E1"),
        (17, "19200 8E1"),
    ]
    assert found[0]["identity"].startswith("cpppod modbus_sim")
    with Server("127.0.0.1:0", "5:40001=1") as server:
        done = command("modbus_scan", server.address, "-u", "4-6", "-t", "2")
    assert done.returncode == 0
    assert re.search(r"^ +5  TCP +[\d.]+  register 0 read$", done.stdout, re.MULTILINE)


def test_a_scan_ends_within_its_limit_and_says_that_nobody_is_there(tmp_path: Path) -> None:
    link = str(tmp_path / "line")
    with Server(f"pty:{link}", "200:40001=1"):
        done = command("modbus_scan", link, "-u", "1-100", "-t", "2", "--limit", "1")
    assert done.returncode == 1
    assert "nobody answers" in done.stderr
    assert command("modbus_scan", "/dev/nowhere", "-u", "1").returncode == 1
    assert command("modbus_scan", link, "-u", "300").returncode == 2
