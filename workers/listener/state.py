"""What a listener keeps in the state directory: ids that clients remember, values to be retained.

    symbols/<worker>.json    {"version": 1, "symbols": {...}, "templates": {...}, "members": {...}}
    retained/<worker>.json   {"version": 1, "values": {tag: value}}

Written beside and renamed, so that a power loss leaves the old or the new file. All calls block:
they belong on the I/O thread.
"""

import json
import logging
import os
import pathlib
from typing import Any

from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.model.errors import ProtocolError

log = logging.getLogger("cpppod")


class ListenerState:
    """The files of one listener."""

    def __init__(self, state_dir: str, name: str) -> None:
        self._ids = pathlib.Path(state_dir) / "symbols" / f"{name}.json"
        self._values = pathlib.Path(state_dir) / "retained" / f"{name}.json"

    def load_ids(self) -> Allotment:
        """The ids allotted so far; none where there is no file.

        Raises:
            ProtocolError: written by a newer version: ids must not be given out anew over it.
        """
        plain = _read(self._ids)
        return Allotment(plain)

    def save_ids(self, plain: dict[str, Any]) -> None:
        """Store the ids."""
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
