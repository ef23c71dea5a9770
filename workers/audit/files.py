"""The audit on disk: `state_dir/audit/`, a folder and a chain for each process that writes.

    key                              32 bytes, mode 0600, made once for all
    <worker>/0000000000000001.jsonl  records, named by the first one's number; a line is whole, or
                                     the last (`protocols.model.audit`)
    <worker>/head                    oldest and newest number on disk, at most `SYNC_S` behind

One process appends to one folder, so that killing any harms nobody else's. Everything here blocks.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpppod.protocols.model.audit import (
    START,
    Head,
    Record,
    is_whole,
    key_id,
    seal,
    unseal,
)
from cpppod.workers.state import (
    NO_FILE,
    clear_place,
    content,
    lock,
    make_folder,
    put_aside,
    write_whole,
)

FOLDER, KEY, HEAD, SUFFIX = "audit", "key", "head", ".jsonl"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """How much one process's audit may hold: the oldest file goes once there are more."""

    file_bytes: int = 4 * 1024 * 1024
    files: int = 16


def key_of(state_dir: str | os.PathLike[str], *, make: bool = False) -> bytes:
    """The key of this gateway's audit.

    Raises:
        OSError: it cannot be read, or made.
    """
    path = Path(state_dir) / FOLDER / KEY
    if not make:
        return content(path)
    make_folder(path.parent, root=Path(state_dir))
    clear_place(path)
    if path.exists():
        try:
            key = content(path)
            why = f"no key: {len(key)} bytes"
        except (OSError, ValueError) as error:
            key, why = b"", str(error)
        if len(key) == KEY_BYTES and any(key):  # zeros are what a lost page leaves
            return key
        put_aside(path, why)
    temporary = path.with_name(f".{KEY}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path)  # of several that start at once, the first one's is the key
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
    return content(path)


def files_of(folder: Path) -> list[Path]:
    """A chain's files, oldest first."""
    found = (path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())
    return sorted(path for path in found if path.is_file())


def head_of(folder: Path, key: bytes) -> Head | None:
    """What the chain's head says; None where there is none, or it is not to be trusted."""
    try:
        return Head.read(key, folder.name, content(folder / HEAD).rstrip(b"\n"))
    except (OSError, ValueError):
        return None


class AuditFile:
    """The end of one process's chain; made by its writer, used on one thread.

    Attributes:
        newest: number and MAC of the last record.
        missed: attempts since of which no record could be written.
    """

    def __init__(
        self, state_dir: str | os.PathLike[str], writer: str, limits: AuditLimits | None = None
    ) -> None:
        self.newest = (0, START)
        self.missed = 0
        self._state_dir = Path(state_dir)
        self._writer = writer
        self._folder = self._state_dir / FOLDER / writer
        self._limits = limits or AuditLimits()
        self._key = b""
        self._key_id = ""
        self._files: list[Path] = []
        self._descriptor = -1
        self._lock = -1
        self._size = 0
        self._torn = 0
        self._oldest = 1
        self._headless = False  # there are records, and no head that could be trusted

    def open(self) -> None:
        """Find the end of the chain, where the next record goes.

        Raises:
            OSError: the state directory cannot be used; try again later.
        """
        if self._descriptor >= 0:
            return
        self._key = key_of(self._state_dir, make=True)
        self._key_id = key_id(self._key)
        make_folder(self._folder, root=self._state_dir)
        self._take_lock()
        self._files = files_of(self._folder)
        self._find_end()
        path = self._files[-1] if self._files else self._path_of(1)
        clear_place(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._files = self._files or [path]
        self._size = os.fstat(self._descriptor).st_size
        if not (self._folder / HEAD).exists():
            self._save_head()

    def _take_lock(self) -> None:
        if self._lock < 0:
            self._lock = lock(self._folder / "lock")

    def _find_end(self) -> None:
        """The last record that is one, and what half a line is behind it."""
        last: Record | None = None
        self._torn = 0
        for path in reversed(tuple(self._files)):
            for line in reversed(self._lines_of(path)):
                if (last := unseal(self._key, line)) is not None:
                    break
                self._torn += 0 if is_whole(line) else len(line)
            if last is not None:
                break
        head = head_of(self._folder, self._key)
        self._headless = head is None and last is not None
        if head is not None:
            self._oldest = head.oldest  # of a file that was removed, too: it stays missing
        elif self._files:
            self._oldest = int(self._files[0].stem)
        newest = (last.number, last.mac) if last else (0, START)
        if head is not None and head.newest > newest[0]:
            newest = (head.newest, head.mac)  # what is missing stays missing, for all to see
        self.newest = newest

    def _lines_of(self, path: Path) -> list[bytes]:
        """What a file of the chain holds; nothing of one that cannot be read: it is put aside."""
        try:
            return content(path).split(b"\n")
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in NO_FILE:
                raise
            put_aside(path, error)
            self._files.remove(path)
            return []

    def _path_of(self, number: int) -> Path:
        return self._folder / f"{number:016d}{SUFFIX}"

    def append(self, records: list[dict[str, Any]]) -> None:
        """Write down these attempts; they are in the system's hands afterwards, not on the disk.

        Raises:
            OSError: they are not written, and counted in `missed`, which the next record says.
        """
        try:
            self.open()
            if self._size >= self._limits.file_bytes:
                self._rotate()
            number, mac = self.newest
            lines: list[bytes] = []
            for record in records:
                number += 1
                line, mac = seal(self._key, self._body(number, mac, record, first=not lines))
                lines.append(line + b"\n")
            begin = b"\n" if self._ends_in_half() else b""
            self._write(begin + b"".join(lines))
        except OSError:
            self.missed += len(records)
            raise
        self.newest, self.missed, self._torn = (number, mac), 0, 0
        self._headless = False

    def _body(
        self, number: int, previous: str, record: dict[str, Any], *, first: bool
    ) -> dict[str, Any]:
        body = {
            "n": number,
            "writer": self._writer,
            "key": self._key_id,
            "prev": previous,
            **record,
        }
        if first and self._torn:
            body["torn"] = self._torn
        if first and self.missed:
            body["missed"] = self.missed
        if first and self._headless:
            body["headless"] = True
        return body

    def _ends_in_half(self) -> bool:
        if not self._size:
            return False
        with open(self._files[-1], "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def _write(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        if written != len(data):
            os.ftruncate(self._descriptor, self._size)  # not half of it, while we are here to see
            raise OSError(28, "no space left")
        self._size += written

    def _rotate(self) -> None:
        """A new file; the head says that the oldest goes before it goes."""
        self.sync()
        path = self._path_of(self.newest[0] + 1)
        clear_place(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.close(self._descriptor)
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        if path not in self._files:
            self._files.append(path)
        beyond = self._files[: -self._limits.files]
        self._files = self._files[-self._limits.files :]
        if beyond:
            self._oldest = int(self._files[0].stem)
            self._save_head()
        for old in beyond:
            old.unlink(missing_ok=True)

    def sync(self) -> None:
        """Force what was appended to the disk, and then say so in the head.

        Raises:
            OSError: the disk refused.
        """
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)
            self._save_head()

    def _save_head(self) -> None:
        if self._headless:
            return  # a record says so first: a head that is removed is not simply made anew
        head = Head(self._oldest, *self.newest)
        write_whole(self._folder / HEAD, head.line(self._key, self._writer) + b"\n")

    def close(self) -> None:
        """Let go of the files; `sync` first."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1


def fingerprint(mac: str) -> int:
    """The first 48 bits of a MAC as a number that every language can say: for metrics."""
    return int(mac[:12], 16)
