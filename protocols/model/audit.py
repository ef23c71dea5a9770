"""The audit's form: a line of JSON for each attempt, sealed with a key and chained to the last.

    {"n": 17, "writer": "control", "key": "5f0c...", "prev": "<mac of 16>", ...attempt...,
     "torn": 31, "missed": 2, "mac": "<HMAC-SHA-256 of all before it, 64 hex digits>"}

    torn     bytes of half a line before this one: its writer was killed while writing it
    missed   attempts of which no record could be written before this one: the disk refused it
    headless there were records before this one, and no head that could be trusted
    head     a file with the numbers of the oldest and newest record on disk, sealed likewise

What an examiner without the key changes, a `Verifier` finds and names:

    seal does not fit   changed       number twice                  repeated
    numbers missing     removed       lower number behind higher    reordered
    ends before head    cut           half a last line              torn (no forgery)

A line that is half there is torn also where the head counts it, as a disk that lost power may leave
it: what is left of it says whose it was. More than that one record missing is cut.
"""

import hmac
import json
from dataclasses import dataclass, field
from typing import Any

_MAC = b',"mac":"'
_MAC_LENGTH = 64
_TAIL = len(_MAC) + _MAC_LENGTH + 2  # ,"mac":"<64>"}
START = "0" * _MAC_LENGTH  # `prev` of the first record of all
HARMLESS = frozenset(("torn", "not written"))


def key_id(key: bytes) -> str:
    """What records say of the key that sealed them."""
    return hmac.digest(key, b"id", "sha256").hex()[:16]


def seal(key: bytes, body: dict[str, Any]) -> tuple[bytes, str]:
    """The line (without its end) of a record or a head, and its MAC."""
    plain = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()[:-1]
    mac = hmac.digest(key, plain, "sha256").hex()
    return plain + _MAC + mac.encode() + b'"}', mac


@dataclass(frozen=True, slots=True)
class Record:
    """A line that is what its writer wrote."""

    number: int
    mac: str
    body: dict[str, Any]


def is_whole(line: bytes) -> bool:
    """Whether `line` ends as a record does: half of one does not."""
    return line.endswith(b'"}') and line[-_TAIL:].startswith(_MAC)


def unseal(key: bytes, line: bytes) -> Record | None:
    """The record in `line`; None where its seal does not fit."""
    if not is_whole(line):
        return None
    plain, mac = line[:-_TAIL], line[-2 - _MAC_LENGTH : -2]
    if not hmac.compare_digest(hmac.digest(key, plain, "sha256").hex().encode(), mac):
        return None
    body = json.loads(plain + b"}")
    return Record(int(body.get("n", 0)), mac.decode(), body)


