"""The enip_server command: its options, as cpppo documents them, and its web API, URL for URL."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pycomm3 import LogixDriver

from cpppod import client
from cpppod.commands.enip.server import main, parser, simulators_of
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.model.errors import ProtocolError
from cpppod.simulator import Simulator, TagError
from tests.enip_frames import REGISTER, frame, read, reply_of, routed, rr, write
from tests.patience import PATIENCE_S
from tests.ports import free_port

get = partial(httpx.get, timeout=PATIENCE_S)
post = partial(httpx.post, timeout=PATIENCE_S)


@dataclass
class Running:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    web: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.web}{path}"

    def get(self, path: str) -> dict[str, Any]:
        return dict(get(self.url(path)).json())

    def post(self, path: str) -> dict[str, Any]:
        return dict(post(self.url(path)).json())


@contextmanager
def running(*arguments: str, directory: Path | None = None) -> Iterator[Running]:
    command = [sys.executable, "-m", "cpppod.commands.enip_server", "-A", *arguments]
    if "-a" not in arguments:
        command += ["-a", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory
    )
    try:
        started = Running(process, ("", 0))
        wanted = 2 if any(item.startswith("--web") for item in arguments) else 1
        while wanted:
            line = process.stdout.readline()  # type: ignore[union-attr]
            assert line, process.stderr.read()  # type: ignore[union-attr]
            found = re.search(r"\('(.*)', (\d+)\)", line)
            if line.startswith("Network TCP") and found:
                started.address = (found[1], int(found[2]))
                wanted -= 1
            elif line.startswith("Web") and found:
                started.web = int(found[2])
                wanted -= 1
        yield started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


class Peer:
    """A raw client."""

    def __init__(self, server: Running) -> None:
        self.socket = socket.create_connection(server.address, PATIENCE_S)
        self.session = int.from_bytes(self.ask_frame(REGISTER)[4:8], "little")

    def ask_frame(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        return self.socket.recv(65536)

    def ended(self) -> bool:
        """Whether the server has cut the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def status(self, message: bytes) -> tuple[int, tuple[int, ...]]:
        reply = reply_of(self.ask_frame(rr(message, self.session)))
        return reply.status, reply.extended


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpppod.commands.enip_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("A=FOO",), "unknown type 'FOO'"),
        (("A=INT[x]",), "size 'x' is no number"),
        (("A=INT[3",), "expected NAME"),
        (("A=INT[0]",), "at least 1"),
        (("-d", "x"), "--delay 'x'"),
        (("--route-path", "1/999"), "no port/link"),
        (("--attribute-class", "nowhere:X"), "expected module:Class"),
        (("-a", "127.0.0.9-127.0.0.2"), "range"),
        (("--move", "X=counter"), "no tag 'X'"),
        (("A=INT", "a=INT"), "twice"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        simulators_of(parser().parse_args(["--no-config", *arguments]))
    assert expected in str(caught.value)


def test_types_differ_only_where_the_command_line_or_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_text('[[controller]]\ntags = ["A=DINT"]\nlenient_types = true\n')
    for arguments, lenient in (
        (["A=DINT"], False),
        (["--lenient", "A=DINT"], True),
        (["-c", str(path)], True),
    ):
        (plc,) = simulators_of(parser().parse_args(["--no-config", *arguments]))
        outcome = plc.target.execute(write("A", 0xC3, b"\5\0"), Origin(plc.target.image))
        assert isinstance(outcome, bytes)
        assert (outcome[2] == 0) is lenient
        assert plc["A"] == (5 if lenient else 0)


def test_text_of_a_micro800_is_a_short_string() -> None:
    (plc,) = simulators_of(parser().parse_args(["--no-config", "--plc", "micro800", "T=STRING"]))
    written = plc.target.execute(write("T", 0xDA, b"\5hello"), Origin(plc.target.image))
    assert isinstance(written, bytes)
    assert (written[2], plc["T"]) == (0, "hello")
    outcome = plc.target.execute(read("T"), Origin(plc.target.image))
    assert outcome == bytes.fromhex("cc000000 da00") + b"\5hello"


def test_error_is_one_line_with_what_to_try() -> None:
    done = run("--no-config", "A=FOO")
    assert done.returncode == 2
    assert done.stderr.startswith("enip_server: tag 'A=FOO': unknown type 'FOO'; one of BOOL,")
    assert done.stderr.count("\n") == 1


def test_unknown_option_is_a_usage_error() -> None:
    assert run("--nonsense").returncode == 2


def test_interrupt_ends_it_cleanly() -> None:
    with running("X=INT") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 0


def test_busy_address_is_an_error_without_a_traceback() -> None:
    with running("X=INT") as server:
        done = run("-a", "{}:{}".format(*server.address), "X=INT")
        assert done.returncode == 1
        assert "cannot listen" in done.stderr
        assert "Traceback" not in done.stderr


def test_reads_and_writes_are_printed() -> None:
    with running("--print", "SCADA=INT[1000]") as server:
        peer = Peer(server)
        peer.status(write("SCADA[1]", 0xC3, b"\x63\0"))
        peer.status(read("SCADA", 11))
        lines = [server.process.stdout.readline().rstrip() for _ in range(3)]  # type: ignore[union-attr]
    assert "               SCADA[    1-1    ] <= [99]" in lines
    assert "               SCADA[    0-10   ] == [0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0]" in lines


def test_without_tags_there_is_something_to_try() -> None:
    with running() as server:
        assert Peer(server).status(read("SCADA[999]")) == (0, ())


def test_delay_delays() -> None:
    with running("-d", "0.3", "X=INT") as server:
        begun = time.monotonic()
        peer = Peer(server)
        peer.status(read("X"))
        assert time.monotonic() - begun >= 0.6


@pytest.mark.parametrize(
    ("arguments", "path", "status"),
    [
        ((), "1/0", 0),
        ((), "1/7/2/10.0.0.5", 0),
        (("--route-path", "1/0"), "1/0", 0),
        (("--route-path", "1/0"), "1/1", 1),
        (("--route-path", "1/0"), "", 0),
        (("--route-path", '[{"port": 2, "link": "1.2.3.4"}]'), "2/1.2.3.4", 0),
        (("--route-path", "1/0/2/1.2.3.4"), "1/0", 1),
        (("--route-path", "false"), "1/0", 1),
        (("--route-path", "false"), "", 0),
        (("-S",), "1/0", 1),
        (("-S",), "", 0),
    ],
)
def test_route_path_decides_what_is_served(
    arguments: tuple[str, ...], path: str, status: int
) -> None:
    with running("--no-config", *arguments, "X=INT") as server:
        peer = Peer(server)
        message = routed(read("X"), path) if path else read("X")
        assert peer.status(message)[0] == status
        assert peer.status(read("X")) == (0, ())


def test_identity_and_routes_come_from_cpppo_cfg(tmp_path: Path) -> None:
    with running("--no-config", "BEHIND=DINT") as behind:
        (tmp_path / "cpppo.cfg").write_text(
            "[Identity]\nProduct Name = 1756-L61/C LOGIX5561  # ours\n"
            "[TCPIP]\nHost Name = controller\n"
            "[UCMM]\nRoute Path = 1/0\n"
            'Route = {\n    "1/1-15": "' + "{}:{}".format(*behind.address) + '"\n    }\n'
        )
        with running("HERE=INT", directory=tmp_path) as server:
            peer = Peer(server)
            assert b"1756-L61/C LOGIX5561" in peer.ask_frame(frame(0x63))
            assert peer.status(routed(read("HERE"), "1/0")) == (0, ())
            assert peer.status(routed(read("BEHIND"), "1/3")) == (0, ())
            assert peer.status(routed(read("HERE"), "1/15")) == (5, (0,))
            assert peer.status(routed(read("BEHIND"), "1/16")) == (1, (0x0312,))
            assert peer.status(routed(read("BEHIND"), "1/3/1/0")) == (0, ())


def test_class_3_connection_reaches_the_controller_behind_a_route(tmp_path: Path) -> None:
    with running("--no-config", "BEHIND=DINT[300]") as behind:
        text = '[UCMM]\nRoute = {"1/1": "' + "{}:{}".format(*behind.address) + '"}\n'
        (tmp_path / "cpppo.cfg").write_text(text)
        with (
            running("HERE=INT", directory=tmp_path) as server,
            LogixDriver("{}:{}/1".format(*server.address)) as logix,
        ):
            assert logix.write(("BEHIND{300}", list(range(300)))).error is None
            assert logix.read("BEHIND{300}").value == list(range(300))
            assert logix.read("HERE").error


def test_dead_target_behind_a_route_is_the_connection_manager_s_status(tmp_path: Path) -> None:
    (tmp_path / "cpppo.cfg").write_text('[UCMM]\nRoute = {"1/1": "127.0.0.1:1"}\n')
    with running("HERE=INT", directory=tmp_path) as server:
        peer = Peer(server)
        assert peer.status(routed(read("X"), "1/1")) == (1, (0x0312,))
        assert peer.status(read("HERE")) == (0, ())


def test_range_of_addresses_and_a_toml_file_make_many_controllers(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "plant.toml").write_text(
        '[[structure]]\nname = "Point"\nmembers = [{name = "x", type = "REAL"}, '
        '{name = "on", type = "BOOL"}]\n'
        f'[[controller]]\naddress = "127.0.0.2-127.0.0.4:{port}"\nplc = "compactlogix"\n'
        'tags = ["N=DINT", {name = "P", type = "Point", length = [2, 2]}]\n'
        'moves = ["N=counter"]\n'
    )
    with running("-c", str(tmp_path / "plant.toml"), "-U", directory=tmp_path):
        for host in ("127.0.0.2", "127.0.0.4"):
            with LogixDriver(f"{host}:{port}") as logix:
                assert logix.info["product_name"] == "1769-L33ER/A LOGIX5333ER"
                assert logix.write(("P[1,1].x", 2.5)).error is None
                assert logix.read("P[1,1]").value == {"x": 2.5, "on": False}


WEB = ("--web", ":0", "--web-legacy", "-v", "SCADA=INT[1000]", "TEXT=SSTRING[4]")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running("--no-config", *WEB) as started:
        yield started


def test_api_shows_everything() -> None:
    with running("--no-config", *WEB) as server:
        answer = server.get("/api")
    assert answer["command"] == {}
    assert answer["data"]["options"] == {"delay": {"value": 0.0}}
    assert answer["data"]["tags"]["SCADA"]["error"] == 0
    shown = answer["data"]["tags"]["SCADA"]["attribute"]
    assert shown == "SCADA                           INT[1000] == [0, 0, 0, 0, 0, 0, ...]"
    control = answer["data"]["server"]["control"]
    assert (control["disable"], control["latency"], control["timeout"]) == (False, 0.1, 0.2)
    assert answer["alarm"] == []
    assert answer["since"] is None


@pytest.mark.parametrize(
    ("path", "message", "success"),
    [
        ("/api/options/delay/value/0.001", "options.delay.value='0.001' (0.001)", True),
        ("/api/options/delay/value=0", "options.delay.value='0' (0.0)", True),
        (
            "/api/options/delay/range=0.5-1.5",
            "options.delay.range='0.5-1.5' failed: 'range'",
            False,
        ),
        ("/api/tags/TEXT/attribute[0]=hello", "tags.TEXT.attribute[0]='hello' ('hello')", True),
        ("/api/server/control/latency=0.05", "server.control.latency='0.05' (0.05)", True),
        ("/api/server/control/timeout=1", "server.control.timeout='1' (1.0)", True),
    ],
)
def test_command_is_answered_as_documented(
    server: Running, path: str, message: str, success: bool
) -> None:
    assert server.get(path)["command"] == {"message": message, "success": success}


def test_elements_are_set_and_shown(server: Running) -> None:
    for path, message in (
        ("/api/tags/SCADA/attribute[13]=4", "tags.SCADA.attribute[13]='4' (4)"),
        ("/api/tags/SCADA/attribute[13]", "tags.SCADA.attribute[13]: 4"),
        ("/api/tags/SCADA/attribute[12-15]", "tags.SCADA.attribute[12-15]: [0, 4, 0, 0]"),
    ):
        assert server.get(path)["command"] == {"message": message, "success": True}


@pytest.mark.parametrize(
    "path", ["/api/tags/SCADA/attribute[5000]=1", "/api/options/delay/value=abc"]
)
def test_command_that_cannot_be_says_why(server: Running, path: str) -> None:
    command = server.get(path)["command"]
    assert command["success"] is False
    assert "failed: " in command["message"]


@pytest.mark.parametrize("path", ["/api/tags/NOPE/error", "/api/bogus"])
def test_nothing_matched_is_null(server: Running, path: str) -> None:
    answer = server.get(path)
    assert (answer["command"], answer["data"]) == (None, {})


def test_injected_error_is_seen_by_a_client_and_cleared(server: Running) -> None:
    with LogixDriver("{}:{}".format(*server.address)) as logix:
        server.get("/api/tags/SCADA/error=8")
        assert logix.read("SCADA").error
        server.get("/api/tags/SCADA/error/0")
        assert logix.read("SCADA").error is None


def test_connections_are_listed_and_can_be_ended(server: Running) -> None:
    peer = Peer(server)
    name = f"127_0_0_1_{peer.socket.getsockname()[1]}"
    listed = server.get("/api/connections")["data"]["connections"]
    assert listed[name]["requests"] == 1
    assert listed[name]["received"] == len(REGISTER)
    assert server.get(f"/api/connections/{name}/eof/true")["command"]["success"]
    assert peer.ended()
    assert name not in server.get("/api")["data"].get("connections", {})


def test_disabled_server_is_gone_until_it_is_enabled(server: Running) -> None:
    assert server.get("/api/server/control/disable/true")["command"]["success"]
    with pytest.raises(OSError):
        Peer(server)
    assert server.get("/api/server/control/disable/false")["command"]["success"]
    assert Peer(server).status(read("SCADA")) == (0, ())


def test_answer_is_of_the_kind_that_is_accepted(server: Running) -> None:
    page = get(server.url("/api"), headers={"Accept": "text/html"})
    assert "<pre>" in page.text
    assert page.headers["content-type"].startswith("text/html")
    plain = get(server.url("/api/tags.json"), headers={"Accept": "text/html"})
    assert plain.headers["content-type"].startswith("application/json")
    assert plain.headers["access-control-allow-origin"] == "*"
    refused = get(server.url("/api"), headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert "Traceback" not in refused.text
    assert get(server.url("/")).status_code == 303


def test_page_of_another_site_changes_nothing(server: Running) -> None:
    url = server.url("/api/tags/SCADA/attribute[9]=1")
    assert post(url, headers={"Origin": "http://evil.example"}).status_code == 403
    assert get(url, headers={"Host": "evil.example"}).status_code == 403
    assert post(url).json()["command"]["success"]


def test_get_changes_nothing_unless_told_and_post_always_does() -> None:
    with running("--no-config", "--web", ":0", "-d", "0.0-0.001", "X=INT[4]") as started:
        refused = get(started.url("/api/tags/X/attribute[1]=5"))
        assert refused.status_code == 405
        assert "--web-legacy" in refused.text
        assert started.post("/api/tags/X/attribute[1]=5")["command"]["success"]
        assert started.get("/api/tags/X/attribute[1]")["command"]["message"].endswith(": 5")
        for _ in range(2):  # also after a value was set in between
            assert started.post("/api/options/delay/range=0.0-0.002")["command"] == {
                "message": "options.delay.range='0.0-0.002' ('0.0-0.002')",
                "success": True,
            }
            assert started.post("/api/options/delay/value=0.001")["command"]["success"]
            shown = started.get("/api/options")["data"]["options"]["delay"]
            assert shown == {"value": 0.001, "range": "0.001-0.001"}
        for wrong in ("nan", "1e400", "-1"):  # nothing would be answered any more
            assert not started.post(f"/api/options/delay/value={wrong}")["command"]["success"]
        assert started.post("/api/server/control/done/true")["command"]["success"]
        assert started.process.wait(PATIENCE_S) == 0


# cpppo's lines in its order -> what came of the command; None: nothing matched
README: tuple[tuple[str, Any], ...] = (
    ("wget -qO - http://localhost:12345/api", {}),
    ("curl http://localhost:12345/api", {}),
    ("curl http://localhost:12345/api/options/delay/value/0.5", "options.delay.value='0.5' (0.5)"),
    ("curl http://localhost:12345/api/options/delay/value=0.5", "options.delay.value='0.5' (0.5)"),
    ("curl http://localhost:12345/api/options/delay/value=10.0",
     "options.delay.value='10.0' (10.0)"),
    ("curl http://localhost:12345/api/server/control/disable/true",
     "server.control.disable='true' (True)"),
    ("curl http://localhost:12345/api/server/control/disable/false",
     "server.control.disable='false' (False)"),
    ("curl http://localhost:12345/api/tags/SCADA/error=8", "tags.SCADA.error='8' (8)"),
    ("curl http://localhost:12345/api/tags/SCADA/error/0", "tags.SCADA.error='0' (0)"),
    ("wget -qO - http://localhost:12345/api/tags/SCADA/attribute[3]=4",
     "tags.SCADA.attribute[3]='4' (4)"),
    ("wget -qO - http://localhost:12345/api/tags/SCADA/attribute[3]",
     "tags.SCADA.attribute[3]: 4"),
    ("curl http://localhost:12345/api/connections/*/eof/true", None),
    ("curl http://localhost:12345/api/connections/10_0_111_121_60592/eof/true", None),
    ("curl http://localhost:12345/api/connections", None),
    ("curl http://localhost:12345/api/server/control/done/true",
     "server.control.done='true' (True)"),
)  # fmt: skip


def test_the_readmes_lines_have_their_documented_answers() -> None:
    with running("--no-config", *WEB) as started:
        for line, expected in README:
            answer = started.get(line.partition(":12345")[2])
            said = {"message": expected, "success": True} if isinstance(expected, str) else expected
            assert answer["command"] == said, line
            assert set(answer) == {"alarm", "command", "data", "since", "until"}
            assert (answer["data"] == {}) is (expected is None)
            if line.endswith("/api"):
                assert set(answer["data"]) >= {"options", "server", "tags"}
            if "attribute[3]" in line:
                shown = answer["data"]["tags"]["SCADA"]["attribute"]
                assert shown.endswith("INT[1000] == [0, 0, 0, 4, 0, 0, ...]")
        assert started.process.wait(PATIENCE_S) == 0


def test_the_readmes_range_of_delays_is_changed() -> None:
    with running("--no-config", "--delay=0.1-0.9", *WEB) as started:
        for line in ("range=0.5-1.5", "range=10.0-10.0"):
            value = line.partition("=")[2]
            answer = started.get(f"/api/options/delay/{line}")
            assert answer["command"] == {
                "message": f"options.delay.range='{value}' ('{value}')",
                "success": True,
            }
            assert answer["data"]["options"]["delay"]["range"] == value


DEFINED = {
    "structures": {"Recipe": [{"name": "speed", "type": "REAL"}, {"name": "on", "type": "BOOL"}]},
    "tags": {"Recipes": "Recipe[3]", "SCADA": "INT[10]", "Speed@0x93/1/10": "REAL"},
}


def test_tags_and_structures_of_a_json_file_are_served(tmp_path: Path) -> None:
    path = tmp_path / "tags.json"
    path.write_text(json.dumps(DEFINED), encoding="utf-8-sig")
    (plc,) = simulators_of(parser().parse_args(["--no-config", "-D", str(path)]))
    assert plc.tags == ["Recipes", "SCADA", "Speed"]
    assert plc["Recipes"][2] == {"speed": 0.0, "on": False}
    assert plc.variables["Speed"].address == (0x93, 1, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "no JSON"),
        ("[]", 'expected {"structures"'),
        ('{"foo": 1}', 'expected {"structures"'),
        ('{"controllerTags": [], "templates": []}', 'expected {"structures"'),
        ('{"tags": {}}', 'expected {"structures"'),
        ('{"tags": ["A=INT"]}', 'expected {"structures"'),
        ('{"tags": {"A": 5}}', "type 5: expected a text such as INT[10]"),
        ('{"tags": {"A": "Nope"}}', "unknown type 'Nope'"),
        ('{"structures": {"R": 5}, "tags": {"A": "R"}}', "structure R: expected its members"),
        ('{"structures": {"R": [{"name": "x"}]}, "tags": {"A": "R"}}', "structure R: expected"),
    ],
)
def test_a_json_file_of_another_form_is_refused(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tags.json"
    path.write_text(text)
    assert main(["--no-config", "-D", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"enip_server: {path}: ")
    assert expected in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["New York", "Local:1:I", "Something Floating", "Program:Main.A B"]
)
def test_a_name_with_blanks_or_colons_is_served(name: str) -> None:
    with Simulator([f"{name}@4/5/6=REAL"]) as plc:
        connection = client.connector(*plc.address, timeout=PATIENCE_S)
        assert connection.process([f"{name}=2.5", name]) == (0, [True, [2.5]])
        connection.close()


@pytest.mark.parametrize("name", ["A.B", "A.", "Program:Main", "Program:X:Y", "Local:1:I.Data"])
def test_a_name_that_no_client_could_say_is_refused(name: str) -> None:
    with pytest.raises(TagError, match="no client could name it"):
        Simulator([f"{name}=INT"])


@pytest.mark.parametrize(
    ("verbose", "lines"),
    [
        ("-vv", ["connected peer=", "request peer=", "disconnected peer="]),
        ("-vvvv", ["connected peer=", "request peer=", "reply peer=", "disconnected peer="]),
    ],
)
def test_more_verbose_logs_connections_and_requests_as_dicts(
    verbose: str, lines: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with running("--no-config", verbose, "--log", str(log), "X=INT[4]") as started:
        with client.connector(*started.address, timeout=PATIENCE_S) as connection:
            assert connection.process(["X[1]=5"])[0] == 0
            connection.close()
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(PATIENCE_S) == 0
    text = log.read_text()
    assert all(line in text for line in lines)
    assert "'service': 'WRITE_TAG', 'path': 'X[1]', 'data': 'c30001000500'" in text
    assert ("bytes=" in text) is (verbose == "-vvvv")
