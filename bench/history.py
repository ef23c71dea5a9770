"""History: samples committed a second, questions, playback; beside what the databases do plainly.

    SQLite      blocks of 100 in our store, beside executemany of a row per sample, with its index
    PostgreSQL  rows in our store, beside a bare COPY into the same table
    questions   range, last, buckets on QUESTIONS samples (10 million with BENCH_FULL=1)
    playback    .hst lines and stored readings a second, as fast as they come

BENCH_FULL=1 also shows that the rate after 50 million samples is that of the beginning.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cpppod.history import loader, logger  # noqa: E402
from cpppod.history.recording import moments  # noqa: E402
from cpppod.protocols.bus import feed  # noqa: E402
from cpppod.protocols.bus.journal import Kind, encode_record  # noqa: E402
from cpppod.protocols.bus.publisher import Publisher  # noqa: E402
from cpppod.workers.historian.collector import Collector  # noqa: E402
from cpppod.workers.historian.stores.questions import ask_buckets  # noqa: E402
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader  # noqa: E402
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore  # noqa: E402
from cpppod.workers.historian.stores.store import Batch, Reading  # noqa: E402
from cpppod.workers.journal.files import JournalLimits, JournalWriter  # noqa: E402

FULL = os.environ.get("BENCH_FULL") == "1"
BLOCK = 100
PER_COMMIT = 250  # blocks: a tenth of a second at 250,000 samples a second
DEVICES = 100
SAMPLES = 50_000_000 if FULL else 2_000_000
QUESTIONS = 10_000_000 if FULL else 1_000_000
T0 = 1_700_000_000_000_000
TAGS = [f"tag_{number}" for number in range(BLOCK)]


def blocks(count: int, first: int = 0) -> Iterator[list[Reading]]:
    """`count` blocks in commits: every device in turn, ten milliseconds apart, every value new."""
    for begin in range(first, first + count, PER_COMMIT):
        yield [
            Reading(
                "bench", 1, n + 1, f"device_{n % DEVICES}", "fast", T0 + n * 10_000,
                T0 + n * 10_000, n, BLOCK, list(TAGS), [n * 0.1 + tag for tag in range(BLOCK)], 0,
            )
            for n in range(begin, min(begin + PER_COMMIT, first + count))
        ]  # fmt: skip


def rate(name: str, samples: int, seconds: float, note: str = "") -> None:
    print(f"  {name:<52} {samples / seconds:>12,.0f} samples/s {note}", flush=True)


def committed(store: Any, count: int, first: int = 0) -> float:
    """Seconds that committing `count` blocks took, without making them."""
    seconds = 0.0
    for readings in blocks(count, first):
        begun = time.perf_counter()
        store.commit(Batch(readings))
        seconds += time.perf_counter() - begun
    return seconds


def bench_sqlite(folder: Path) -> None:
    store = SqliteStore(folder, SqliteLimits(free_bytes=1, bytes=2**50))
    store.open()
    part = SAMPLES // BLOCK // 5
    seconds = [committed(store, part, turn * part) for turn in range(5)]
    rate("SQLite, our store, first fifth", part * BLOCK, seconds[0])
    last = f"{seconds[0] / seconds[-1]:.0%} of the first, after {SAMPLES:,} samples"
    rate("SQLite, our store, last fifth", part * BLOCK, seconds[-1], last)
    store.close()


def bench_plain_sqlite(folder: Path) -> None:
    database = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE samples (tag INTEGER, time INTEGER, value REAL, quality INTEGER);"
        "CREATE INDEX by_tag ON samples (tag, time);"
    )
    seconds, count = 0.0, min(SAMPLES, 2_000_000) // BLOCK
    for readings in blocks(count):
        rows = [
            (reading.sequence % DEVICES * BLOCK + at, reading.source_us, value, 0)
            for reading in readings
            for at, value in enumerate(reading.values)
        ]
        begun = time.perf_counter()
        database.execute("BEGIN")
        database.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", rows)
        database.execute("COMMIT")
        seconds += time.perf_counter() - begun
    rate("SQLite, executemany of rows with the index", count * BLOCK, seconds)
    database.close()


def bench_journey(folder: Path) -> None:
    """Journal on disk to store: the historian's whole work in one thread."""
    count = 500_000 // BLOCK
    publisher = Publisher("bench", 1)
    writer = JournalWriter(folder / "journal" / "bench", 1, JournalLimits(bytes=2**40))
    writer.open(0.0)
    for n in range(count):
        values = {tag: (n * 0.1 + at, 0) for at, tag in enumerate(TAGS)}
        at_us = T0 + n * 10_000
        topic, payload = publisher.block(
            f"device_{n % DEVICES}", "fast", BLOCK, values,
            source_us=at_us, gateway_us=at_us, mono_us=n,
        )  # fmt: skip
        assert feed.VERSION
        record = encode_record(
            Kind.BLOCK, topic, payload, sequence=publisher.sequence, samples=BLOCK
        )
        writer.append(record, 0.0)
    writer.close()
    store = SqliteStore(folder / "store", SqliteLimits(free_bytes=1))
    collector = Collector(folder / "journal", store, monotonic=time.monotonic)
    begun = time.perf_counter()
    while collector.turn(T0):
        pass
    seconds = time.perf_counter() - begun
    rate("historian, journal to SQLite", collector.counters.samples, seconds)
    collector.close()


