"""Which line of a TOML file a key stands in.

    [[device.boiler.group]]      1: device, device.boiler, device.boiler.group, ...group[0]
    period = "soon"              2: device.boiler.group[0].period
    tags = [ { name = "a" } ]    3: ...tags, ...tags[0], ...tags[0].name

For texts that `tomllib` has read: what is no TOML gives no line, and never an error.
"""

import re
from bisect import bisect_right

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r'[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|\'([^\'\n]*)\')[ \t]*')
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^\']|\'(?!\'\'))*\'{3,5}'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def lines_of(text: str) -> dict[KeyPath, int]:
    """Key path -> number of its line, the first is 1; of keys, tables and list items."""
    return _Scan(text).lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._ends = [at for at, character in enumerate(text) if character == "\n"]
        self._at = 0
        self._counts: dict[KeyPath, int] = {}  # of arrays of tables
        table: KeyPath = ()
        while self._skip() < len(text):
            before = self._at
            if text.startswith("[", before):
                table = self._header()
            else:
                self._pair(table)
            if self._at == before:
                return  # no TOML

    def _skip(self) -> int:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _take(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._at):
            return False
        self._at += len(symbol)
        return True

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect_right(self._ends, self._at - 1) + 1)

    def _header(self) -> KeyPath:
        several = self._take("[[")
        if not several:
            self._take("[")
        *parents, last = self._keys() or [""]
        path: KeyPath = ()
        for key in parents:
            path = self._open((*path, key))
        path = (*path, last)
        self._note(path)
        if several:
            self._counts[path] = self._counts.get(path, -1) + 1
        path = self._open(path)
        self._take("]]" if several else "]")
        return path

    def _open(self, path: KeyPath) -> KeyPath:
        """The table that `path` leads into: of an array of tables the newest."""
        self._note(path)
        if path in self._counts:
            path = (*path, self._counts[path])
            self._note(path)
        return path

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while found := _KEY.match(self._text, self._at):
            keys.append(next(key for key in found.groups() if key is not None))
            self._at = found.end()
            if not self._take("."):
                break
        return keys

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            end, self._at = self._at, start
            self._note(path)
            self._at = end
        if self._take("="):
            self._skip()
            self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            index = 0
            while self._skip() < len(self._text) and not self._take("]"):
                self._note((*path, index))
                self._value((*path, index))
                self._skip()
                self._take(",")
                index += 1
        elif self._take("{"):
            while self._skip() < len(self._text) and not self._take("}"):
                self._pair(path)
                self._skip()
                self._take(",")
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = found.end() if found else len(self._text)
