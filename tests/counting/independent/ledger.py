"""The sum: every number that a device served is stored, or declared. Nothing of the project in it.

    python ledger.py SERVED FEED STORE      prints {"served", "stored", "declared", "undeclared"...}

Clocks are set to and fro, so times prove nothing. Numbers do: a device's numbers grow, and a row
has the epoch and sequence of its block. Numbers that are missing between two rows that are stored
must have a gap row, or a row that says bad, at that place.
"""

import glob
import itertools
import json
import sqlite3
import sys
from typing import Any, NamedTuple

import msgpack

IN_HAND = 1  # numbers of a device that were on their way when the gateway was stopped
BAD = 16  # a quality whose low byte is this or more goes without a value
Place = tuple[int, int]  # epoch, sequence


class Row(NamedTuple):
    device: str
    tag: str
    publisher: str  # with its gateway before it
    epoch: int
    sequence: int
    value: Any
    quality: int

    @property
    def place(self) -> Place:
        return self.epoch, self.sequence


class Gap(NamedTuple):
    publisher: str
    epoch: int
    device: str
    first: int
    last: int
    reason: str
    samples: int  # that are missing at least; -1: nobody knows


def of_sqlite(folder: str) -> tuple[list[Row], list[Gap]]:
    """What is in a folder of SQLite files."""
    found: list[Row] = []
    for path in sorted(glob.glob(f"{folder}/readings-*.sqlite")):
        with sqlite3.connect(path) as day:
            names: dict[int, dict[int, str]] = {}
            for topic, number, name in day.execute("SELECT topic, number, name FROM tags"):
                names.setdefault(topic, {})[number] = name
            for topic, device, publisher, epoch, sequence, data in day.execute(
                "SELECT t.id, t.device, p.gateway || ' ' || p.name, b.epoch, b.sequence, b.samples"
                " FROM blocks b JOIN topics t ON t.id = b.topic"
                " JOIN publishers p ON p.id = b.publisher"
            ):
                numbers, values, qualities = msgpack.unpackb(data)[:3]
                for at, value in enumerate(values):
                    tag = names[topic][at if numbers is None else numbers[at]]
                    quality = qualities if isinstance(qualities, int) else qualities[at]
                    found.append(Row(device, tag, publisher, epoch, sequence, value, quality))
    with sqlite3.connect(f"{folder}/index.sqlite") as index:
        query = (
            "SELECT gateway || ' ' || publisher, epoch, device, first, last, reason, samples"
            " FROM gaps"
        )
        return found, [Gap(*row) for row in index.execute(query)]


def of_postgresql(url: str) -> tuple[list[Row], list[Gap]]:
    """What is in a database."""
    import psycopg

    with psycopg.connect(url) as database:
        found = database.execute(
            "SELECT device, tag, gateway || ' ' || publisher, epoch, sequence, value, quality"
            " FROM history.gateway_samples"
        ).fetchall()
        gaps = database.execute(
            "SELECT gateway || ' ' || publisher, epoch, device, first, last, reason, samples"
            " FROM history.gap"
        ).fetchall()
    return [Row(*row) for row in found], [Gap(*row) for row in gaps]


def lies(place: Place, before: Place | None, after: Place | None) -> bool:
    """Whether a place is in one of the lives of two others, behind the first, before the second."""
    epoch, sequence = place
    if before is not None and epoch == before[0] and sequence <= before[1]:
        return False
    if after is not None and epoch == after[0] and sequence >= after[1]:
        return False
    return epoch in (before and before[0], after and after[0])


def speaks_of(gap: Gap, device: str, before: Row | None, after: Row | None) -> bool:
    """Whether a gap row is about what is missing between two rows."""
    known = before or after
    if known is None or gap.device not in ("", device):
        return False
    if gap.publisher not in (known.publisher, " "):
        return False
    if before is None:
        return gap.epoch == 0 or lies((gap.epoch, gap.first), None, known.place)
    end = after.place if after else None
    if gap.last == 0:  # of a whole life: from its end on
        return gap.epoch == before.epoch and (end is None or end[0] != gap.epoch)
    inside = max(gap.first, before.sequence + 1) if gap.epoch == before.epoch else gap.first
    return inside <= gap.last and lies((gap.epoch, inside), before.place, end)


