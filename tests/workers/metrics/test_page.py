"""The Prometheus page: what is on it, and that Prometheus' own tools accept it."""

import asyncio
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cpppod.protocols.bus.messages import Beat
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.metrics import page as metrics_page
from cpppod.workers.metrics import server as metrics_server
from cpppod.workers.metrics.families import FAMILIES
from cpppod.workers.values import Reading, TagInfo
from tests.patience import PATIENCE_S


@dataclass
class Known:
    version: str = "0.1"
    libzmq: str = "4.3.5"
    generation: int = 3
    reloaded_at: float = 1.7e9
    reloads: dict[str, int] = field(default_factory=lambda: {"done": 2})
    socket_counts: dict[str, int] = field(default_factory=lambda: {"accepted": 4})
    drivers: dict[str, str] = field(default_factory=lambda: {"boiler": "modbus-tcp"})
    readings: list[Reading] = field(default_factory=list)

    def damaged(self) -> list[str]:
        return ["/state/symbols/listener-main.json.damaged-20261130T120000Z"]

    def exposed(self) -> list[Reading]:
        return self.readings


HISTOGRAM = [
    ["cpppod_request_duration_seconds_bucket", {"device": "boiler", "le": bound}, count]
    for bound, count in [("0.5", 3), ("+Inf", 4), ("0.025", 1)]
] + [
    ["cpppod_request_duration_seconds_sum", {"device": "boiler"}, 1.25],
    ["cpppod_request_duration_seconds_count", {"device": "boiler"}, 4],
]


def table_with(metrics: list[Any], state: str = "online") -> WorkerTable:
    table = WorkerTable()
    table.expect({"poller-1": "poller", "feed": "feed"}, 0.0)
    for name, reported in (("poller-1", metrics), ("feed", [["cpppod_queue_depth", {}, 5]])):
        devices = {"boiler": {"state": state}} if name == "poller-1" else {}
        beat = Beat(name, 70, 3, 0, "running", devices=devices, metrics=reported)
        table.receive_beat(name, beat, 1.0)
    return table


