"""How `cpppoctl` prints: JSON for programs, tables for people.

A table that goes to a terminal fits it, a row a line: what is too long is cut from the right, the
first column last. One that goes to a file or a pipe is as wide as it needs.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

WIDE = 240  # columns where nobody's terminal sets a limit
GAP = 2  # columns between two
NARROW = 8  # columns that one of a table keeps as long as others have more


def print_json(answer: Any) -> None:
    """One JSON document, a line; sorted as the gateway sent it."""
    print(json.dumps(answer, ensure_ascii=False), flush=True)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit `room` with their gaps: the last gives way first, to `NARROW`."""
    found = list(widths)
    over = sum(found) + GAP * (len(found) - 1) - room
    for least in (NARROW, 1):
        for column in reversed(range(len(found))):
            cut = min(max(over, 0), max(found[column] - least, 0))
            found[column] -= cut
            over -= cut
    return found


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int | None = None
) -> None:
    """A table of `rows`; titles that begin with `>` are right-aligned.

    Args:
        width: columns of a terminal that is not asked for its own.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=width or (None if sys.stdout.isatty() else WIDE), highlight=False)
    cells = [[str(cell).replace("\n", " ") for cell in row] for row in rows]
    columns = zip([title.removeprefix(">") for title in titles], *cells, strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for title, columns_wide in zip(titles, fitted(widths, console.width), strict=True):
        right = title.startswith(">")
        table.add_column(
            title.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=columns_wide,
        )
    for row in cells:
        table.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    console.print(table)


_STYLES = {
    "online": "green",
    "running": "green",
    "good": "green",
    "degraded": "yellow",
    "backing off": "yellow",
    "starting": "yellow",
    "restarting": "yellow",
    "connecting": "yellow",
    "offline": "red",
    "demoted": "red",
    "unknown": "red",
    "disabled": "dim",
}


def style_of(cell: Any) -> str:
    """The colour that says whether a state is well."""
    return _STYLES.get(str(cell), "")


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and what goes with them, one a line; those with nothing to say are left out."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def value(given: Any) -> str:
    """A value as a table has room for it."""
    if given is None:
        return "-"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, float):
        return f"{given:.7g}" if math.isfinite(given) else str(given)
    if isinstance(given, list):
        few = ", ".join(value(each) for each in given[:8])
        return f"[{few}, ... {len(given)}]" if len(given) > 8 else f"[{few}]"
    return str(given)


def time_of(microseconds: int | None) -> str:
    """A moment in local time, to the millisecond; `-` for none."""
    if not microseconds:
        return "-"
    moment = datetime.fromtimestamp(microseconds / 1e6, UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
