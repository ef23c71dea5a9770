"""What others see of the running gateway: Prometheus, tshark, whoever asks the control socket."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pycomm3 import LogixDriver

from tests.gateway.running import ROOT, RunningGateway, eventually
from tests.patience import PATIENCE_S
from tests.peers import missing, program
from tests.ports import free_port

STATE_S = 0.05  # the daemon's time for an answer that only reads state, on a quiet machine
TIMEOUT_S = 1.0  # of the demo's devices: the least that an answer would take that waits for one


def page_of(gateway: RunningGateway) -> bytes:
    host, port = gateway.address(9880)
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE_S) as answer:
        page: bytes = answer.read()
        return page


def test_promtool_finds_nothing_to_complain_of(gateway: RunningGateway) -> None:
    promtool = program("promtool", package="prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page_of(gateway),
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert (done.stdout + done.stderr).decode() == ""


def test_every_metric_that_is_served_is_documented(gateway: RunningGateway) -> None:
    served = re.findall(r"^# TYPE (\S+) ", page_of(gateway).decode(), re.MULTILINE)
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert len(served) > 50
    assert [name for name in served if f"`{name}`" not in text] == []


def test_prometheus_scrapes_it_and_knows_every_device(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    prometheus, port = program("prometheus"), free_port()
    target = f"127.0.0.1:{gateway.ports[9880]}"
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "cpppod", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                prometheus,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )

    def query(expression: str) -> list[dict[str, Any]]:
        words, api = (
            urllib.parse.urlencode({"query": expression}),
            f"http://127.0.0.1:{port}/api/v1",
        )
        try:
            with urllib.request.urlopen(f"{api}/query?{words}", timeout=PATIENCE_S) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except OSError:
            return []

    try:
        up = eventually(lambda: query('up{job="cpppod"} == 1'), within_s=PATIENCE_S)
        assert up[0]["metric"]["instance"] == target
        every = set(gateway.devices())
        eventually(
            lambda: {row["metric"]["device"] for row in query("cpppod_device_up == 1")} == every
        )
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)


def ask_for_state(gateway: RunningGateway, at_most_s: float) -> None:
    """Ask for all that is state while a device is silent; the fastest answers are in time."""
    simulator = gateway.simulators["mixer"].process
    simulator.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: gateway.devices()["mixer"]["state"] != "online")
        for verb, arguments in (
            ("status", {}),
            ("devices", {}),
            ("device", {"name": "mixer"}),
            ("tags", {}),
            ("read", {"tags": ["mixer.turns"]}),
            ("routes", {}),
        ):
            took = [seconds_of(gateway, verb, **arguments) for _ in range(20)]
            assert min(took) < at_most_s, verb  # the others wait for the processor
    finally:
        simulator.send_signal(signal.SIGCONT)
    gateway.wait_until_well()


def seconds_of(gateway: RunningGateway, verb: str, **arguments: Any) -> float:
    """How long an answer takes."""
    began = time.perf_counter()
    gateway.ask(verb, **arguments)
    return time.perf_counter() - began


def test_what_only_reads_state_does_not_wait_for_a_device(gateway: RunningGateway) -> None:
    ask_for_state(gateway, TIMEOUT_S)


@pytest.mark.campaign
def test_what_only_reads_state_is_answered_at_once(gateway: RunningGateway) -> None:
    ask_for_state(gateway, STATE_S)


def test_history_of_a_tag_is_told(gateway: RunningGateway) -> None:
    def rows() -> list[Any]:
        now_us = time.time_ns() // 1000
        span = {"since_us": now_us - 60_000_000, "until_us": now_us}
        stored = gateway.stored("boiler.cycles", **span)
        return [row for row in stored if row[1] is not None]  # it may have been kept waiting

    eventually(lambda: len(rows()) >= 3)
    numbers = [row[1] for row in rows()]
    assert numbers == sorted(numbers)  # a counter


def test_pause_stops_the_polls_of_one_device_and_resume_begins_them_again(
    gateway: RunningGateway,
) -> None:
    gateway.ask("pause", device="mixer")
    try:
        eventually(lambda: gateway.devices()["mixer"]["state"] == "disabled")
        reading = eventually(lambda: reading_of(gateway, "mixer.turns", good=False))
        assert reading["reason"] == "device paused"
        assert gateway.devices()["boiler"]["state"] == "online"
    finally:
        gateway.ask("resume", device="mixer")
    eventually(lambda: reading_of(gateway, "mixer.turns", good=True))
    gateway.wait_until_well()


def reading_of(gateway: RunningGateway, tag: str, *, good: bool) -> dict[str, Any]:
    """The reading of a tag, once it is as good as that."""
    reading: dict[str, Any] = gateway.ask("read", tags=[tag])["values"][0]
    return reading if reading["good"] == good else {}


FRAMES = 2_600  # on the wire; fewer than half of them are bare acknowledgements


def capture(gateway: RunningGateway, file: Path) -> "subprocess.Popen[bytes]":
    """tshark, writing the gateway's next `FRAMES` frames to `file`."""
    port = gateway.ports[44818]
    return subprocess.Popen(
        [program("tshark"), "-i", "lo", "-w", str(file), "-c", str(FRAMES), "-f", f"port {port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_tshark_dissects_a_thousand_frames_without_a_malformed_one(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    file, port = tmp_path / "frames.pcapng", gateway.ports[44818]
    recording = capture(gateway, file)
    assert recording.stderr is not None
    for line in recording.stderr:
        if b"Capturing on" in line:
            break
    else:
        missing("the right to capture", "run as root, or setcap cap_net_raw of dumpcap")
    eventually(file.exists)
    with LogixDriver(f"127.0.0.1:{port}") as plc:
        for number in range(10 * FRAMES):
            plc.read("boiler", "shift", "setpoints{10}")
            if number % 60 == 0:
                plc.write(("shift", number))
            if recording.poll() is not None:
                break
    assert recording.wait(PATIENCE_S) == 0
    shown = [shutil.which("tshark") or "tshark", "-r", str(file), "-d", f"tcp.port=={port},enip"]
    count = subprocess.run(
        [*shown, "-Y", "enip || cip", "-T", "fields", "-e", "frame.number"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert len(count.stdout.split()) >= 1_000
    malformed = subprocess.run(
        [*shown, "-Y", "_ws.malformed"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert malformed.stdout == ""


@pytest.mark.parametrize("tag", ["boiler.cycles", "meter_1.reading", "press.total"])
def test_values_of_all_kinds_of_devices_move(gateway: RunningGateway, tag: str) -> None:
    first = gateway.value(tag)
    eventually(lambda: gateway.value(tag) != first)


def test_history_of_a_value_that_does_not_change_tells_what_it_was_before(
    gateway: RunningGateway,
) -> None:
    step = gateway.value("press.recipe")[2] + 1
    gateway.ask("write", writes=[["press.recipe[2]", step]])
    changed = eventually(  # by whatever test ran before this one, and by this one last
        lambda: [row for row in gateway.stored("press.recipe") if row[1] and row[1][2] == step]
    )
    eventually(lambda: time.time_ns() // 1000 > changed[-1][0] + 1_000_000)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "cpppod.commands.cpppoctl", "--socket", str(gateway.runtime)),
            *("history", "press.recipe", "--since", "1s"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "good" in ran.stdout
    assert "no change since" in ran.stderr
