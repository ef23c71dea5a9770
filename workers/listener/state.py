"""What a listener keeps in the state directory: ids that clients remember, values to be retained.

    symbols/<worker>.json    {"version": 1, "symbols": {...}, "templates": {...}, "members": {...}}
    marks/<worker>.json      {"version": 1, "symbols": 17, "templates": 260}: the last ids given out
    retained/<worker>.json   {"version": 1, "values": {tag: value}}

Where `symbols` is lost, ids go on behind the mark: one that a client remembers must not be another
tag's. Where both are (a state directory made anew), they begin somewhere: what an earlier life at
this address gave out is not known, and hardly met.

All calls block: they belong on the I/O thread.
"""

import json
import logging
import secrets
from typing import Any

from cpppod.protocols.cip.structures import FIRST_USER_TEMPLATE, LAST_USER_TEMPLATE
from cpppod.protocols.cip.symbols import MAX_SYMBOL_ID, Allotment
from cpppod.workers.state import StateDirectory

log = logging.getLogger("cpppod")

SOMEWHERE = 0x4000  # symbol ids begin below it; 49,000 are left


class ListenerState:
    """The files of one listener."""

    def __init__(self, state: StateDirectory, name: str) -> None:
        self._state = state
        self._ids = f"symbols/{name}.json"
        self._marks = f"marks/{name}.json"
        self._values = f"retained/{name}.json"

    def load_ids(self) -> Allotment:
        """The ids allotted so far; none where there is no file that can be used.

        Raises:
            DecodeError: written by a newer version: ids must not be given out anew over it.
        """
        found = self._state.read(self._ids, lambda data: Allotment(json.loads(data)))
        if found is not None:
            return found
        after = self._mark() or (secrets.randbelow(SOMEWHERE), FIRST_USER_TEMPLATE)
        log.info("no ids of tags are kept, new ones begin path=%s after=%d", self._ids, after[0])
        return Allotment(after=after)

    def _mark(self) -> tuple[int, int] | None:
        """The last ids given out, where only those are known."""
        return self._state.read(self._marks, _mark_of)

    def save_ids(self, plain: dict[str, Any]) -> None:
        """Store the ids, and the last ones given out apart from them."""
        symbols, templates = self._mark() or (0, 0)
        mark = {
            "version": 1,
            "symbols": max(symbols, *plain["symbols"].values(), 0),
            "templates": max(templates, *plain["templates"].values(), 0),
        }
        self._write(self._marks, mark)
        self._write(self._ids, plain)

    def load_values(self) -> dict[str, Any]:
        """Values of retained tags by name."""
        return self._state.read(self._values, _values_of) or {}

    def save_values(self, values: dict[str, Any]) -> None:
        """Store values of retained tags."""
        self._write(self._values, {"version": 1, "values": values})

    def _write(self, name: str, plain: Any) -> None:
        self._state.write(name, json.dumps(plain).encode("utf-8"))


def _mark_of(data: bytes) -> tuple[int, int]:
    plain = json.loads(data)
    symbols, templates = int(plain["symbols"]), int(plain["templates"])
    if not (0 <= symbols <= MAX_SYMBOL_ID and 0 <= templates <= LAST_USER_TEMPLATE):
        raise ValueError("no ids")
    return symbols, templates


def _values_of(data: bytes) -> dict[str, Any]:
    plain = json.loads(data)
    if plain["version"] != 1 or not isinstance(plain["values"], dict):
        raise ValueError("no values of version 1")
    return dict(plain["values"])
