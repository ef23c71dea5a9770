"""Feeds for tests: real worker processes, ended with the test."""

import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.feed.running import RunningFeed


@pytest.fixture
def start_feed() -> Iterator[Callable[..., RunningFeed]]:
    """Starts feeds with `[feed]` options; they end with the test."""
    feeds: list[RunningFeed] = []
    folders: list[tempfile.TemporaryDirectory[str]] = []

    def start(**options: Any) -> RunningFeed:
        folders.append(tempfile.TemporaryDirectory(prefix="cf"))
        feeds.append(RunningFeed(pathlib.Path(folders[-1].name), options))
        return feeds[-1]

    yield start
    for feed in feeds:
        feed.stop()
    for folder in folders:
        folder.cleanup()
