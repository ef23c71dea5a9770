"""Crash back-off: how long a worker waits before it tries again, remembered over its deaths.

`runtime_dir/crashes/<worker>` holds `<crashes in a row> <start, monotonic us, or 0>`.

    event                          count        start
    started                        as it was    now      (+1 first, if the last start never got old)
    lived for `YOUNG_S`            as it was    0
    ran well for `HEALTHY_S`       0            0
    crashed (an exception)         +1           0
    left when asked to             0            0

Killed workers come back at once unless they die young; those that crash wait min(30 s, 0.5 x 2^n),
without end: nothing ever gives up.
"""

import os
import pathlib

YOUNG_S = 1.0  # who is killed before this age counts as crashed: supervisord's startsecs
HEALTHY_S = 60.0  # so long without a crash and the count begins anew
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
MAX_COUNT = 16  # 0.5 x 2^16 is far beyond the longest wait


class CrashCounter:
    """The crashes of one worker; every method stores what it says at once."""

    def __init__(self, runtime_dir: str | os.PathLike[str], worker: str) -> None:
        folder = pathlib.Path(runtime_dir) / "crashes"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / worker
        self.count, self._started_us = self._load()

    def started(self, now_us: int) -> float:
        """Seconds to wait before work begins."""
        if self._started_us:
            self.count = min(self.count + 1, MAX_COUNT)
        self._store(now_us)
        if self.count == 0:
            return 0.0
        return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (self.count - 1)))

    def grew_up(self) -> None:
        """The worker is older than `YOUNG_S`: from now on being killed is not its fault."""
        self._store(0)

    def crashed(self) -> None:
        """An exception ended the worker."""
        self.count = min(self.count + 1, MAX_COUNT)
        self._store(0)

    def cleared(self) -> None:
        """The worker ran well for `HEALTHY_S`, or left when it was asked to."""
        self.count = 0
        self._store(0)

    def _load(self) -> tuple[int, int]:
        try:
            count, started_us = self._path.read_text(encoding="ascii").split()
            return min(int(count), MAX_COUNT), int(started_us)
        except (OSError, ValueError):
            return 0, 0

    def _store(self, started_us: int) -> None:
        self._started_us = started_us
        try:
            self._path.write_text(f"{self.count} {started_us}\n", encoding="ascii")
        except OSError:
            pass  # a full disk must not stop a worker; it only forgets to wait
