"""`enip_client` and its siblings in process: browsing, discovery, data files, what fails."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cpppod.commands.enip import client as enip_client
from cpppod.commands.enip import get_attribute as enip_get_attribute
from cpppod.commands.enip import list_services as enip_list_services
from cpppod.commands.enip import poll as enip_poll
from cpppod.commands.enip import thruput as enip_thruput
from cpppod.commands.enip.options import UsageError, address
from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S

PUMP = [{"name": "speed", "type": "REAL"}, {"name": "run", "type": "BOOL"}]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def plc() -> Iterator[str]:
    with Simulator(["SCADA=INT[10]", "P=Pump", "F=REAL"], Settings(structures={"Pump": PUMP})) as s:
        yield f"{s.address[0]}:{s.address[1]}"


def test_the_tree_of_tags_is_printed(plc: str, capsys: Capture) -> None:
    assert enip_client.main(["-a", plc, "--browse"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "SCADA  INT[10]",
        "P      Pump",
        "    .speed  REAL",
        "    .run  BOOL",
        "F      REAL",
    ]
    assert enip_client.main(["-a", plc, "--browse", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["tag"], first["type"]) == ("SCADA", "INT[10]")


def test_a_table_of_devices_is_printed(plc: str, capsys: Capture) -> None:
    assert enip_client.main(["-a", plc, "--discover", "-t", "0.3"]) == 0
    out = capsys.readouterr().out
    assert "1756-L61/B LOGIX5561" in out
    assert enip_client.main(["-a", plc, "--discover", "-t", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["port"] == int(plc.split(":")[1])


def test_nobody_there_is_a_failure(capsys: Capture) -> None:
    assert enip_client.main(["-a", "127.0.0.1:1", "F"]) == 1
    assert enip_client.main(["-a", "127.0.0.1:1", "--discover", "-t", "0.1"]) == 1
    err = capsys.readouterr().err
    assert "enip_client: 127.0.0.1:1: connection refused; try" in err
    assert "Traceback" not in err


def test_data_files_are_read_and_written(capsys: Capture) -> None:
    with Simulator([], Settings(plc="slc500")) as slc:
        arguments = ["-a", f"127.0.0.1:{slc.address[1]}", "-S", "--pccc", "slc", "--json"]
        assert enip_client.main([*arguments, "N7:0=7", "N7:0", "F8:1"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["operation"] for row in rows] == ["N7:0", "N7:0", "F8:1"]
        assert rows[1]["value"] == [7]
        assert enip_client.main([*arguments[:-1], "--print", "N7:0=8", "N7:0"]) == 0
        wrote, read = capsys.readouterr().out.splitlines()
        assert "N7:0              <= " in wrote
        assert "N7:0              == [8]: 'OK'" in read
        assert enip_client.main([*arguments, "N7:9999x"]) == 2
    assert "^" in capsys.readouterr().err


def test_operations_come_from_standard_input(
    plc: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("# two lines\nSCADA[0]=3\n\nSCADA[0]\n"))
    assert enip_client.main(["-a", plc, "-p", "-r", "2", "-"]) == 0
    assert capsys.readouterr().out.count("[3]: 'OK'") == 4


def test_a_failure_goes_to_stderr_and_exits_1(plc: str, capsys: Capture) -> None:
    for command in (enip_client, enip_thruput):
        assert command.main(["-a", plc, "Nowhere"]) == 1
        assert "Nowhere: path destination unknown (0x05, 0x0000)" in capsys.readouterr().err
    assert enip_get_attribute.main(["-a", plc, "@1/1/99"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("@0x0001/1/99 == None\n")
    assert "attribute not supported" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["A[1"],
        ["--route-path", "x/y", "F"],
        ["--send-path", "@", "F"],
        ["--legacy", "x"],
        ["-a", ":x", "F"],
        [],
    ],
)
def test_wrong_usage_exits_2_without_asking_anybody(arguments: list[str], capsys: Capture) -> None:
    assert enip_client.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("enip_client: ")
    assert "Traceback" not in err


def test_every_command_has_help_and_a_version(capsys: Capture) -> None:
    for command in (enip_client, enip_get_attribute, enip_list_services, enip_thruput):
        for option in ("--help", "--version"):
            with pytest.raises(SystemExit) as ended:
                command.main([option])
            assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit status:" in out


def test_lists_are_printed_whole_and_as_json(plc: str, capsys: Capture) -> None:
    assert enip_list_services.main(["-a", plc, "-i", "-I", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["enip.command"] for row in rows] == [0x04, 0x63, 0x64]


def test_a_profile_goes_to_stderr(plc: str, capsys: Capture) -> None:
    assert enip_client.main(["-a", plc, "-P", "-p", "F"]) == 0
    captured = capsys.readouterr()
    assert "cumulative" in captured.err
    assert captured.out.endswith("== [0.0]: 'OK'\n")


def test_addresses_may_leave_host_or_port_out() -> None:
    assert address("") == ("localhost", 44818)
    assert address("plc") == ("plc", 44818)
    assert address(":4000") == ("localhost", 4000)
    assert address("plc:4000") == ("plc", 4000)
    assert address("[::1]") == ("::1", 44818)
    with pytest.raises(UsageError):
        address("plc:70000")


def test_many_repeats_on_a_terminal_show_their_progress(plc: str) -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cpppod.commands.enip_client", "-a", plc),
            *("-d", "20", "-m", "-r", "3000", "F"),
        ],
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        timeout=PATIENCE_S,
    )
    os.close(slave)
    shown = os.read(master, 65_536)
    os.close(master)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"requests" in shown


def test_more_verbose_logs_requests_as_dicts_then_frames_then_bytes(
    plc: str, capsys: Capture
) -> None:
    request = "request={'path': [{'symbolic': 'F'}]} status=success (0x00) value=[0.0]"
    for verbose, has in (("-v", []), ("-vv", [request]), ("-vvv", [request, "sent frame={"])):
        assert enip_client.main(["-a", plc, verbose, "F"]) == 0
        err = capsys.readouterr().err
        assert [text for text in (request, "sent frame={", "sent bytes=") if text in err] == has
    assert enip_client.main(["-a", plc, "-vvvv", "F"]) == 0
    err = capsys.readouterr().err
    assert "received bytes=6f00" in err
    assert "'service': 'READ_TAG', 'path': 'F'" in err


def test_attributes_travel_in_packets_where_that_is_asked(plc: str, capsys: Capture) -> None:
    for options, shown in (([], "Single G_A_S"), (["-m"], "Multi. G_A_S")):
        assert enip_get_attribute.main(["-a", plc, *options, "@1/1/1", "@1/1/7"]) == 0
        assert capsys.readouterr().out.count(shown) == 2


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ([], "   Output Power: None  path destination unknown (0x05, 0x0000)\n"),
        (["--csv"], "Output Power,\n"),
        (
            ["--json"],
            '{"parameter": "Output Power", "value": null, '
            '"text": "path destination unknown (0x05, 0x0000)"}\n',
        ),
    ],
)
def test_a_poll_tells_why_there_is_no_value(
    plc: str, form: list[str], expected: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        """Somebody who presses Ctrl-C when the first line is there."""

        def flush(self) -> None:
            raise KeyboardInterrupt

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert enip_poll.main(["-a", plc, *form, "Output Power"]) == 0
    assert terminal.getvalue() == expected
    err = capsys.readouterr().err
    assert ("Output Power: path destination unknown (0x05, 0x0000)" in err) is (form == ["--csv"])
