"""The examples of `examples/` and `docs/feed.md` subscribe to a running feed."""

import asyncio
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from cpppod.workers.bus.zeromq import curve_public_key, new_curve_keys
from cpppod.workers.feed.access import read_secret_key
from tests.feed.running import RunningFeed, Source, beats
from tests.patience import PATIENCE_S
from tests.peers import node_modules
from tests.ports import adjacent_ports

StartFeed = Callable[..., RunningFeed]
ROOT = pathlib.Path(__file__).resolve().parents[2]
LOOPBACK = {"publish": "127.0.0.1:0", "request": "127.0.0.1:0"}


async def endpoints(feed: RunningFeed) -> tuple[str, str]:
    beat = await beats(feed, lambda beat: beat.extra.get("request"))
    return beat.extra["publish"], beat.extra["request"]


async def run(*command: str, beside: Callable[[], None], **environment: str) -> tuple[str, str]:
    """Output and errors of a program, while `beside` is called fifty times a second."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    ended = asyncio.create_task(process.communicate())
    while not ended.done():
        beside()
        await asyncio.wait([ended], timeout=0.02)
    output, errors = ended.result()
    assert process.returncode == 0, errors.decode()
    return output.decode(), errors.decode()


def counting(source: Source) -> Callable[[], None]:
    """Publishes a block whose counter is one more each time, and a heartbeat."""
    number = 0

    def publish() -> None:
        nonlocal number
        number += 1
        source.block(n=number)
        source.heartbeat()

    return publish


def test_python_example_prints_samples(start_feed: StartFeed) -> None:
    async def scenario() -> str:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        source.block(n=0)
        publish, request = await endpoints(feed)
        command = [sys.executable, str(ROOT / "examples" / "feed_subscriber.py"), publish]
        options = ["boiler/*", "--requests", request, "--count", "5"]
        output, _ = await run(*command, *options, beside=counting(source))
        source.close()
        return output

    lines = asyncio.run(scenario()).splitlines()
    numbers = [int(re.fullmatch(r"[0-9:.]+ boiler\.n (\d+)", line)[1]) for line in lines]  # type: ignore[index]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_node_example_takes_the_snapshot_and_every_block(start_feed: StartFeed) -> None:
    modules = node_modules()

    async def scenario() -> tuple[str, str]:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        source.block("pump", speed=7)
        source.block(n=0)
        publish, request = await endpoints(feed)
        command = ["node", str(ROOT / "examples" / "feed_subscriber.js"), publish]
        options = ["--requests", request, "--count", "30"]
        outcome = await run(*command, *options, beside=counting(source), NODE_PATH=str(modules))
        source.close()
        return outcome

    output, errors = asyncio.run(scenario())
    counters = json.loads(errors.splitlines()[-1])
    assert (counters["lost"], counters["snapshots"]) == (0, 1)
    assert counters["blocks"] >= 28  # two samples were there before
    assert "pump.speed 7" in output
    numbers = [int(line.split()[-1]) for line in output.splitlines() if "boiler.n" in line]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_node_example_repairs_what_it_missed_while_it_was_stopped(start_feed: StartFeed) -> None:
    modules = node_modules()
    count = 20_000

    async def scenario() -> tuple[list[str], dict[str, int]]:
        feed = start_feed(replay_bytes=32_000_000, **LOOPBACK)
        source = Source(feed.bus_dir)
        source.block(n=0)
        publish, request = await endpoints(feed)
        process = await asyncio.create_subprocess_exec(
            *("node", str(ROOT / "examples" / "feed_subscriber.js"), publish),
            *("--requests", request, "--count", str(2 * count - 2)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=10_000_000,
            env={**os.environ, "NODE_PATH": str(modules)},
        )
        assert process.stdout is not None
        await process.stdout.readline()  # the last value: it has joined
        source.block(n=1)
        process.send_signal(signal.SIGSTOP)
        for number in range(2, count):  # more bytes than the kernel's buffers take
            source.block(n=number, pad="x" * 1_000)
        wanted = ["cpppod_feed_blocks_total", {}, count]
        await beats(feed, lambda beat: wanted in beat.metrics)
        process.send_signal(signal.SIGCONT)
        ended = asyncio.create_task(process.communicate())
        while not ended.done():
            source.heartbeat()
            await asyncio.wait([ended], timeout=0.2)
        output, errors = ended.result()
        source.close()
        return output.decode().splitlines(), json.loads(errors.decode().splitlines()[-1])

    lines, counters = asyncio.run(scenario())
    numbers = [int(line.split()[-1]) for line in lines if "boiler.n " in line]
    assert numbers == list(range(1, count))
    assert counters["lost"] == 0
    assert counters["replayed"] > 0


def test_node_example_joins_with_keys(start_feed: StartFeed, tmp_path: pathlib.Path) -> None:
    modules = node_modules()
    server_public, server_secret = new_curve_keys()
    public, secret = new_curve_keys()
    key_file, clients = tmp_path / "feed.key", tmp_path / "clients.keys"
    key_file.write_bytes(server_secret)
    key_file.chmod(0o600)
    clients.write_bytes(public)

    async def scenario() -> str:
        keys = {"secret_key_file": str(key_file), "client_keys_file": str(clients)}
        feed = start_feed(**LOOPBACK, **keys)
        source = Source(feed.bus_dir)
        source.block(n=0)
        publish, request = await endpoints(feed)
        command = ["node", str(ROOT / "examples" / "feed_subscriber.js"), publish]
        options = ["--requests", request, "--count", "2"]
        options += [f"--public-key={public.decode()}", f"--secret-key={secret.decode()}"]
        options += [f"--server-key={server_public.decode()}"]  # a key may begin with a minus
        output, _ = await run(*command, *options, beside=counting(source), NODE_PATH=str(modules))
        source.close()
        return output

    assert "boiler.n" in asyncio.run(scenario())


@pytest.mark.parametrize("number", [0, 1])
def test_python_of_the_feeds_documentation_runs(start_feed: StartFeed, number: int) -> None:
    text = (ROOT / "docs" / "feed.md").read_text()
    snippet = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]
    publish, request = adjacent_ports()
    snippet = snippet.replace("tcp://127.0.0.1:44880", f"tcp://127.0.0.1:{publish}")

    async def scenario() -> list[bytes]:
        feed = start_feed(publish=f"127.0.0.1:{publish}", request=f"127.0.0.1:{request}")
        source = Source(feed.bus_dir)
        source.block(pressure=0)
        await endpoints(feed)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-c", snippet, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        lines = []
        for pressure in range(1, 4):
            lines.append(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
            source.block(pressure=pressure)
            source.heartbeat()
        process.kill()
        await process.wait()
        source.close()
        return lines

    lines = asyncio.run(scenario())
    assert all(line.strip() for line in lines)


def test_new_key_is_made_once_and_fits_its_public_key(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "cpppod.feed", "new-key", str(tmp_path / "feed.key")]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    secret = read_secret_key(tmp_path / "feed.key")
    assert made.stdout.splitlines()[-1].encode() == curve_public_key(secret)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert read_secret_key(tmp_path / "feed.key") == secret
