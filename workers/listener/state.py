"""What a listener keeps in the state directory: ids that clients remember, values to be retained.

    symbols/<worker>.json    {"version": 1, "symbols": {...}, "templates": {...}, "members": {...}}
    marks/<worker>.json      {"version": 1, "symbols": 17, "templates": 260}: the last ids given out
    retained/<worker>.json   {"version": 1, "values": {tag: value}}

Where `symbols` is lost, ids go on behind the mark: one that a client remembers must not be another
tag's. Where both are (a state directory made anew), they begin somewhere: what an earlier life at
this address gave out is not known, and hardly met.

Written beside and renamed, so that a power loss leaves the old or the new file. All calls block:
they belong on the I/O thread.
"""

import json
import logging
import os
import pathlib
import secrets
from typing import Any

from cpppod.protocols.cip.structures import FIRST_USER_TEMPLATE
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.model.errors import ProtocolError

log = logging.getLogger("cpppod")

SOMEWHERE = 0x4000  # symbol ids begin below it; 49,000 are left


class ListenerState:
    """The files of one listener."""

    def __init__(self, state_dir: str, name: str) -> None:
        self._ids = pathlib.Path(state_dir) / "symbols" / f"{name}.json"
        self._marks = pathlib.Path(state_dir) / "marks" / f"{name}.json"
        self._values = pathlib.Path(state_dir) / "retained" / f"{name}.json"

    def load_ids(self) -> Allotment:
        """The ids allotted so far; none where there is no file.

        Raises:
            ProtocolError: written by a newer version: ids must not be given out anew over it.
        """
        plain = _read(self._ids)
        if plain is not None:
            return Allotment(plain)
        after = self._mark() or (secrets.randbelow(SOMEWHERE), FIRST_USER_TEMPLATE)
        log.info("no ids of tags are kept, new ones begin path=%s after=%d", self._ids, after[0])
        return Allotment(after=after)

    def _mark(self) -> tuple[int, int] | None:
        """The last ids given out, where only those are known."""
        try:
            plain = _read(self._marks)
            return None if plain is None else (int(plain["symbols"]), int(plain["templates"]))
        except (ProtocolError, KeyError, TypeError, ValueError):
            return None

    def save_ids(self, plain: dict[str, Any]) -> None:
        """Store the ids, and the last ones given out apart from them."""
        symbols, templates = self._mark() or (0, 0)
        mark = {
            "version": 1,
            "symbols": max(symbols, *plain["symbols"].values(), 0),
            "templates": max(templates, *plain["templates"].values(), 0),
        }
        _write(self._marks, mark)
        _write(self._ids, plain)

    def load_values(self) -> dict[str, Any]:
        """Values of retained tags by name."""
        plain = _read(self._values)
        if not isinstance(plain, dict) or plain.get("version") != 1:
            return {}
        values = plain.get("values")
        return values if isinstance(values, dict) else {}

    def save_values(self, values: dict[str, Any]) -> None:
        """Store values of retained tags."""
        _write(self._values, {"version": 1, "values": values})


def _read(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ProtocolError(f"{path}: {error}", status=0) from None


def _write(path: pathlib.Path, plain: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(plain, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        log.error("state not stored path=%s why=%s", path, error)
