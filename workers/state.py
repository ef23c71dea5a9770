"""The state directory's files: read, written whole, and put aside where they cannot be used.

    NAME                             as its owner wrote it
    .NAME.new                        being written; the old file is whole until the new one is
    NAME.damaged-20261130T120000Z    what could not be used: kept until somebody deletes it

A gateway runs without its state. What is damaged is put aside, what cannot be written waits and is
tried again; both are said in the log, by `cpppoctl status` and in metrics. Everything here blocks:
it belongs on the I/O thread.
"""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from cpppod.protocols.model.errors import ProtocolError

log = logging.getLogger("cpppod")

DAMAGED = ".damaged-"
MAX_SIZE = 64 << 20  # bytes of a file: the ids of 100,000 tags take 5 MB
MAX_FOUND = 1_000  # files put aside that are named; nobody looks at more
NO_FILE = frozenset((errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM))
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)

_Parsed = TypeVar("_Parsed")


class StateDirectory:
    """A worker's files in the state directory.

    Attributes:
        unkept: what is not on the disk as it should be, by name: why.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.unkept: dict[str, str] = {}
        self._waiting: dict[str, bytes] = {}

    def read(self, name: str, parse: Callable[[bytes], _Parsed]) -> _Parsed | None:
        """What `parse` makes of a file; None where there is none, or it was put aside.

        Args:
            parse: raises what malformed data makes it raise, or a `ProtocolError` of status 0; any
                other error is handed on, and the file stays (it is a newer version's).
        """
        path = self.root / name
        try:
            return parse(content(path))
        except FileNotFoundError:
            return None
        except (*UNREADABLE, OSError) as error:
            self._clear(path, error)
        except ProtocolError as error:
            if error.status:
                raise
            self._clear(path, error)
        return None

    def write(self, name: str, data: bytes) -> bool:
        """Whether `data` is in that file now; if not, it waits for `retry`."""
        path = self.root / name
        try:
            make_folder(path.parent, root=self.root)
            write_whole(path, data)
        except OSError as error:
            why = error.strerror or str(error)
            if self.unkept.get(name) != why:
                log.error("state not kept path=%s why=%s", path, why)
            self.unkept[name] = why
            self._waiting[name] = data
            return False
        if self.unkept.pop(name, None) is not None:
            log.info("state kept again path=%s", path)
        self._waiting.pop(name, None)
        return True

    def retry(self) -> None:
        """Write what could not be written."""
        for name, data in tuple(self._waiting.items()):
            self.write(name, data)

    def overdue(self) -> list[str]:
        """What a beat says of it."""
        return [f"state not kept: {name}: {why}" for name, why in tuple(self.unkept.items())]

    def _clear(self, path: Path, why: Exception) -> None:
        """Put aside a file that cannot be used, or what stands in the place of a folder above."""
        if not _is_usable(self.root):
            return  # not there, or not ours to move: `write` says so
        try:
            put_aside(_in_the_way(path), why)
        except OSError as error:
            log.error("state damaged, not put aside path=%s why=%s", path, error)


def put_aside(path: Path, why: object) -> Path:
    """Where a file, or what stands in a file's place, was moved to because it cannot be used.

    Raises:
        OSError: it stays where it is.
    """
    stem = f"{path.name}{DAMAGED}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside, count = path.with_name(stem), 1
    while os.path.lexists(aside):
        count += 1
        aside = path.with_name(f"{stem}-{count}")
    os.rename(path, aside)
    log.error("damaged, put aside path=%s aside=%s why=%s", path, aside.name, why)
    return aside


def make_folder(folder: Path, *, root: Path) -> None:
    """Have a folder below `root`, the state directory; what stands in its place is put aside, also
    a folder that may not be used.

    Raises:
        OSError: there cannot be one.
    """
    root.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        put_aside(_in_the_way(folder), error)
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        if not _is_usable(root):
            raise
    if not _is_usable(folder) and _is_usable(root):
        put_aside(_in_the_way(folder / "any"), "no permission")
        folder.mkdir(parents=True, exist_ok=True)


def _in_the_way(path: Path) -> Path:
    """What stands in the place of `path` or of a folder above it, or is one without permission."""
    while not _is_usable(path.parent):
        path = path.parent
    return path


def _is_usable(folder: Path) -> bool:
    """Whether there is such a folder, and files in it can be opened, made and renamed."""
    return os.path.isdir(folder) and _may(folder, os.R_OK | os.W_OK | os.X_OK)


def _may(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def may_use(path: Path) -> bool:
    """Whether a file can be read, and written where its folder can: on a full or read-only disk it
    is no worse than others."""
    return _may(path, os.R_OK) and (_may(path, os.W_OK) or not _may(path.parent, os.W_OK))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, durably; its place is cleared.

    Raises:
        OSError: it is as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    for place in (temporary, path):
        clear_place(place)
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def clear_place(path: Path) -> None:
    """Put aside what stands in a file's place and is none, nor leads to one, or may not be used.

    Raises:
        OSError: it stays.
    """
    why = "not a file"
    try:
        if stat.S_ISREG(path.stat().st_mode):
            if may_use(path):
                return
            why = "no permission"
    except FileNotFoundError:
        if not path.is_symlink():
            return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    put_aside(path, why)


def lock(path: Path) -> int:
    """The descriptor that holds a lock file; the kernel frees it with its process.

    Raises:
        BlockingIOError: another process holds it.
        OSError: there cannot be one.
    """
    import fcntl  # here: who locks nothing runs on systems without it

    clear_place(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sync_folder(folder: Path) -> None:
    """Force a folder's names to the disk.

    Raises:
        OSError: they may not be there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_aside_below(folder: Path) -> list[str]:
    """Paths of everything that was put aside below a folder, at most `MAX_FOUND`, in order."""
    return sorted(path for path, _ in zip(_aside(folder), range(MAX_FOUND), strict=False))


def _aside(folder: Path) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if DAMAGED in entry.name:
            yield entry.path
        elif entry.is_dir(follow_symlinks=False):
            yield from _aside(Path(entry.path))


def open_file(path: Path) -> int:
    """A descriptor to read a file by; opening a pipe in its place does not wait.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, "not a file", str(path))
    return descriptor


def content(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        OSError: it cannot be read, or is no file.
        ValueError: it is too large to be one of ours.
    """
    with open(open_file(path), "rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise ValueError(f"more than {MAX_SIZE} bytes")
    return data
