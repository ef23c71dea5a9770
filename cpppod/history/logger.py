"""Writing history files: a line per record, never an exception for a full or absent disk.

    with logger("plant.hst") as history:
        history.comment("boiler test")
        history.write({"40001": 7})

Rotated by size, age or order (`rotate`), the file becomes `.0`, `.0` becomes `.1` and so on; what
was `.0` is compressed in a thread, so that whoever writes goes on. `cpppod.history.files` has the
names and the form.
"""

import bz2
import gzip
import logging
import lzma
import os
import shutil
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cpppod.history.files import COMPRESSIONS, DataError, format_record, history_files
from cpppod.history.timestamp import timestamp

log = logging.getLogger(__name__)

_COMPRESS: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
RETRY_S = (
    1.0  # pause before another try to open: a full disk is asked once a second, not per record
)


class logger:
    """An open history file to append to; folders on the way are made.

    Failing to open or write is logged once, counted in `failed`, and tried again with the records
    that follow. True while open and without an error.

    Args:
        path: the file.
        bufsize: 1 writes every line through at once (for readers that follow), None or another size
            buffers.
        rotate_bytes, rotate_s: begin a new file from that size or age of the present one on; 0
            never.
        keep: how many rotated files to keep; 0 all.
        compress: `gz`, `bz2`, `xz`, or "" to leave rotated files as they are.
        keyframes: begin each new file with all values known, so that it can be played on its own.
        precision: digits below the second, 3 as documented, up to 6.
    """

    DFLT_BUF = None
    LINE_BUF = 1

    def __init__(
        self,
        path: str | os.PathLike[str],
        bufsize: int | None = DFLT_BUF,
        *,
        rotate_bytes: int = 0,
        rotate_s: float = 0.0,
        keep: int = 0,
        compress: str = "",
        keyframes: bool = False,
        precision: int = 3,
    ) -> None:
        if compress and compress not in COMPRESSIONS:
            raise ValueError(f"compress: {compress!r} is not one of {', '.join(COMPRESSIONS)}")
        self.path = Path(path)
        self.bufsize = bufsize
        self.rotate_bytes, self.rotate_s, self.keep = rotate_bytes, rotate_s, keep
        self.compress, self.keyframes, self.precision = compress, keyframes, precision
        self.written = 0
        self.failed = 0
        self.error = False
        self._values: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        self._size = 0
        self._opened_at = 0.0
        self._retry_at = 0.0
        self._last: timestamp | None = None
        self._lock = threading.RLock()
        self._compressing: threading.Thread | None = None
        self.open()

    def __bool__(self) -> bool:
        return self._file is not None and not self.error

    def __enter__(self) -> "logger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def opened(self) -> bool:
        """Whether the file is open."""
        return self._file is not None

    def open(self) -> bool:
        """Open the file, if it is not; whether it is open now."""
        with self._lock:
            if self._file is None:
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    size = 0 if self.bufsize == 1 else self.bufsize or -1
                    self._file = open(self.path, "ab", size)  # noqa: SIM115
                    self._size = self._file.tell()
                    self._opened_at = time.monotonic()
                except OSError as error:
                    self._failure("open", error)
            return self._file is not None

    def close(self) -> None:
        """Write out what is buffered, close, and wait for a file that is still being compressed."""
        with self._lock:
            self._close_file()
            if self._compressing is not None:
                self._compressing.join()
                self._compressing = None

    def flush(self) -> None:
        """Write out what is buffered."""
        with self._lock:
            if self._file is not None:
                try:
                    self._file.flush()
                except OSError as error:
                    self._failure("write", error)

    def comment(self, text: str, encoding: str | None = None) -> bool:
        """Add a line `# text` (a line each, where it has several); whether it was written."""
        body = "".join(f"# {line}\n" for line in text.splitlines() or [""])
        return self._append(body.encode(encoding or "ascii", "backslashreplace"))

    def write(
        self,
        data: Any,
        now: "float | timestamp | None" = None,
        serial: Any = None,
        encoding: str | None = None,
    ) -> bool:
        """Add a record: a map of register or tag to value, or a note; whether it was written.

        Raises:
            DataError: JSON cannot say `data` or `serial`.
        """
        moment = now if isinstance(now, timestamp) else timestamp(now)
        line = format_record(moment, serial, data, precision=self.precision)
        with self._lock:
            if self._due():
                self.rotate(moment)
            if not self._append(line.encode(encoding or "ascii")):
                return False
            if self.keyframes and isinstance(data, dict):
                self._values.update((str(key), value) for key, value in data.items())
            self.written += 1
            self._last = moment
            return True

    def _due(self) -> bool:
        if self._file is None or not self._size:
            return False
        return bool(
            (self.rotate_bytes and self._size >= self.rotate_bytes)
            or (self.rotate_s and time.monotonic() - self._opened_at >= self.rotate_s)
        )

    def rotate(self, now: "timestamp | None" = None) -> None:
        """Begin a new file; the present one becomes `.0`."""
        with self._lock:
            self._close_file()
            if self._compressing is not None:
                self._compressing.join()
                self._compressing = None
            try:
                self._shift()
            except OSError as error:
                self._failure("rotate", error)
            self.open()
            if self.keyframes and self._values:
                moment = now if now is not None else timestamp()
                line = format_record(moment, None, self._values, precision=self.precision)
                self._append(line.encode("ascii"))

    def _shift(self) -> None:
        """Make room for `.0`, drop what is beyond `keep`, and have the new `.0` compressed."""
        rotated = [entry for entry in history_files(self.path) if entry != self.path]
        for entry in reversed(rotated):
            rest = entry.name[len(self.path.name) + 1 :]
            number, _, suffix = rest.partition(".")
            if self.keep and int(number) + 1 >= self.keep:
                entry.unlink()
                continue
            name = f"{self.path.name}.{int(number) + 1}" + (f".{suffix}" if suffix else "")
            entry.rename(entry.with_name(name))
        newest = self.path.with_name(f"{self.path.name}.0")
        self.path.rename(newest)
        if self.compress:
            self._compressing = threading.Thread(
                target=_compress, args=(newest, self.compress), daemon=True
            )
            self._compressing.start()

    def _append(self, line: bytes) -> bool:
        with self._lock:
            if self._file is None and (time.monotonic() < self._retry_at or not self.open()):
                self.failed += 1
                return False
            assert self._file is not None
            try:
                self._file.write(line)
            except OSError as error:
                self.failed += 1
                self._failure("write", error)
                return False
            self._size += len(line)
            if self.error:
                log.info("history file works again path=%s", self.path)
                self.error = False
            return True

    def _failure(self, what: str, error: OSError) -> None:
        """Note a failure, log the first of a row, and start over with a fresh file object."""
        if not self.error:
            log.error(
                "history file cannot be used path=%s what=%s error=%s", self.path, what, error
            )
        self.error = True
        self._retry_at = time.monotonic() + RETRY_S
        file, self._file = self._file, None
        if file is not None:
            self._mend(file)

    def _mend(self, file: IO[bytes]) -> None:
        """Close after a failed write; half a line that went out is ended, so that the next stays
        whole."""
        try:
            file.close()
        except OSError:
            pass
        try:
            with open(self.path, "rb+") as again:
                size = again.seek(0, os.SEEK_END)
                if size:
                    again.seek(-1, os.SEEK_END)
                    if again.read(1) != b"\n":
                        again.truncate(size - _torn(again, size))
        except OSError:
            pass

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._failure("close", error)


def _torn(file: IO[bytes], size: int, *, span: int = 65_536) -> int:
    """How many bytes after the last line end of a file of `size` bytes; 0 where that is too far
    back."""
    file.seek(max(0, size - span))
    tail = file.read(span)
    end = tail.rfind(b"\n")
    if end < 0:
        return size if size <= span else 0
    return len(tail) - end - 1


def _compress(path: Path, kind: str) -> None:
    """Replace a rotated file by its compressed self; whichever of both is there is always whole."""
    target = path.with_name(f"{path.name}.{kind}")
    part = path.with_name(f"{path.name}.{kind}.part")
    try:
        with open(path, "rb") as source, _COMPRESS[kind](part, "wb") as packed:
            shutil.copyfileobj(source, packed, 1024 * 1024)
        part.rename(target)
        path.unlink()
    except OSError as error:
        log.warning("history file stays uncompressed path=%s error=%s", path, error)
        part.unlink(missing_ok=True)


__all__ = ["DataError", "logger"]
