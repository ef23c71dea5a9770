"""The audit read: records that match a question, and whole chains looked through for forgery.

    select    the newest records that match, of all chains, by time
    verify    a `Report` for each chain: what a `Verifier` finds in its files

Both are for a thread of their own, or a program: they read up to 64 MB a chain.
"""

import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cpppod.protocols.model.audit import Finding, Verifier, claimed, unseal
from cpppod.workers.audit.files import FOLDER, HEAD, files_of, head_of, key_of

MAX_RECORDS = 1_000  # of one answer
TRIES = 5  # the oldest file may go while a chain is being opened


class QuestionError(ValueError):
    """The question makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which records; "" and 0 are any. `tag` and `user` may have `*` and `?`."""

    tag: str = ""
    user: str = ""
    way: str = ""
    outcome: str = ""
    writer: str = ""
    since_us: int = 0
    until_us: int = 0
    limit: int = 100

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "Question":
        """From a verb's arguments.

        Raises:
            QuestionError: one of another kind, or out of range.
        """
        found: dict[str, Any] = {}
        for name in cls.__slots__:
            value = arguments.get(name)
            wanted = int if name in ("since_us", "until_us", "limit") else str
            if value is None:
                continue
            if type(value) is not wanted:
                raise QuestionError(f"{name}: expected {_KINDS[wanted]}")
            found[name] = value
        question = cls(**found)
        if not 1 <= question.limit <= MAX_RECORDS:
            raise QuestionError(f"limit: expected 1 to {MAX_RECORDS}")
        return question

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Whether the record is one of those asked for."""
        time_us = body.get("time_us", 0)
        return (
            self.since_us <= time_us
            and (not self.until_us or time_us <= self.until_us)
            and self.way in ("", body.get("way"))
            and self.outcome in ("", body.get("outcome"))
            and _like(self.tag, body.get("tag"))
            and _like(self.user, body.get("user"))
        )


_KINDS: dict[type, str] = {int: "a whole number", str: "a text"}


def _like(pattern: str, text: Any) -> bool:
    return not pattern or fnmatchcase(str(text).lower(), pattern.lower())


@dataclass(slots=True)
class Report:
    """What came of looking a chain through.

    Attributes:
        newest, hash: number and seal of its last record.
    """

    writer: str
    records: int = 0
    newest: int = 0
    hash: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that needs a forger."""
        return all(finding.harmless for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """The report as the control socket has it."""
        return {
            "writer": self.writer,
            "ok": self.ok,
            "records": self.records,
            "newest": self.newest,
            "hash": self.hash,
            "findings": [
                {"kind": each.kind, "where": each.where, "text": each.text, "ok": each.harmless}
                for each in self.findings
            ],
        }


def writers_of(state_dir: str | os.PathLike[str]) -> list[str]:
    """Whose chains there are."""
    folder = Path(state_dir) / FOLDER
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def select(state_dir: str | os.PathLike[str], question: Question) -> list[dict[str, Any]]:
    """The newest records that match, oldest first; each with `sealed`: whether its seal fits.

    Raises:
        OSError: the audit cannot be read.
    """
    key = key_of(state_dir)
    found: list[dict[str, Any]] = []
    for writer in writers_of(state_dir):
        if question.writer in ("", writer):
            found += _newest(Path(state_dir) / FOLDER / writer, key, question)
    newest = heapq.nlargest(question.limit, found, key=lambda body: body.get("time_us", 0))
    return newest[::-1]


def _newest(folder: Path, key: bytes, question: Question) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in reversed(files_of(folder)):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:  # the oldest, gone meanwhile
            continue
        for line in reversed(lines):
            body = claimed(line)
            if question.matches(body):
                for name in ("prev", "mac", "key"):
                    body.pop(name, None)
                found.append({**body, "sealed": unseal(key, line) is not None})
                if len(found) >= question.limit:
                    return found
    return found


Lines = Callable[[], Iterator[tuple[str, bytes]]]


def verify(
    state_dir: str | os.PathLike[str], anchors: Mapping[str, tuple[int, str]] | None = None
) -> list[Report]:
    """Every chain looked through.

    Args:
        anchors: writer -> number and seal (or what it begins with) of a record, as the feed or the
            metrics told them: a chain that was put back, or written anew, is found by them.

    Raises:
        OSError: the audit cannot be read.
    """
    key = key_of(state_dir)
    told = anchors or {}
    writers = sorted({*writers_of(state_dir), *told})
    return [_verify(Path(state_dir) / FOLDER / each, key, told.get(each)) for each in writers]


def _verify(folder: Path, key: bytes, anchor: tuple[int, str] | None) -> Report:
    with ExitStack() as stack:
        files = _opened(folder, stack)
        head = head_of(folder, key)  # behind them: what it counts is in them
        verifier = Verifier(key, folder.name, head, anchor)
        for path, file in files:
            for number, line in enumerate(file, 1):
                verifier.line(f"{folder.name}/{path.name}:{number}", line.rstrip(b"\n"))
    findings = verifier.finish()
    if head is None and verifier.records:
        kind = "changed" if (folder / HEAD).exists() else "removed"
        findings.append(Finding(kind, f"{folder.name}/{HEAD}", "no head that can be trusted"))
    newest = verifier.newest
    report = Report(folder.name, verifier.records, findings=findings)
    if newest is not None:
        report.newest, report.hash = newest.number, newest.mac
    return report


def _opened(folder: Path, stack: ExitStack) -> list[tuple[Path, Any]]:
    """A chain's files, all open: what is removed for want of room stays readable."""
    for _ in range(TRIES):
        try:
            return [(path, stack.enter_context(open(path, "rb"))) for path in files_of(folder)]
        except FileNotFoundError:
            continue
    return []
