"""Questions to stores from Python, and recordings moved between stores and history files."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpppod.history import logger, timestamp
from cpppod.history.query import QuestionError, StoreError, history
from cpppod.history.recording import RecordingError, moments
from cpppod.history.transfer import export_history, import_history
from cpppod.workers.historian.stores.questions import answer
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore
from cpppod.workers.historian.stores.store import Batch, Gap, Reading

T0 = 1_700_000_000
US = 1_000_000


def store(folder: Path, *samples: tuple[float, dict[str, tuple[Any, int]]], **more: Any) -> str:
    """A store with a reading of boiler per time; its URL."""
    written = SqliteStore(folder, SqliteLimits(free_bytes=1))
    written.open()
    readings = [
        Reading(
            "p", 1, n, "boiler", "fast", round((T0 + at) * US), round((T0 + at) * US), 0, 9,
            list(values), [v for v, _ in values.values()], [q for _, q in values.values()],
        )
        for n, (at, values) in enumerate(samples, 1)
    ]  # fmt: skip
    written.commit(Batch(readings, **more))
    written.close()
    return str(folder)


@pytest.fixture
def url(tmp_path: Path) -> str:
    gap = Gap("p", 1, "", "", 0, 0, -1, -1, "restart", (T0 + 20) * US, (T0 + 25) * US)
    return store(
        tmp_path / "store",
        (0, {"a": (1.0, 0), "b": ("on", 0)}),
        (10, {"a": (3.0, 0)}),
        (30, {"a": (None, 18)}),
        gaps=[gap],
    )


def test_ranges_steps_buckets_and_gaps_from_python(url: str) -> None:
    with history(url) as past:
        assert past.tags() == ["boiler.a", "boiler.b"]
        assert [(s.time.value - T0, s.value, s.good) for s in past.range("boiler.a")] == [
            (0, 1.0, True),
            (10, 3.0, True),
            (30, None, False),
        ]
        last = past.last("boiler.a")
        assert last is not None and last.reason == "device did not answer in time"
        before = past.last("boiler.b", timestamp(T0 + 5))
        assert before is not None and before.value == "on"
        values = [s.value for s in past.step("boiler.a", T0, T0 + 30, 10)]
        assert values == [1.0, 3.0, None, None]
        means = [bucket.mean for bucket in past.buckets("boiler.a", T0, T0 + 40, "20s")]
        assert means == [2.0, None]
        assert [gap.reason for gap in past.gaps(T0 + 21, T0 + 22)] == ["restart"]


def test_times_are_text_too(url: str) -> None:
    with history(url) as past:
        found = list(past.range("boiler.a", "2023-11-14 22:13:25", "2023-11-14T22:13:35Z"))
    assert [sample.value for sample in found] == [3.0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda past: list(past.range("boiler")),
        lambda past: past.last(".a"),
        lambda past: list(past.step("boiler.a", 0, 10, 0)),
        lambda past: list(past.buckets("boiler.a", 0, T0, "1ms")),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(url: str, ask: Any) -> None:
    with history(url) as past, pytest.raises(QuestionError):
        ask(past)


def test_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        history(str(tmp_path / "none"))


def test_an_answer_for_the_bus_comes_in_pages(tmp_path: Path) -> None:
    url = store(tmp_path / "store", *((n, {"a": (n, 0)}) for n in range(500)))
    reader = SqliteReader(Path(url))
    rows: list[Any] = []
    question: dict[str, Any] = {"tag": "boiler.a", "since_us": 0}
    pages = 0
    while question["since_us"] is not None:
        page = answer(reader, question, size=3_000)
        assert len(repr(page)) < 3_500
        rows += page["rows"]
        question["since_us"] = page["next_us"]
        pages += 1
    assert [row[1] for row in rows] == list(range(500))
    assert pages > 3
    limited = answer(reader, {"tag": "boiler.a", "limit": 7}, size=3_000)
    assert len(limited["rows"]) == 7 and limited["next_us"] == (T0 + 7) * US


def test_answers_for_the_bus_by_aggregate(url: str) -> None:
    reader = SqliteReader(Path(url))
    base = {"tag": "boiler.a", "since_us": T0 * US, "until_us": (T0 + 40) * US}
    assert answer(reader, {}, size=1_000) == {"tags": ["boiler.a", "boiler.b"], "next": None}
    assert answer(reader, {}, size=15) == {"tags": ["boiler.a"], "next": "boiler.a"}
    assert answer(reader, {"after": "boiler.a"}, size=15) == {"tags": ["boiler.b"], "next": None}
    assert answer(reader, {**base, "aggregate": "last"}, size=1_000)["rows"][0][1] is None
    stepped = answer(reader, {**base, "step_us": 20 * US}, size=1_000)
    assert [row[1] for row in stepped["rows"]] == [1.0, None, None]
    means = answer(reader, {**base, "step_us": 20 * US, "aggregate": "mean"}, size=1_000)
    assert means["columns"] == ["time_us", "minimum", "mean", "maximum", "samples", "good_us"]
    assert [row[2] for row in means["rows"]] == [2.0, None]
    nothing = {**base, "since_us": 1, "until_us": 2}
    assert answer(reader, nothing, size=1_000)["rows"] == []
    for wrong in ({"tag": "boiler.none"}, {"aggregate": "median"}, {"since_us": "now"}):
        with pytest.raises(QuestionError):
            answer(reader, {**base, **wrong}, size=1_000)


def test_a_store_exported_and_imported_is_the_same(url: str, tmp_path: Path) -> None:
    path = str(tmp_path / "out.hst")
    assert export_history(url, path) == 3
    copy = str(tmp_path / "copy")
    assert import_history(path, copy) == 3
    assert import_history(path, copy) == 0
    with history(url) as one, history(copy) as other:
        for tag in one.tags():
            assert list(other.range(tag)) == list(one.range(tag))


def test_an_exported_file_is_plain_history(url: str, tmp_path: Path) -> None:
    export_history(url, str(tmp_path / "out.hst"), ["*.a"], T0 * US, (T0 + 30) * US, precision=3)
    assert (tmp_path / "out.hst").read_text().splitlines() == [
        '2023-11-14 22:13:20.000\tnull\t{"boiler.a": 1.0}',
        '2023-11-14 22:13:30.000\tnull\t{"boiler.a": 3.0}',
        '2023-11-14 22:13:50.000\t{"boiler.a": 18}\t{"boiler.a": null}',
    ]


def test_what_json_cannot_say_is_exported_as_nothing(tmp_path: Path) -> None:
    url = store(tmp_path / "store", (0, {"a": (math.nan, 0), "b": (b"\x01", 0), "c": ([1.5], 0)}))
    export_history(url, str(tmp_path / "out.hst"), compress="gz")
    ((_, samples),) = moments(str(tmp_path / "out.hst"))
    assert samples == {"boiler.a": (None, 16), "boiler.b": ("01", 0), "boiler.c": ([1.5], 0)}


def test_registers_need_a_device_to_be_imported(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst") as file:
        file.write({"40001": 5}, now=T0)
    left_out: dict[str, str] = {}
    import_history(str(tmp_path / "plant.hst"), str(tmp_path / "store"), left_out=left_out)
    assert left_out == {"40001": "of no device: name one, --device"}
    import_history(str(tmp_path / "plant.hst"), str(tmp_path / "store"), device="pump")
    with history(str(tmp_path / "store")) as past:
        assert [sample.value for sample in past.range("pump.40001")] == [5]


def test_a_recording_from_its_middle_begins_with_what_was_known(url: str, tmp_path: Path) -> None:
    export_history(url, str(tmp_path / "out.hst"))
    for source in (url, str(tmp_path / "out.hst")):
        first, second = moments(source, (), (T0 + 15) * US)
        assert first == ((T0 + 15) * US, {"boiler.a": (3.0, 0), "boiler.b": ("on", 0)})
        assert second.samples == {"boiler.a": (None, 18)}


def test_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="neither"):
        list(moments(str(tmp_path / "none.hst")))
    with pytest.raises(RecordingError):
        list(moments("postgresql://127.0.0.1:1/none"))


def test_accesses_recorded_by_enip_historize_are_tags(tmp_path: Path) -> None:
    with logger(tmp_path / "plc.hst") as file:
        file.write({"write": [0, 1]}, now=T0, serial=["SCADA", [2, 3]])
        file.write({"read": [0, 1]}, now=T0 + 1, serial=["SCADA", [2, 3]])
    found = [moment.samples for moment in moments(str(tmp_path / "plc.hst"))]
    assert found == [{"SCADA[2-3]": ([0, 1], 0)}] * 2


def test_a_store_whose_package_is_not_installed_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None  # as where it is not installed\n"
        "from cpppod.history.query import StoreError, history\n"
        "try: history('postgresql://127.0.0.1:1/plant')\n"
        "except StoreError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "postgresql needs psycopg installed: pip install 'cpppod[postgresql]'\n"
