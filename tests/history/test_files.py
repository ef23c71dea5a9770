"""History files: written, rotated, compressed, read and played; with cpppo's, both ways."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cpppod.history import (
    DataError,
    HistoryExhausted,
    IframeError,
    loader,
    logger,
    opener,
    reader,
    timestamp,
)
from cpppod.history.files import Record, history_files, lines, parse_record
from cpppod.history.loader import _register
from cpppod.history.recording import moments
from tests import peers
from tests.patience import PATIENCE_S

T0 = 1_400_000_000.0
COMPRESSORS: dict[str, Any] = {"gz": gzip, "bz2": bz2, "xz": lzma}


def record(path: Path, *records: tuple[float, Any], serial: Any = None) -> Path:
    with logger(path) as history:
        for at, data in records:
            history.write(data, now=T0 + at, serial=serial)
    return path


def played(path: Path, **options: Any) -> list[tuple[float, dict[str, Any]]]:
    """All events as (seconds after T0, values), played at once."""
    options = {"historical": T0, "factor": 1e9, **options}
    history = loader(path, **options)
    found: list[tuple[float, dict[str, Any]]] = []
    for _ in range(1_000):
        if not history:
            return found
        for event in history.load()[1]:
            found.append((round(event["timestamp"] - timestamp(T0), 3), event["values"]))
    raise AssertionError("playback does not end")


def test_records_are_lines_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on" / "the" / "way" / "plant.hst"
    with logger(path) as history:
        history.comment("hello\nthere")
        history.write({"40001": 1, "40002": 2}, now=1795351992.799, serial=0)
        history.write("a note", now=timestamp(1795351997.799))
        history.write({"40003": 3.5}, now=1795351998.7994, serial=[1, 2])
        assert history and history.opened
    assert path.read_text() == (
        "# hello\n# there\n"
        '2026-11-22 12:53:12.799\t0\t{"40001": 1, "40002": 2}\n'
        '2026-11-22 12:53:17.799\tnull\t"a note"\n'
        '2026-11-22 12:53:18.799\t[1, 2]\t{"40003": 3.5}\n'
    )
    assert not history


def test_files_are_ascii_whatever_is_written(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst") as history:
        history.comment("Temp\u00e9rature")
        history.write({"t\u00e9": "\u00b0C\n"}, now=T0)
    (_, line) = (tmp_path / "plant.hst").read_bytes().splitlines(keepends=True)
    assert line.isascii()
    parsed = parse_record(line)
    assert parsed is not None and parsed.values == {"t\u00e9": "\u00b0C\n"}


def test_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst") as history, pytest.raises(DataError):
        history.write({"a": b"bytes"})
    assert (tmp_path / "plant.hst").read_bytes() == b""


def test_line_buffering_shows_a_record_at_once(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst", bufsize=logger.LINE_BUF) as history:
        history.write({"a": 1}, now=T0)
        assert (tmp_path / "plant.hst").read_bytes().endswith(b'{"a": 1}\n')


def test_microseconds_are_written_when_asked_for(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst", precision=6) as history:
        history.write({"a": 1}, now=T0 + 0.123456)
    (line,) = (tmp_path / "plant.hst").read_bytes().splitlines(keepends=True)
    parsed = parse_record(line)
    assert parsed is not None and parsed.time.value == pytest.approx(T0 + 0.123456, abs=1e-6)


def test_a_place_that_cannot_be_written_is_absorbed_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with logger(tmp_path / "file" / "plant.hst") as history:
        assert not history
        assert [history.write({"a": n}) for n in range(3)] == [False] * 3
        assert history.failed == 3
        (tmp_path / "file").unlink()
        history._retry_at = 0.0
        assert history.write({"a": 3}, now=T0)
        assert history
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    assert played(tmp_path / "file" / "plant.hst") == [(0.0, {"a": 3})]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_absorbed(tmp_path: Path) -> None:
    with logger("/dev/full", bufsize=logger.LINE_BUF) as history:
        assert not history.write({"a": 1})
        assert not history
        assert history.failed == 1


@pytest.mark.parametrize("compress", ["", "gz", "bz2", "xz"])
def test_rotation_by_size_keeps_everything_in_order(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "plant.hst"
    with logger(path, rotate_bytes=200, compress=compress) as history:
        for n in range(40):
            history.write({"a": n}, now=T0 + n)
    files = history_files(path)
    assert files[0] == path and len(files) > 5
    assert all(not compress or file.suffix == f".{compress}" for file in files[1:])
    assert [values["a"] for _, values in played(path)] == list(range(40))


def test_rotation_keeps_as_many_files_as_asked_for(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst", rotate_bytes=100, keep=3, compress="gz") as history:
        for n in range(40):
            history.write({"a": n}, now=T0 + n)
    assert len(history_files(tmp_path / "plant.hst")) == 4


def test_a_new_file_can_begin_with_all_that_is_known(tmp_path: Path) -> None:
    with logger(tmp_path / "plant.hst", keyframes=True) as history:
        history.write({"a": 1, "b": 1}, now=T0)
        history.write({"b": 2}, now=T0 + 1)
        history.rotate(timestamp(T0 + 2))
        history.write({"b": 3}, now=T0 + 3)
    found = played(tmp_path / "plant.hst", historical=T0 + 2.5)
    assert found == [(2.0, {"a": 1, "b": 2}), (3.0, {"b": 3})]


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_files_are_opened_like_others(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"plant.hst.1.{kind}"
    with opener(path, "wb") as file:
        file.write(b"hi\n")
    assert COMPRESSORS[kind].open(path).read() == b"hi\n"
    with opener(path) as file:
        assert list(lines(file)) == [b"hi\n"]


def test_files_are_in_natural_order_and_count_once(tmp_path: Path) -> None:
    for name in ("", ".0", ".2.gz", ".2", ".10.xz", ".9.bz2", ".old", ".3.gz.part", ".x"):
        (tmp_path / f"plant.hst{name}").touch()
    found = [path.name[9:] for path in history_files(tmp_path / "plant.hst")]
    assert found == ["", ".0", ".2", ".9.bz2", ".10.xz"]


@pytest.mark.parametrize(
    "line",
    [
        b"2014-05-13 16:53:20.000\tnull\n",
        b"2014-05-13 16:53:20.000 null {}\n",
        b"yesterday\tnull\t{}\n",
        b"2014-05-13 16:53:20.000\t{\t{}\n",
        b'2014-05-13 16:53:20.000\tnull\t{"a": 1}',
        b"\xff\xfe\n",
    ],
)
def test_a_line_that_is_no_record_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(DataError):
        parse_record(line)


def test_comments_and_blank_lines_are_nothing() -> None:
    assert [parse_record(line) for line in (b"# x\n", b"\n", b"   # y", b"")] == [None] * 4
    assert isinstance(parse_record(b"  2014-05-13 16:53:20.000\t0\t{}\n"), Record)


def test_historical_time_passes_at_the_factor() -> None:
    past = reader("plant.hst", historical=T0, basis=2_000.0, factor=10)
    assert past.advance(2_001.0).value == T0 + 10
    assert past.realtime(timestamp(T0 + 20)) == 2_002.0
    with pytest.raises(ValueError, match="factor"):
        reader("plant.hst", historical=T0, factor=0)


def test_a_reader_begins_with_the_file_that_its_time_is_in(tmp_path: Path) -> None:
    path = tmp_path / "plant.hst"
    for number, name in enumerate((".1", ".0", "")):
        record(tmp_path / f"plant.hst{name}", (number * 10, {"a": number}))
    past = reader(path, historical=T0 + 15, factor=1e9)
    ((name, line, _), (when, text)) = next(past.open(T0 + 15, after=False))
    assert (name, line, text) == (".0", 0, '{"a": 1}')
    assert when == timestamp(T0 + 10)
    ((name, _, _), _) = next(past.open(target=when, strict=True))
    assert name == ""
    with pytest.raises(HistoryExhausted):
        next(past.open(target=T0 + 20, strict=True))


def test_a_reader_tells_what_is_not_due_yet(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", (0, {"a": 0}), (100, {"a": 1}))
    past = reader(path, historical=T0)
    found = past.open(after=False)
    assert next(found)[1][1] == '{"a": 0}'
    assert next(found)[1] == (timestamp(T0 + 100), None)
    ahead = past.open(after=False, lookahead=101)
    assert [next(ahead)[1][1] for _ in range(2)] == ['{"a": 0}', '{"a": 1}']


def test_playback_goes_through_compressed_files_in_order(tmp_path: Path) -> None:
    path = tmp_path / "plant.hst"
    for number, (name, kind) in enumerate(((".2", "gz"), (".1", "bz2"), (".0", "xz"), ("", ""))):
        file = record(
            tmp_path / f"plant.hst{name}", *((number * 10 + n, {"a": n}) for n in range(3))
        )
        if kind:
            with opener(f"{file}.{kind}", "wb") as packed:
                packed.write(file.read_bytes())
            file.unlink()
    assert [at for at, _ in played(path)] == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]


def test_playback_takes_as_long_as_its_factor_says(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", *((n, {"a": n}) for n in range(4)))
    begun = time.monotonic()
    history = loader(path, historical=T0, factor=20)
    while history:
        history.load()
        time.sleep(0.005)
    assert time.monotonic() - begun > 0.14


def test_playback_begins_with_what_was_known_before(tmp_path: Path) -> None:
    path = record(
        tmp_path / "plant.hst", (0, {"a": 0, "b": 0}), (1, {"b": 1}), (2, {"b": 2}), (3, {"a": 3})
    )
    assert played(path, historical=T0 + 2) == [
        (1.0, {"a": 0, "b": 1}),
        (2.0, {"b": 2}),
        (3.0, {"a": 3}),
    ]


def test_playback_ends_after_its_duration(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", *((n, {"a": n}) for n in range(10)))
    assert len(played(path, duration=3)) == 4


def test_values_hold_what_was_last_and_when(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", (0, {"40001": 1, "speed": 2.5}), (10, {"40001": 9}))
    history = loader(path, historical=T0, basis=1_000.0, factor=10, values={"40005": 7})
    while history:
        history.load()
    assert history.values == {40001: (1001.0, 9), "speed": (1000.0, 2.5), 40005: (0.0, 7)}
    assert history.state == loader.COMPLETE
    assert history.until == timestamp(T0 + 10)


def test_a_limit_gives_events_in_portions(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", *((n, {"a": n}) for n in range(10)))
    history = loader(path, historical=T0, factor=1e9)
    current, events = history.load(limit=4)
    assert [event["values"]["a"] for event in events] == [0, 1, 2, 3]
    assert current == timestamp(T0 + 3)
    assert len(history.load()[1]) == 6


def test_corrupt_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", *((n, {"a": n}) for n in range(6)))
    good = path.read_bytes().splitlines(keepends=True)
    good[2] = good[2][:31]  # torn off: its line end is gone, and the next record with it
    good[4] = b"\x00" * 50 + b"\n"
    path.write_bytes(b"".join(good))
    history = loader(path, historical=T0, factor=1e9)
    found = [event["values"]["a"] for event in history.load()[1]]
    assert found == [0, 1, 5]
    assert history.corrupt == 2
    assert history.state == loader.COMPLETE


@pytest.mark.parametrize("action", [loader.FAIL, loader.RAISE, loader.SUPPRESS])
def test_a_corrupt_first_record_is_treated_as_asked(tmp_path: Path, action: int) -> None:
    path = record(tmp_path / "plant.hst", (1, {"a": 1}))
    path.write_bytes(b"corrupt\n" + path.read_bytes())
    history = loader(path, historical=T0, factor=1e9)
    if action == loader.RAISE:
        with pytest.raises(IframeError):
            history.load(on_bad_iframe=action)
    else:
        events = history.load(on_bad_iframe=action)[1]
        assert len(events) == (1 if action == loader.SUPPRESS else 0)
    assert bool(history) is False
    assert (history.state == loader.FAILED) == (action != loader.SUPPRESS)


def test_a_bad_first_line_or_a_byte_order_mark_hides_nothing(tmp_path: Path) -> None:
    older = record(tmp_path / "plant.hst.0", (0, {"a": 0}))
    older.write_bytes(b"not a record\n" + older.read_bytes())
    newer = record(tmp_path / "plant.hst", (1, {"a": 1}))
    newer.write_bytes("\ufeff".encode() + newer.read_bytes())
    history = loader(tmp_path / "plant.hst", historical=T0, factor=1e9)
    found = []
    while history:
        found += [event["values"]["a"] for event in history.load()[1]]
    assert found == [0, 1]
    assert history.corrupt == 1


@pytest.mark.parametrize("where", [1, 2])
def test_a_record_nested_beyond_reason_is_corrupt(tmp_path: Path, where: int) -> None:
    path = record(tmp_path / "plant.hst", (0, {"a": 0}), (1, {"a": 1}))
    parts = [timestamp(T0 + 0.5).render(ms=3).encode(), b"0", b"{}"]
    parts[where] = b"[" * 100_000
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n" + b"\t".join(parts) + b"\n" + rest)
    history = loader(path, historical=T0, factor=1e9)
    assert [event["values"]["a"] for event in history.load()[1]] == [0, 1]
    assert history.corrupt == 1
    corrupt: list[str] = []
    assert len(list(moments(str(path), corrupt=corrupt))) == 2
    assert len(corrupt) == 1


def test_what_is_due_within_the_lookahead_is_given_out(tmp_path: Path) -> None:
    path = record(tmp_path / "plant.hst", *((n, {"a": n}) for n in range(10)))
    far = time.time() + 3_600  # the moment reached lies before the recording
    history = loader(path, historical=T0, basis=far, factor=2.0, lookahead=3_601.6)
    found = [event["values"]["a"] for event in history.load()[1]]
    assert found[:4] == [0, 1, 2, 3] and len(found) < 10


def test_an_empty_newest_file_hides_nothing(tmp_path: Path) -> None:
    record(tmp_path / "plant.hst.0", (0, {"a": 0}))
    (tmp_path / "plant.hst").write_text("# just rotated\n")
    assert played(tmp_path / "plant.hst") == [(0.0, {"a": 0})]


def test_a_damaged_archive_gives_what_is_before_the_damage(tmp_path: Path) -> None:
    file = record(tmp_path / "plant.hst.0", *((n, {"a": n}) for n in range(2_000)))
    packed = gzip.compress(file.read_bytes())
    file.unlink()
    (tmp_path / "plant.hst.0.gz").write_bytes(packed[: len(packed) // 2])
    record(tmp_path / "plant.hst", (5_000, {"a": -1}))
    found = [values["a"] for _, values in played(tmp_path / "plant.hst")]
    assert found[:100] == list(range(100)) and found[-1] == -1


def test_no_history_is_complete_at_once(tmp_path: Path) -> None:
    assert played(tmp_path / "none.hst") == []


CPPPO_WRITES = """
import sys
from cpppo.history import logger
with logger(sys.argv[1] + ".1") as history:
    history.comment("by cpppo")
    history.write({40001: 1, 40002: 2}, now=1400000000.0, serial=7)
    history.write("a note", now=1400000000.5)