def bench_postgresql() -> None:
    from cpppod.workers.historian.stores.postgresql.store import PostgresqlStore
    from tests.postgresql_cluster import running_cluster

    count = (2_000_000 if FULL else 400_000) // BLOCK
    with running_cluster(fsync=True) as cluster, closing(PostgresqlStore(cluster.url)) as store:
        store.open()
        rate("PostgreSQL, our store", count * BLOCK, committed(store, count))
        plain_copy(cluster.url, count)


def plain_copy(url: str, count: int) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE plain (LIKE history.sample INCLUDING ALL)")
        seconds = 0.0
        for readings in blocks(count):
            begun = time.perf_counter()
            rows = "".join(
                f"{at}\t2026-01-01\t{value!r}\t\\N\t0\t0\t{reading.sequence % DEVICES}\t1"
                f"\t{reading.sequence}\t2026-01-01\t100\n"
                for reading in readings
                for at, value in enumerate(reading.values)
            )
            with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN") as copy:
                copy.write(rows.encode())
            seconds += time.perf_counter() - begun
        rate("PostgreSQL, bare COPY of the same rows", count * BLOCK, seconds)


def bench_questions(folder: Path) -> None:
    store = SqliteStore(folder, SqliteLimits(free_bytes=1, bytes=2**50))
    store.open()
    committed(store, QUESTIONS // BLOCK)
    store.close()
    reader = SqliteReader(folder)
    end = T0 + QUESTIONS // BLOCK * 10_000
    middle = (T0 + end) // 2
    tag = ("device_7", "tag_50")
    questions: dict[str, Callable[[], Any]] = {
        "one minute of a tag": lambda: len(list(reader.samples(*tag, middle, middle + 60_000_000))),
        "all of a tag": lambda: len(list(reader.samples(*tag, T0, end))),
        "the last before a time": lambda: reader.last(*tag, middle),
        "100 buckets over all of a tag": lambda: len(
            list(ask_buckets(reader, ".".join(tag), T0, end, (end - T0) // 100))
        ),
        "the list of tags": lambda: len(reader.tags()),
    }
    for name, ask in questions.items():
        begun = time.perf_counter()
        found = ask()
        took = (time.perf_counter() - begun) * 1000
        told = f"({found} rows)" if isinstance(found, int) else ""
        print(f"  {name + f', of {QUESTIONS:,} samples':<52} {took:>12.1f} ms {told}", flush=True)
    begun = time.perf_counter()
    count = sum(len(moment.samples) for moment in moments(str(folder)))
    rate("playback from the store, as fast as it goes", count, time.perf_counter() - begun)


def bench_files(folder: Path) -> None:
    lines = 100_000
    begun = time.perf_counter()
    with logger(folder / "bench.hst") as file:
        for n in range(lines):
            file.write({"40001": n, "40002": 2.5, "40003": n % 7}, now=1_700_000_000 + n * 0.1)
    seconds = time.perf_counter() - begun
    print(f"  {'.hst written':<52} {lines / seconds:>12,.0f} records/s", flush=True)
    begun, count = time.perf_counter(), 0
    history = loader(folder / "bench.hst", historical=1_700_000_000, factor=1e9)
    while history:
        count += len(history.load()[1])
    assert count == lines, count
    seconds = time.perf_counter() - begun
    print(f"  {'.hst played':<52} {lines / seconds:>12,.0f} records/s", flush=True)


CPPPO_PLAYS = """
import sys, time
from cpppo.history import loader
history = loader(sys.argv[1], historical=1700000000, basis=time.time(), factor=1e9)
begun, count = time.perf_counter(), 0
while history:
    count += len(history.load()[1])
print(count / (time.perf_counter() - begun))
"""


def bench_cpppo(folder: Path) -> None:
    """cpppo's own loader on the same lines, where it is installed (make peers)."""
    python = ROOT / ".peers/cpppo/bin/python"
    if not python.exists():
        return
    with logger(folder / "cpppo.hst") as file:
        for n in range(5_000):
            file.write({"40001": n, "40002": 2, "40003": n % 7}, now=1_700_000_000 + n * 0.1)
    command = [python, "-W", "ignore", "-c", CPPPO_PLAYS, folder / "cpppo.hst"]
    done = subprocess.run(
        command, env={**os.environ, "TZ": "UTC"}, capture_output=True, text=True, check=True
    )
    print(f"  {'.hst played by cpppo':<52} {float(done.stdout):>12,.0f} records/s", flush=True)


def main() -> None:
    """Run them all and print a line each."""
    folder = Path(tempfile.mkdtemp(prefix="cpppod-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        print("committed (each commit durable; 25,000 samples in one)")
        bench_sqlite(folder / "sqlite")
        bench_plain_sqlite(folder)
        bench_journey(folder)
        bench_postgresql()
        print("questions to SQLite")
        bench_questions(folder / "questions")
        print("history files")
        bench_files(folder)
        bench_cpppo(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
