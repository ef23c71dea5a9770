"""Moving values out of a recorded history, for `modbus_sim --move ADDRESS=replay,file=PATH`."""

from bisect import bisect_right
from dataclasses import replace

from cpppod.history.recording import RecordingError, moments
from cpppod.protocols.modbus.motion import Motion
from cpppod.protocols.model.errors import EncodeError

MAX_MOMENTS = 1_000_000  # of one recording, in memory: 16 MB


def with_recording(motion: Motion) -> Motion:
    """The motion with the values of the first numeric tag of its file, over and over.

    `file=PATH` takes the first tag with a number in it, `file=PATH@PATTERN` the first that matches.

    Raises:
        EncodeError: there is no recording, or no number in it.
    """
    path, _, pattern = motion.file.partition("@")
    try:
        times, values = _read(path, pattern)
    except (RecordingError, OSError) as error:
        raise EncodeError(f"replay: {error}", status=3) from None
    if not values:
        raise EncodeError(f"replay: no number in {motion.file}", status=3)
    last = times[-1] - times[-2] if len(times) > 1 else 1.0
    lasts = max(times[-1] + last, 0.001)  # the last record holds as long as the one before it

    def value(seconds: float) -> float:
        at = bisect_right(times, seconds * motion.speed % lasts)
        return values[max(0, at - 1)]

    return replace(motion, value=value)


def _read(path: str, pattern: str) -> tuple[list[float], list[float]]:
    """Seconds since the first record, and the values of one tag."""
    times: list[float] = []
    values: list[float] = []
    chosen, start_us = "", 0
    for moment in moments(path, [pattern] if pattern else []):
        for tag, (value, _) in moment.samples.items():
            number = isinstance(value, int | float)
            if not number or (chosen and tag != chosen):
                continue
            chosen, start_us = tag, start_us or moment.time_us
            times.append((moment.time_us - start_us) / 1e6)
            values.append(float(value))
        if len(values) >= MAX_MOMENTS:
            break
    return times, values
