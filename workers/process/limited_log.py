"""Log lines that a stranger can cause: `BURST` of a kind, then one a minute that says how many not.

    strangers.warning(log, "control peer refused uid=%d", uid)

A kind is a text (its constant part), and a `kind` beside it where that is one of a few known
names: never of a peer's own words, which would have a bucket each. What is left out is counted,
said with the next line of its kind or by `tell`, which every beat calls, and on the metrics page.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

BURST = 10  # lines of a kind at once: enough to see what it is
REFILL_S = 60.0  # then one in so long: 24 h of a flood are 1,450 lines of a kind
MAX_LINE = 240  # characters: an hour of every kind at once is far below a megabyte
MAX_KINDS = 500  # of which only defects could make more


class _Kind:
    __slots__ = ("at", "left_out", "level", "logger", "name", "tokens", "total")

    def __init__(self, logger: logging.Logger, level: int, name: str, now: float) -> None:
        self.logger = logger
        self.level = level
        self.name = name
        self.tokens = float(BURST)
        self.at = now
        self.left_out = 0
        self.total = 0

    def allows(self, now: float) -> bool:
        self.tokens = min(BURST, self.tokens + max(0.0, now - self.at) / REFILL_S)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class LimitedLog:
    """The lines of one process; `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def info(self, logger: logging.Logger, text: str, *args: Any, kind: str = "") -> None:
        """As `logger.info`, where it may."""
        self._line(logger, logging.INFO, text, args, kind)

    def warning(self, logger: logging.Logger, text: str, *args: Any, kind: str = "") -> None:
        """As `logger.warning`, where it may."""
        self._line(logger, logging.WARNING, text, args, kind)

    def error(
        self,
        logger: logging.Logger,
        text: str,
        *args: Any,
        kind: str = "",
        exc_info: BaseException | None = None,
    ) -> None:
        """As `logger.error`, where it may."""
        self._line(logger, logging.ERROR, text, args, kind, exc_info)

    def _line(
        self,
        logger: logging.Logger,
        level: int,
        text: str,
        args: tuple[Any, ...],
        kind: str,
        exc_info: BaseException | None = None,
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        now = self._now()
        found = self._kinds.get((text, kind))
        if found is None:
            if len(self._kinds) >= MAX_KINDS:
                text, kind = "line of too many kinds", ""
                args = ()
            name = f"{_constant(text)} {kind}".rstrip()
            found = self._kinds.setdefault((text, kind), _Kind(logger, level, name, now))
        if not found.allows(now):
            found.left_out += 1
            found.total += 1
            return
        line = text % args if args else text
        if len(line) > MAX_LINE:
            line = f"{line[:MAX_LINE]}..."
        left, found.left_out = found.left_out, 0
        logger.log(level, "%s%s", line, f" left_out={left}" if left else "", exc_info=exc_info)

    def tell(self) -> None:
        """Say what was left out of kinds that have fallen silent; every beat does."""
        now = self._now()
        for kind in self._kinds.values():
            if kind.left_out and kind.allows(now):
                left, kind.left_out = kind.left_out, 0
                kind.logger.log(kind.level, "%s: further lines left_out=%d", kind.name, left)

    def metrics(self) -> list[Any]:
        """Rows for the beat."""
        return [
            ["cpppod_log_left_out_total", {"line": kind.name}, kind.total]
            for kind in self._kinds.values()
            if kind.total
        ]


def _constant(text: str) -> str:
    """The constant words that a line begins with."""
    words = text.partition("%")[0].split()
    return " ".join(word for word in words if "=" not in word).rstrip(":")


strangers = LimitedLog()