def claimed(line: bytes) -> dict[str, Any]:
    """What a line says, whether or not it is true; {} where it says nothing."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


@dataclass(frozen=True, slots=True)
class Head:
    """Which records a writer has on disk: all from `oldest` to `newest`, and the last one's MAC."""

    oldest: int
    newest: int
    mac: str

    def line(self, key: bytes, writer: str) -> bytes:
        """The head as its file has it."""
        body = {"head": writer, "oldest": self.oldest, "newest": self.newest, "hash": self.mac}
        return seal(key, body)[0]

    @classmethod
    def read(cls, key: bytes, writer: str, line: bytes) -> "Head | None":
        """The head in `line`; None where its seal does not fit, or it is another writer's."""
        found = unseal(key, line)
        if found is None or found.body.get("head") != writer:
            return None
        body = found.body
        return cls(int(body["oldest"]), int(body["newest"]), str(body["hash"]))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        kind: `changed`, `removed`, `reordered`, `repeated`, `cut`, `other key`; and, without any
            forgery, `torn` and `not written`.
        where: file and line.
    """

    kind: str
    where: str
    text: str

    @property
    def harmless(self) -> bool:
        """Whether it needs no forger."""
        return self.kind in HARMLESS


@dataclass(slots=True)
class Verifier:
    """Looks through one writer's lines, in the order of its files.

    Args:
        head: what its head file says; None where there is none, or it is not to be trusted.
        anchor: (number, MAC) of a record as it was told elsewhere, the feed or the metrics.
    """

    key: bytes
    writer: str
    head: Head | None = None
    anchor: tuple[int, str] | None = None
    records: int = 0
    newest: Record | None = None
    findings: list[Finding] = field(default_factory=list)
    _gaps: list[tuple[int, int, str]] = field(default_factory=list)
    _halves: list[tuple[str, int]] = field(default_factory=list)
    _macs: dict[int, str] = field(default_factory=dict)

    def line(self, where: str, line: bytes) -> None:
        """Take the next line, without its end; `where` says which it is."""
        found = unseal(self.key, line)
        if found is not None and found.body.get("writer") == self.writer:
            self._record(where, found)
        elif not line:
            return  # where half a line, of nothing but its end, was torn
        elif not is_whole(line):
            self._halves.append((where, len(line)))
        else:
            self._forged(where, line)

    def _forged(self, where: str, line: bytes) -> None:
        self._spoiled()
        said = claimed(line)
        number = said.get("n")
        if said.get("key") not in (None, key_id(self.key)):
            self._note("other key", where, f"record {number} was sealed with another key")
        else:
            self._note("changed", where, f"record {number} is not as it was written")
        oldest = self.head.oldest if self.head else 1
        expected = self.newest.number + 1 if self.newest else oldest
        if isinstance(number, int) and number == expected:
            self.newest = Record(number, "", {})  # which of the chain it was is beyond doubt

    def _record(self, where: str, found: Record) -> None:
        self.records += 1
        torn = self._torn(found)
        if missed := found.body.get("missed"):
            text = f"{missed} attempts before record {found.number} could not be written down"
            self._note("not written", where, text)
        if found.body.get("headless"):
            self._note("removed", where, f"no head was there before record {found.number}")
        if self.anchor and found.number == self.anchor[0]:
            self._macs[found.number] = found.mac
        last = self.newest
        if last is None:
            oldest = self.head.oldest if self.head else 1 if self.anchor else found.number
            self._missing(oldest, found.number - 1, where)
        elif found.number > last.number:
            self._missing(last.number + 1 + torn, found.number - 1, where)
            follows = found.number == last.number + 1 and last.mac
            if follows and found.body.get("prev") != last.mac:
                text = f"record {found.number} does not follow what stands before it"
                self._note("changed", where, text)
        else:
            self._behind(where, found, last.number)
            return
        self.newest = found

    def _behind(self, where: str, found: Record, last: int) -> None:
        """A record whose number is not higher than the last: moved, or there twice."""
        number = found.number
        for at, (low, high, place) in enumerate(self._gaps):
            if low <= number <= high:
                left = [(low, number - 1, place), (number + 1, high, place)]
                self._gaps[at : at + 1] = [gap for gap in left if gap[0] <= gap[1]]
                self._note("reordered", where, f"record {number} stands behind record {last}")
                return
        self._note("repeated", where, f"record {number} is there twice")

    def _missing(self, low: int, high: int, where: str) -> None:
        if low <= high:
            self._gaps.append((low, high, where))

    def _torn(self, found: Record) -> int:
        """Half lines before a record are torn where the record says so, else something was cut.

        Returns:
            1 where a record was torn that had its number, else 0.
        """
        size = sum(length for _, length in self._halves)
        torn = bool(size) and found.body.get("torn") == size
        if torn:
            for where, length in self._halves:
                self._note("torn", where, f"half a line of {length} bytes")
            self._halves.clear()
        self._spoiled()
        last = self.newest.number if self.newest else 0
        return int(torn and found.number == last + 2)

    def _spoiled(self) -> None:
        for where, length in self._halves:
            self._note("changed", where, f"{length} bytes that are no record")
        self._halves.clear()

    def finish(self) -> list[Finding]:
        """What was found; call it after the last line."""
        for low, high, where in self._gaps:
            self._note("removed", where, f"{_range(low, high)} missing before this")
        last = self.newest.number if self.newest else 0
        torn = int(len(self._halves) == 1)
        for newest, mac, told_by in self._told():
            if newest > last + torn:
                text = f"{_range(last + 1, newest)} missing at the end, by {told_by}"
                self._note("cut", "end", text)
            elif mac and (known := self._macs.get(newest)) and not known.startswith(mac):
                self._note("changed", "end", f"record {newest} has another hash than {told_by}")
        at_end = not any(each.kind == "cut" for each in self.findings)
        for where, length in self._halves:
            kind = "torn" if at_end else "changed"
            self._note(kind, where, f"half a line of {length} bytes")
        self._halves.clear()
        return self.findings

    def _told(self) -> list[tuple[int, str, str]]:
        """(newest number, its MAC, who says so)."""
        told = []
        if self.head is not None:
            told.append((self.head.newest, "", "its head"))
        if self.anchor is not None:
            told.append((*self.anchor, "what was told elsewhere"))
        return told

    def _note(self, kind: str, where: str, text: str) -> None:
        self.findings.append(Finding(kind, where, text))


def _range(low: int, high: int) -> str:
    return f"record {low} is" if low == high else f"records {low} to {high} are"