with logger(sys.argv[1]) as history:
    history.write({40001: 5, 40002: 2}, now=1400000001.0)
    history.write({40001: [1, 2]}, now=1400000002.125)
"""
CPPPO_READS = """
import json, sys, time
from cpppo.history import loader
history = loader(sys.argv[1], historical=1400000000.0, basis=time.time() + 2, factor=1000)
while history:
    for event in history.load()[1]:
        print(json.dumps([event["timestamp"].value, event["values"]]))
    time.sleep(.01)
"""


def cpppo(script: str, path: Path) -> str:
    done = subprocess.run(
        [peers.cpppo_python(), "-W", "ignore", "-c", script, str(path)],
        env={**os.environ, "TZ": "Canada/Mountain"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


def test_files_of_cpppo_play_here(tmp_path: Path) -> None:
    cpppo(CPPPO_WRITES, tmp_path / "plant.hst")
    assert played(tmp_path / "plant.hst") == [
        (0.0, {"40001": 1, "40002": 2}),
        (1.0, {"40001": 5, "40002": 2}),
        (2.125, {"40001": [1, 2]}),
    ]


@pytest.mark.parametrize("compress", ["", "gz", "bz2"])
def test_files_of_ours_play_in_cpppo(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "plant.hst"
    with logger(path, compress=compress, keyframes=True) as history:
        history.comment("by cpppod")
        history.write({"40001": 1, "40002": 2}, now=T0, serial=7)
        history.write({"40002": 3}, now=T0 + 1)
        history.rotate(timestamp(T0 + 2))
        history.write({"40001": 4}, now=T0 + 3)
    told = [json.loads(line) for line in cpppo(CPPPO_READS, path).splitlines()]
    assert told == [
        [T0, {"40001": 1, "40002": 2}],
        [T0 + 1, {"40002": 3}],
        [T0 + 2, {"40001": 1, "40002": 3}],
        [T0 + 3, {"40001": 4}],
    ]


def test_a_register_of_5000_digits_is_a_name_and_nothing_stops_at_it() -> None:
    assert _register("40001") == 40001
    assert _register("4" * 5_000) == "4" * 5_000
