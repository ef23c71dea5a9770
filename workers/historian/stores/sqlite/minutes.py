"""A closed day by the minute: min, time-weighted mean and max of every tag, in a file of its own.

    minutes    gateway, device, tag -> minutes with a good number, zlib of arrays one after the
               other: minute of the day (H), samples (H), milliseconds good (I), then minimum,
               mean, maximum (d)

The file appears whole, under its name, once all of the day is in it.
"""

import heapq
import os
import sqlite3
import sys
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from cpppod.workers.historian.stores.buckets import Bucket, buckets, with_gaps
from cpppod.workers.historian.stores.store import Minute, Sample, StoreReader

SCHEMA = 2  # in schema 1 there was no gateway
MINUTE_US = 60_000_000
NO_GATEWAY = "''"  # what files of schema 1 have in the gateway's place, as SQL
DAY_US = 86_400_000_000
SLICE_S = 0.05  # of work between two turns of whoever shares the thread
MAX_COUNT = 65_535  # samples of a minute as it is stored: a thousand a second

_TABLES = """
CREATE TABLE minutes (
    device TEXT NOT NULL, tag TEXT NOT NULL, day_us INTEGER NOT NULL, minutes BLOB NOT NULL,
    gateway TEXT NOT NULL, PRIMARY KEY (gateway, device, tag)) WITHOUT ROWID;
"""
_LAYOUT = "HHIddd"  # the arrays of a row, little-endian


def minutes_path(folder: Path, day: str) -> Path:
    """Where the roll-up of a day is."""
    return folder / f"minutes-{day}.sqlite"


def encode_minutes(found: Iterable[Bucket], day_us: int) -> bytes:
    """A tag's minutes as one row holds them; those without a good number are left out."""
    kept = [bucket for bucket in found if bucket.mean is not None]
    columns = (
        array("H", [(bucket.start_us - day_us) // MINUTE_US for bucket in kept]),
        array("H", [min(bucket.samples, MAX_COUNT) for bucket in kept]),
        array("I", [bucket.good_us // 1000 for bucket in kept]),
        array("d", [bucket.minimum or 0.0 for bucket in kept]),
        array("d", [bucket.mean or 0.0 for bucket in kept]),
        array("d", [bucket.maximum or 0.0 for bucket in kept]),
    )
    if sys.byteorder != "little":
        for column in columns:
            column.byteswap()
    return zlib.compress(b"".join(column.tobytes() for column in columns))


def decode_minutes(row: bytes, day_us: int) -> Iterator[Minute]:
    """The minutes of a row."""
    data = zlib.decompress(row)
    width = sum(array(code).itemsize for code in _LAYOUT)
    count, at, columns = len(data) // width, 0, []
    for code in _LAYOUT:
        column = array(code)
        column.frombytes(data[at : at + count * column.itemsize])
        at += count * column.itemsize
        if sys.byteorder != "little":
            column.byteswap()
        columns.append(column)
    for minute, samples, good_ms, minimum, mean, maximum in zip(*columns, strict=True):
        start_us = day_us + minute * MINUTE_US
        yield Minute(start_us, minimum, mean, maximum, samples, good_ms * 1000)


def read_minutes(
    database: sqlite3.Connection,
    device: str,
    tag: str,
    since_us: int,
    until_us: int,
    family: frozenset[str] | None = None,
) -> Iterator[Minute]:
    """A tag's minutes of that time, from one day's file.

    Args:
        family: gateways that it may be of; None: any.
    """
    owned = database.execute("PRAGMA user_version").fetchone()[0] > 1
    rows = database.execute(
        f"SELECT day_us, minutes, {'gateway' if owned else NO_GATEWAY} FROM minutes"
        " WHERE device = ? COLLATE NOCASE AND tag = ? COLLATE NOCASE",
        (device, tag),
    ).fetchall()
    parts = [
        decode_minutes(row, day_us)
        for day_us, row, gateway in rows
        if family is None or gateway in family
    ]
    for minute in heapq.merge(*parts):
        if since_us <= minute.start_us + MINUTE_US - 1 and minute.start_us <= until_us:
            yield minute


def roll_up(
    folder: Path,
    day: str,
    tags: Iterable[tuple[str, str]],
    reader_of: Callable[[str], StoreReader],
) -> Iterator[None]:
    """Write the roll-up of a day; yields between slices of work.

    Args:
        tags: each with its gateway: (gateway, `device.tag`).
        reader_of: a reader of one gateway's.
    """
    path = minutes_path(folder, day)
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    day_us = int(datetime.strptime(f"{day} +0000", "%Y-%m-%d %z").timestamp()) * 1_000_000
    database = sqlite3.connect(part, isolation_level=None, check_same_thread=False)
    try:
        database.executescript(f"PRAGMA journal_mode=OFF; {_TABLES} PRAGMA user_version={SCHEMA};")
        began = time.monotonic()
        for gateway, name in tags:
            reader = reader_of(gateway)
            device, _, tag = name.partition(".")
            samples: Iterable[Sample] = reader.samples(device, tag, day_us, day_us + DAY_US - 1)
            gaps = reader.gaps(device, day_us, day_us + DAY_US - 1)
            opening = reader.last(device, tag, day_us - 1)
            found = []
            for bucket in buckets(
                opening, with_gaps(samples, gaps), day_us, day_us + DAY_US, MINUTE_US
            ):
                found.append(bucket)
                if time.monotonic() - began > SLICE_S:
                    yield
                    began = time.monotonic()
            row = (device, tag, day_us, encode_minutes(found, day_us), gateway)
            database.execute("INSERT INTO minutes VALUES (?, ?, ?, ?, ?)", row)
        database.close()
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        database.close()
        part.unlink(missing_ok=True)
