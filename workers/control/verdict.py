"""How a device is, in one sentence; and durations and rates as people say them."""

from typing import Any


def duration(seconds: float | None) -> str:
    """Seconds as people say them: `340 ms`, `2.5 s`, `3 min`, `4.2 h`, `3 d`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, divisor in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            digits = 1 if seconds / divisor < 10 else 0
            return f"{seconds / divisor:.{digits}f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def rate(per_second: float | None) -> str:
    """Polls per second: `2.0/s`, or `6.0/min` below one in two seconds."""
    if per_second is None:
        return "-"
    return f"{per_second:.1f}/s" if per_second >= 0.5 else f"{per_second * 60:.1f}/min"


def verdict(answer: dict[str, Any]) -> str:
    """One sentence on how a device is and, where it is not well, why."""
    told, name, state = answer["told"], answer["name"], answer["state"]
    since = f", last good {duration(answer['age_s'])} ago" if answer["age_s"] is not None else ""
    why = answer["last_error"] or _of_table(told)
    error = f": {why}" if why else ""
    if state == "disabled":
        return f"{name} is paused or not enabled; cpppoctl resume {name}"
    if state == "unknown":
        return f"{name} is unknown{error or ': its worker has not told of it yet'}"
    if state in ("offline", "connecting"):
        next_s, what = told.get("connection", {}).get("next_attempt_s"), "attempt"
        if told.get("absent"):
            next_s, what = told.get("next_probe_s"), "probe"
        when = f"; next {what} in {duration(next_s)}" if next_s is not None else ""
        return f"{name} is {state}{error}{since}{when}"
    if state == "demoted":
        probe = told.get("next_probe_s")
        when = f"; next probe in {duration(probe)}" if probe is not None else "; being probed"
        return f"{name} is demoted after {told.get('failures', 0)} failures in a row{error}{when}"
    if told.get("failures"):
        return f"{name} is {state}: {told['failures']} failures in a row{error}{since}"
    if answer["tags_bad"]:
        why = _of_table(told)
        some = f"{name} is {state}, but {answer['tags_bad']} of {answer['tags']} tags are bad"
        return f"{some}: {why}" if why else some
    return f"{name} is {state}: {rate(answer['rate_hz'])}{since}"


def _of_table(told: dict[str, Any]) -> str:
    """The first reason that the table of groups shows, "" where it shows none."""
    for group in told.get("groups", {}).values():
        for tag, why in group.get("bad", ()):
            return f"{tag}: {why}"
    return ""
