"""Kinds of values on command lines: `add_argument(type=...)` takes these.

seconds      1.5  500ms  10min  1h30m      above 0
pause        the same, and 0
period       as seconds, and stays the text that it is
whole(1)     a whole number of at least 1; whole(1, 247) up to 247
log_file     a file that can be appended to; it is made where it is not there
"""

import argparse
from collections.abc import Callable

from cpppod.protocols.model.durations import parse_seconds
from cpppod.workers.transport.sockets import words

LONGEST_S = 10 * 365 * 86_400  # a longer duration is a typing mistake


def seconds(text: str) -> float:
    """A duration above 0, in seconds.

    Raises:
        ArgumentTypeError: it is none.
    """
    value = pause(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def period(text: str) -> str:
    """A duration above 0, as it was typed.

    Raises:
        ArgumentTypeError: it is none.
    """
    seconds(text)
    return text


def pause(text: str) -> float:
    """A duration of 0 or more, in seconds.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        value = parse_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text}: not between 0 and 10 years")
    return value


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """What reads a whole number of at least `least`, and at most `most`."""
    limits = f"{least} or more" if most is None else f"{least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text, 0)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number, {limits}") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text}: {limits}")
        return value

    return read


def log_file(text: str) -> str:
    """A file that can be appended to.

    Raises:
        ArgumentTypeError: it cannot be.
    """
    try:
        with open(text, "ab"):
            return text
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {words(error)}") from None
