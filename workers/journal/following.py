"""All journals of a gateway, read together by one of their readers.

    Journals     found as their publishers appear ─► fill(batch) ─► readings, gaps, cursors
    Passed       how far each reader is ─► what all have passed is deleted

A gateway's journals have any number of durable readers: the historian, whose positions are in its
store, and outlets, whose positions are in `state_dir/readers/NAME.json`. Where there are several,
each says there how far it is, and whoever goes on deletes what none needs any more. A reader that
is configured and has not said anything yet holds everything, up to the journals' own limits.

Everything here blocks.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.journal.batch import Batch, Cursor
from cpppod.workers.journal.files import (
    START,
    behind_bytes,
    segment_path,
    segments,
)
from cpppod.workers.journal.reader import CHUNK, JournalNewer, JournalReader
from cpppod.workers.state import StateDirectory

logger = logging.getLogger(__name__)

SCHEMA = 1
LOOK_S = 1.0  # between looks for journals of new publishers
MIN_CHUNK = 8_192  # bytes of a journal read at a time, for a reader that is too slow
GROWTH = 20  # what went well is followed by a twentieth more, up to the most


class Journals:
    """The journals below `root`.

    Args:
        begin: where the reading of a publisher's folder begins.
        since_us: before then there was no such gateway.

    Attributes:
        behind_bytes: of journals behind what is done; as of the last look.
        errors: journals that could not be read or looked at, cumulative.
    """

    def __init__(
        self, root: Path, begin: Callable[[Path], Cursor], *, gateway: str = "", since_us: int = 0
    ) -> None:
        self.root = root
        self.behind_bytes = 0
        self.errors = 0
        self._begin = begin
        self._gateway = gateway
        self._since_us = since_us
        self._readers: dict[str, JournalReader] = {}
        self._began: dict[str, Cursor] = {}
        self._troubles: dict[str, str] = {}  # publisher -> why its journal cannot be read now
        self._looked = self._measured = -LOOK_S

    def __bool__(self) -> bool:
        return bool(self._readers)

    def names(self) -> list[str]:
        """The publishers whose journals were found."""
        return list(self._readers)

    def close(self) -> None:
        """Let go of the files; reading goes on where it is."""
        for reader in self._readers.values():
            reader.close()

    def back(self) -> None:
        """Read again from where it begins: what came since was not taken."""
        for reader in self._readers.values():
            reader.back(self._begin(reader.folder))

    def smaller(self) -> None:
        """Read less at a time."""
        for reader in self._readers.values():
            reader.chunk = max(reader.chunk // 4, MIN_CHUNK)

    def larger(self) -> None:
        """Read a little more at a time again, up to the most."""
        for reader in self._readers.values():
            reader.chunk = min(reader.chunk + reader.chunk // GROWTH, CHUNK)

    def look(self, now: float) -> None:
        """Find journals of publishers that are new, once in a while."""
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for folder in self._folders():
            name = folder.name
            if name not in self._readers:
                cursor = self._began[name] = self._begin(folder)
                self._readers[name] = JournalReader(
                    folder, cursor, gateway=self._gateway, since_us=self._since_us
                )
                logger.info("journal found publisher=%s segment=%d", name, cursor.segment)

    def measure(self, now: float, done: Mapping[str, Cursor]) -> None:
        """See how much of the journals is behind what is `done`, once in a while."""
        if now - self._measured < LOOK_S:
            return
        self._measured = now
        behind = 0
        for folder in self._folders():
            cursor = done.get(folder.name) or self._began.get(folder.name, START)
            try:
                behind += behind_bytes(folder, cursor)
            except OSError:
                self.errors += 1
        self.behind_bytes = behind

    def fill(self, batch: Batch, samples: int) -> bool:
        """Read a chunk of each journal in turn; whether `batch` had so many before their ends."""
        waiting = list(self._readers.values())
        found = batch.samples()
        while waiting:
            for reader in list(waiting):
                if found >= samples:
                    return True
                known = len(batch.readings)
                try:
                    if not reader.read(batch):
                        waiting.remove(reader)
                    self._troubles.pop(reader.publisher, None)
                except (OSError, JournalNewer) as error:
                    waiting.remove(reader)
                    self.errors += 1
                    self._say(reader.publisher, str(error))
                found += sum(len(reading.tags) for reading in batch.readings[known:])
        return False

    def _say(self, publisher: str, why: str) -> None:
        if self._troubles.get(publisher) != why:
            logger.error("journal not read publisher=%s error=%s", publisher, why)
        self._troubles[publisher] = why

    def _folders(self) -> list[Path]:
        return sorted(self.root.glob("*/")) if self.root.is_dir() else []


class Passed:
    """How far the reader `name` is, among all `readers` of the journals in a state directory."""

    def __init__(self, state: StateDirectory, name: str, readers: Iterable[str]) -> None:
        self._state = state
        self._name = name
        self._others = [each for each in readers if each != name]

    @property
    def shared(self) -> bool:
        """Whether there is another reader."""
        return bool(self._others)

    def read(self) -> tuple[dict[str, Cursor], dict[str, int]]:
        """This reader's kept positions, and the segments from which on it holds the journals."""
        return self._kept(self._name)

    def _kept(self, reader: str) -> tuple[dict[str, Cursor], dict[str, int]]:
        return self._state.read(_file(reader), _parse) or ({}, {})

    def keep(self, cursors: Mapping[str, Cursor], held: Mapping[str, int] | None = None) -> bool:
        """Keep this reader's positions: they outlive the process, and hold what is behind them.

        False: they are not kept, and what was kept before stands.

        Args:
            held: publisher -> the first segment to hold, where that is before its position.
        """
        first = {name: cursor.segment for name, cursor in cursors.items()} | dict(held or {})
        plain = {"schema": SCHEMA, "cursors": cursors, "held": first}
        return self._state.write(_file(self._name), json.dumps(plain).encode())

    def prune(self, firsts: Mapping[str, int]) -> None:
        """Delete what is before these segments, as far as every other reader has passed it."""
        held = [self._kept(other)[1] for other in self._others]
        for publisher, first in firsts.items():
            needed = [each.get(publisher, START.segment) for each in held]
            self._delete_before(min([first, *needed]), publisher)

    def _delete_before(self, first: int, publisher: str) -> None:
        folder = self._state.root / "journal" / publisher
        for number, suffix in segments(folder).items():
            if number >= first:
                return
            try:
                segment_path(folder, number, suffix).unlink(missing_ok=True)
            except OSError as error:
                logger.warning(
                    "journal segment not deleted publisher=%s error=%s", publisher, error
                )
                return


def _file(reader: str) -> str:
    return f"readers/{reader}.json"


def _parse(data: bytes) -> tuple[dict[str, Cursor], dict[str, int]]:
    plain = json.loads(data)
    if plain["schema"] > SCHEMA:
        raise DecodeError(f"positions of schema {plain['schema']}", status=1)
    cursors = {str(name): Cursor(*cursor) for name, cursor in plain["cursors"].items()}
    return cursors, {str(name): int(first) for name, first in plain["held"].items()}
