"""The write contract: who writes, what he may, what came of it, and the one record of an attempt.

    way in ─ Writer, tag, values ─► sent?  role, tag, type, limits, rate, expiry
                                    ├ no ──► failed, with its `Failure`
                                    └ yes ─► the tag's owner writes once and reads back
    outcome   done      the owner has it, and what it read back is published
              failed    the tag is as it was
              unknown   it may have been written: the tag is uncertain at once

Every way in (`WAYS`) makes an `Attempt` of each write, refused ones too, for the audit
(`protocols.model.audit`).
"""

import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cpppod.protocols.model.failures import Failure

WAYS = ("cip", "control", "web", "mqtt", "fleet")
WRITING_ROLES = frozenset(("operator", "engineer"))
MAX_TOLD = 100  # elements of a value in a record: a whole recipe is in the history, not here
MAX_TEXT = 400  # characters of a text, or bytes of a structure, in a record


class Outcome(StrEnum):
    """What came of a write."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class WriteRefused(Exception):
    """A write that may not be sent, and why."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes.

    Attributes:
        way: one of `WAYS`.
        user: the name that the way in knows him by, "" where it asks for none (CIP).
        address: where he is: `10.0.0.7`, `pid=4711`.
        session: of his: CIP session handle, web session, MQTT client.
        role: `viewer`, `operator`, `engineer`; what the way in has found out.
    """

    way: str
    user: str = ""
    address: str = ""
    session: str = ""
    role: str = "viewer"

    @property
    def source(self) -> str:
        """Him in one word, for the owner's messages."""
        return f"{self.way}:{self.user or self.address}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempted write, as the audit keeps it.

    Attributes:
        time_us: when its outcome was known, microseconds since 1970.
        tag: as its writer named it where there is no such tag, else its full name.
        first: element that `old` and `new` begin with.
        old, new: elements before and as asked for; None where nobody knows.
        status, extended: as a CIP client is answered.
        why: in words, "" where done.
        times: like attempts that this record stands for.
    """

    time_us: int
    way: str
    user: str
    address: str
    session: str
    tag: str
    first: int
    old: Any
    new: Any
    outcome: str
    status: int = 0
    extended: list[int] = field(default_factory=list)
    why: str = ""
    times: int = 1

    def plain(self) -> dict[str, Any]:
        """The attempt as a record has it, its values cut to what is worth keeping."""
        found = asdict(self)
        for key in ("old", "new"):
            found[key] = told(found[key])
        for key in ("tag", "why", "user", "address", "session"):
            found[key] = str(found[key])[:MAX_TEXT]
        if self.times == 1:
            del found["times"]
        return found


class RateLimit:
    """How often a tag may be written: so many at once, and as many again within each span.

    Args:
        text: `10/min`: a number, then `s`, `min` or `h`.

    Raises:
        ValueError: another text.
    """

    __slots__ = ("_at", "_count", "_left", "_span_s", "text")

    def __init__(self, text: str) -> None:
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError(f"rate {text!r:.40}: expected such as 10/min, 1/s or 4/h")
        self.text = text
        self._count = int(found[1])
        self._span_s = _SPANS_S[found[2]]
        self._left = float(self._count)
        self._at = float("-inf")

    def take(self, now: float) -> None:
        """Count a write at the second `now` of a clock that never goes back.

        Raises:
            WriteRefused: there were too many.
        """
        passed, self._at = now - self._at, now
        self._left = min(self._left + passed * self._count / self._span_s, float(self._count))
        if self._left < 1.0:
            raise WriteRefused(Failure.TOO_OFTEN, f"written too often: at most {self.text}")
        self._left -= 1.0


RATE_PATTERN = r"([1-9]\d{0,4})/(s|min|h)"
_RATE = re.compile(RATE_PATTERN)
_SPANS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}


def attempt(
    writer: Writer,
    tag: str,
    first: int,
    values: Any,
    *,
    time_us: int,
    old: Any = None,
    outcome: Outcome = Outcome.FAILED,
    status: int = 0,
    extended: list[int] | None = None,
    why: str = "",
) -> Attempt:
    """The record of what `writer` tried."""
    return Attempt(
        time_us,
        writer.way,
        writer.user,
        writer.address,
        writer.session,
        tag,
        first,
        old,
        values,
        str(outcome),
        int(status),
        list(extended or ()),
        why,
    )


def outcome_of(status: int, *, unknown: bool) -> Outcome:
    """The outcome that a reply's fields say."""
    if unknown:
        return Outcome.UNKNOWN
    return Outcome.FAILED if status else Outcome.DONE


def elements_of(value: Any, first: int, count: int) -> list[Any] | None:
    """The elements of a tag's value that a write of `count` from `first` on touches."""
    if value is None:
        return None
    if not isinstance(value, list):
        return [value]
    return value[first : first + count]


def refuse_role(writer: Writer) -> None:
    """Let a writer pass whose role may write.

    Raises:
        WriteRefused: it may not.
    """
    if writer.role not in WRITING_ROLES:
        text = f"needs the right operator; {writer.user or 'this user'} is {writer.role or 'none'}"
        raise WriteRefused(Failure.NOT_ALLOWED, text)


def refuse_expired(expires_us: int, now_us: int) -> None:
    """Let a write pass that is still wanted; `expires_us` 0 never expires.

    Raises:
        WriteRefused: it came too late.
    """
    if expires_us and now_us >= expires_us:
        late_s = (now_us - expires_us) / 1e6
        raise WriteRefused(Failure.NOT_SENT, f"not sent: expired {late_s:.1f} s ago")


def told(value: Any) -> Any:
    """A value as a record keeps it: plain JSON, bounded; bytes in hexadecimal."""
    if isinstance(value, bytes):
        text = value[:MAX_TEXT].hex()
        return f"{text}... {len(value)} bytes" if len(value) > MAX_TEXT else text
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}... {len(value)} characters"
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)  # JSON has no word for NaN
    if isinstance(value, list | tuple):
        shown = [told(item) for item in value[:MAX_TOLD]]
        more = len(value) - MAX_TOLD
        return [*shown, f"... {more} more"] if more > 0 else shown
    if isinstance(value, bool | int | None):
        return value
    return f"{value!r:.{MAX_TEXT}}"