def samples_of(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def promtool(page: bytes) -> str:
    path = shutil.which("promtool")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is not installed (Debian's package prometheus)")
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(
        [path, "check", "metrics"], input=page, capture_output=True, timeout=PATIENCE_S
    )
    return (done.stdout + done.stderr).decode()


def test_device_is_up_or_down_with_its_driver_and_state() -> None:
    up = samples_of(metrics_page.page(table_with([]), Known(), 1.5))
    labels = (("device", "boiler"), ("driver", "modbus-tcp"))
    assert up["cpppod_device_up", labels] == 1
    assert up["cpppod_device_state", (("device", "boiler"), ("state", "online"))] == 1
    down = samples_of(metrics_page.page(table_with([], "demoted"), Known(), 1.5))
    assert down["cpppod_device_up", labels] == 0
    assert down["cpppod_device_state", (("device", "boiler"), ("state", "online"))] == 0


def test_dead_worker_takes_its_devices_down_with_it() -> None:
    table = table_with([])
    table.process_exited("poller-1", 70, 2.0)
    samples = samples_of(metrics_page.page(table, Known(), 2.5))
    worker = (("role", "poller"), ("worker", "poller-1"))
    assert samples["cpppod_worker_up", worker] == 0
    assert samples["cpppod_device_up", (("device", "boiler"), ("driver", "modbus-tcp"))] == 0
    restarts = (("reason", "exit"), *worker)
    assert samples["cpppod_worker_restarts_total", restarts] == 1


def test_same_metric_of_two_workers_is_told_apart_by_worker() -> None:
    page = metrics_page.page(table_with([["cpppod_queue_depth", {}, 7]]), Known(), 1.5)
    samples = samples_of(page)
    assert samples["cpppod_queue_depth", (("worker", "feed"),)] == 5
    assert samples["cpppod_queue_depth", (("worker", "poller-1"),)] == 7


def test_histogram_of_a_worker_has_ordered_buckets_and_one_type() -> None:
    page = metrics_page.page(table_with(HISTOGRAM), Known(), 1.5).decode()
    lines = [line for line in page.splitlines() if "cpppod_request_duration_seconds" in line]
    assert lines == [
        "# HELP cpppod_request_duration_seconds From sending a request to the end of its reply",
        "# TYPE cpppod_request_duration_seconds histogram",
        'cpppod_request_duration_seconds_bucket{device="boiler",le="0.025"} 1.0',
        'cpppod_request_duration_seconds_bucket{device="boiler",le="0.5"} 3.0',
        'cpppod_request_duration_seconds_bucket{device="boiler",le="+Inf"} 4.0',
        'cpppod_request_duration_seconds_sum{device="boiler"} 1.25',
        'cpppod_request_duration_seconds_count{device="boiler"} 4.0',
    ]


@pytest.mark.parametrize(
    "item",
    [
        "cpppod_x",
        [],
        ["cpppod_x", {}],
        ["other_x", {}, 1],
        ['cpppod_x{a="1"} 2\ncpppod_y', {}, 1],
        ["cpppod_x", {"a-b": "c"}, 1],
        ["cpppod_x", {1: "c"}, 1],
        ["cpppod_x", {}, "1"],
    ],
)
def test_what_is_no_metric_is_left_out(item: Any) -> None:
    page = metrics_page.page(table_with([item]), Known(), 1.5)
    assert b"cpppod_x" not in page
    assert b"other_x" not in page


def test_label_cannot_break_out_of_its_quotes() -> None:
    evil = 'x"} 1\ncpppod_device_up{device="boiler'
    samples = samples_of(
        metrics_page.page(table_with([["cpppod_tags", {"device": evil}, 1]]), Known(), 1.5)
    )
    assert samples["cpppod_tags", (("device", evil),)] == 1


def test_worker_with_too_many_series_is_cut_and_the_cut_is_counted() -> None:
    many = [
        ["cpppod_tags", {"device": f"d{number}"}, 1]
        for number in range(metrics_page.MAX_SERIES + 1)
    ]
    samples = samples_of(metrics_page.page(table_with(many), Known(), 1.5))
    assert samples["cpppod_metrics_series_dropped", ()] == 1
    assert sum(name == "cpppod_tags" for name, _ in samples) == metrics_page.MAX_SERIES


def test_promtool_finds_nothing_to_complain_of_with_every_known_metric_on_the_page() -> None:
    reported: list[Any] = [
        [name, {"device": "boiler"}, 1]
        for name, family in FAMILIES.items()
        if family.kind != "histogram"
    ]
    assert promtool(metrics_page.page(table_with(reported + HISTOGRAM), Known(), 1.5)) == ""


async def exchange(request: bytes) -> bytes:
    server = metrics_server.MetricsServer(lambda: b"cpppod_x 1\n")
    await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0", b"200 OK"),
        (b"GET / HTTP/1.1", b"200 OK"),
        (b"GET /../etc/passwd HTTP/1.1", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
    ],
)
def test_server_answers_only_what_it_has(request_line: bytes, status: bytes) -> None:
    answer = asyncio.run(exchange(request_line + b"\r\nHost: x\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")


def test_head_without_end_is_cut_off_at_the_limit() -> None:
    assert asyncio.run(exchange(b"GET /metrics HTTP/1.1\r\n" + b"x" * 9_000 + b"\r\n\r\n")) == b""


def test_scrape_is_answered_beside_three_hundred_that_send_no_head() -> None:
    async def conversation() -> tuple[bytes, list[bytes]]:
        server = metrics_server.MetricsServer(lambda: b"cpppod_x 1\n")
        await server.start("127.0.0.1", 0)
        half_open = [await asyncio.open_connection(*server.address) for _ in range(300)]
        try:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            ends = [await asyncio.wait_for(one.read(), PATIENCE_S) for one, _ in half_open]
            return answer, ends
        finally:
            for _, writer in half_open:
                writer.close()
            server.stop()

    answer, ends = asyncio.run(conversation())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert ends == [b""] * 300, "all are closed, after their two seconds at the latest"


def test_page_of_documentation_lists_every_metric() -> None:
    text = (pathlib.Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    missing = [
        name
        for name, family in FAMILIES.items()
        if f"| `{name}` | {family.kind} | {family.help} |" not in text
    ]
    assert missing == []


def test_every_metric_that_a_worker_names_has_its_type_and_help_here() -> None:
    workers = pathlib.Path(__file__).parents[3] / "workers"
    named = {
        re.sub("_(bucket|sum|count)$", "", name)
        for path in workers.rglob("*.py")
        if path.name != "families.py"
        for name in re.findall(r'"(cpppod_[a-z0-9_]+)"', path.read_text())
    }
    assert sorted(named - FAMILIES.keys()) == []


def reading(tag: str, value: Any, *, quality: int = 0, unit: str = "") -> Reading:
    info = TagInfo(f"boiler.{tag}", b"", tag, "boiler", "fast", "REAL", 1, unit, False, "", 3.0)
    return Reading(info, value, quality, 1, 0.5)


def test_values_of_groups_that_ask_for_it_are_there_with_quality_and_age() -> None:
    known = Known(
        readings=[
            reading("level", 4.5, unit="m"),
            reading("run", True),
            reading("zones", [1, None, 3]),
            reading("name", "A"),
            reading("gone", None, quality=18),
        ]
    )
    found = samples_of(metrics_page.page(table_with([]), known, 2.0))

    def of(name: str, tag: str, **more: str) -> float | None:
        labels = {"device": "boiler", "group": "fast", "tag": tag, **more}
        return found.get((name, tuple(sorted(labels.items()))))

    assert of("cpppod_tag_value", "level", unit="m") == 4.5
    assert of("cpppod_tag_value", "run") == 1
    zones = [of("cpppod_tag_value", "zones", index=str(at)) for at in range(3)]
    assert zones == [1, None, 3]
    assert [of("cpppod_tag_value", tag) for tag in ("name", "gone")] == [None, None]
    assert [of("cpppod_tag_quality", tag) for tag in ("level", "gone")] == [0, 18]
    assert of("cpppod_tag_age_seconds", "level") == 0.5