def check_tag(
    device: str, served: set[int], rows: list[Row], gaps: list[Gap]
) -> tuple[int, int, int, list[str]]:
    """How many of a device's numbers one of its tags has stored, declared, not declared."""
    stored = declared = undeclared = 0
    problems: list[str] = []
    good = sorted((row for row in rows if row.quality & 255 < BAD), key=lambda row: int(row.value))
    bad = [row.place for row in rows if row.quality & 255 >= BAD]
    known: set[int] = set()
    for row in good:
        if row.value in known:
            problems.append(f"{device}: {row.value} is stored twice")
        if row.value not in served:
            problems.append(f"{device}: {row.value} was never served")
        known.add(int(row.value))
    stored = len(known & served)
    for before, after in itertools.pairwise([None, *good, None]):
        first = int(before.value) + 1 if before else 1
        last = int(after.value) - 1 if after else max(served, default=0)
        missing = [n for n in range(first, last + 1) if n in served]
        if not missing:
            continue
        start, end = before.place if before else None, after.place if after else None
        found = [gap for gap in gaps if speaks_of(gap, device, before, after)]
        said = any(gap.samples for gap in found)
        failed = any(lies(place, start, end) for place in bad)
        in_hand = len(missing) <= IN_HAND and (after is None or bool(found))
        if said or failed or in_hand:
            declared += len(missing)
            continue
        undeclared += len(missing)
        problems.append(f"{device}: {missing[0]} to {missing[-1]}, {start} to {end}: nothing said")
    return stored, declared, undeclared, problems


def check_feed(path: str, rows: list[Row], served: dict[str, set[int]]) -> tuple[int, list[str]]:
    """What the feed said and what is stored are one and the same; how many blocks came."""
    problems: list[str] = []
    blocks = 0
    stored = {
        (row.publisher, row.epoch, row.sequence, row.tag): row.value
        for row in rows
        if row.quality & 255 < BAD
    }
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                continue  # it was being written at the end
            gateway, publisher, epoch, sequence, topic, good = json.loads(line)
            device = topic.partition("/")[0]
            if device not in served:
                continue
            blocks += 1
            for tag, value in good.items():
                where = f"{device}.{tag} ({epoch}, {sequence})"
                if value not in served[device]:
                    problems.append(f"{where}: fed {value}, which was never served")
                kept = stored.get((f"{gateway} {publisher}", epoch, sequence, tag), value)
                if kept != value:
                    problems.append(f"{where}: fed {value}, stored {kept}")
    return blocks, problems


def main() -> None:
    """Print the sum."""
    served_path, feed_path, store = sys.argv[1:]
    served: dict[str, set[int]] = {}
    with open(served_path, encoding="ascii") as file:
        for line in file:
            device, number = line.split()
            served.setdefault(device, set()).add(int(number))
    rows, gaps = of_postgresql(store) if "://" in store else of_sqlite(store)
    by_tag: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_tag.setdefault((row.device, row.tag), []).append(row)
    verdicts = [
        check_tag(device, served.get(device, set()), found, gaps)
        for (device, _), found in sorted(by_tag.items())
    ]
    fed, problems = check_feed(feed_path, rows, served)
    reasons: dict[str, int] = {}
    for gap in gaps:
        reasons[gap.reason] = reasons.get(gap.reason, 0) + 1
    told = {
        "served": sum(len(numbers) for numbers in served.values()),
        "stored": sum(verdict[0] for verdict in verdicts),
        "declared": sum(verdict[1] for verdict in verdicts),
        "undeclared": sum(verdict[2] for verdict in verdicts),
        "problems": [*(text for verdict in verdicts for text in verdict[3]), *problems],
        "fed": fed,
        "gaps": reasons,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
