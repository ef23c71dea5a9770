"""The feed's sockets on TCP: opened, reopened at the same place, and said when they cannot be."""

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from cpppod.workers.bus.zeromq import Bus
from cpppod.workers.feed.public import PublicFeed, PublicSettings
from tests.patience import PATIENCE_S
from tests.ports import free_port


def settings() -> PublicSettings:
    return PublicSettings(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", b"", ())


async def until_open(feed: PublicFeed) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while feed.trouble:
            feed.tick(0.0)
            await asyncio.sleep(0.05)


def test_sockets_that_are_opened_anew_at_their_place_make_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a reload of the keys does: the closed ones may hold their ports for a moment."""

    async def scenario() -> None:
        bus, where = Bus("feed", tmp_path), settings()
        for _ in range(5):
            feed = PublicFeed(bus, where, lambda request: b"")
            await until_open(feed)
            feed.close()
        bus.close()

    with caplog.at_level(logging.INFO, "cpppod"):
        asyncio.run(scenario())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert sum("feed on TCP" in record.message for record in caplog.records) == 5


def test_a_port_that_stays_taken_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        bus, where = Bus("feed", tmp_path), settings()
        host, port = where.publish.split(":")
        with socket.create_server((host, int(port))):
            feed = PublicFeed(bus, where, lambda request: b"")
            for _ in range(5):
                feed.tick(0.0)
            assert "in use" in feed.trouble
        await until_open(feed)
        feed.close()
        bus.close()

    with caplog.at_level(logging.INFO, "cpppod"):
        asyncio.run(scenario())
    assert sum("feed not on TCP" in record.message for record in caplog.records) == 1
