"""Results of the EtherNet/IP client commands as people and programs read them.

--json prints one object a line; its keys are stable:

    {"operation": "SCADA[0-3]", "method": "read", "value": [0, 1, 2, 3], "status": 0,
     "extended": [], "text": "success (0x00)", "index": 0}

--csv prints `operation,method,status,text,value ...`: a column for each element.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cpppod.client.results import Result, is_read, split_status
from cpppod.protocols.enip.originator.exchange import format_target

PROGRESS_FROM = 1000  # operations: fewer are over before a bar is looked at


def result_object(result: Result) -> dict[str, Any]:
    """The result for `--json`."""
    status, extended = split_status(result.status)
    default = "read" if is_read(result.request) else "write"
    return {
        "operation": format_target(result.request),
        "method": result.request.get("method", default),
        "value": plain(result.value),
        "status": status,
        "extended": extended,
        "text": result.text,
        "index": result.idx,
    }


def plain(value: Any) -> Any:
    """`value` as JSON can say it: bytes become hexadecimal text."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def print_json(result: Result) -> None:
    """Print the result as one line of JSON."""
    print(json.dumps(result_object(result), allow_nan=True))


class CsvOutput:
    """Prints results as comma-separated values; the header comes with the first."""

    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._begun = False

    def print(self, result: Result) -> None:
        """Print one result."""
        if not self._begun:
            self._writer.writerow(["operation", "method", "status", "text", "value"])
            self._begun = True
        described = result_object(result)
        value = described["value"]
        values = value if isinstance(value, list) else [value]
        columns = [json.dumps(item) if isinstance(item, dict) else item for item in values]
        row = [described[key] for key in ("operation", "method", "status", "text")]
        self._writer.writerow([*row, *columns])


def failure_line(result: Result) -> str:
    """What went wrong, for stderr."""
    return f"{format_target(result.request)}: {result.text}"


def with_progress(results: Iterable[Result], total: int | None, *, quiet: bool) -> Iterator[Result]:
    """The results, with a progress bar on a terminal where there are many and none is printed."""
    many = total is not None and total >= PROGRESS_FROM
    if quiet or not many or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console  # what a bar needs is loaded where there is one
    from rich.progress import track

    yield from track(
        results, description="requests", total=total, console=Console(stderr=True), transient=True
    )
