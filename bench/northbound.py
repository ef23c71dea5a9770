"""What goes out over MQTT and to a fleet, beside bare clients of the same payloads.

    python bench/run.py northbound      BLOCKS=20000 of 100 samples

A journal is made; then a bare client sends its blocks, and then a gateway does. What counts is what
arrives: a subscriber's messages, a stream's first and last time, rows of a database. Ratios are of
one run.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
from nats.aio.client import Client

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.journal import Kind, encode_record
from cpppod.workers.journal.files import JournalLimits, JournalWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.brokers import Broker
from tests.gateway.running import RunningGateway
from tests.nats_server import NatsServer
from tests.ports import free_port

BLOCKS = int(os.environ.get("BLOCKS", "20000"))
TAGS = 100
IN_FLIGHT = 256
EPOCH = 1_796_000_000_000
HEAD = """\
[gateway]
name = "bench"
id = "gw-bench"
cpppo_cfg = false
[[listener]]
address = "127.0.0.1:{listener}"
[feed]
publish = ""
[metrics]
enabled = false
[device.d]
driver = "modbus-tcp"
address = "127.0.0.1:{device}"
[[device.d.group]]
name = "g"
period = "1h"
tags = [{tags}]
"""


def blocks() -> Iterator[feed.ValueMessage]:
    """Blocks of floats that all differ."""
    names = [f"t{at}" for at in range(TAGS)]
    now_us = time.time_ns() // 1000
    for number in range(1, BLOCKS + 1):
        values = [number + at / 7 for at in range(TAGS)]
        body = feed.Block(TAGS, names, values, 0)
        yield feed.ValueMessage(
            "poller-d", EPOCH, number, 0, now_us, now_us, number, feed.Kind.BLOCK, body
        )


def make_journal(state: Path) -> None:
    """The journal of a worker that is not there."""
    limits = JournalLimits(bytes=1 << 34, age_s=1e9, segment_s=1e9, sync_s=1e9)
    writer = JournalWriter(state / "journal" / "poller-d", EPOCH, limits, gateway="gw-bench")
    writer.open(time.time())
    for message in blocks():
        record = encode_record(
            Kind.BLOCK,
            b"d/g/",
            message.encode("gw-bench"),
            sequence=message.sequence,
            samples=TAGS,
        )
        writer.append(record, time.time())
    writer.close()


@contextmanager
def gateway(section: str) -> Iterator[RunningGateway]:
    """A gateway with that journal and an outlet."""
    found = RunningGateway()
    listener, device = free_port(), free_port()
    found.ports |= {port: port for port in range(1024, 65_536)}
    tags = ", ".join(
        f'{{ name = "t{at}", address = "HR:{at * 2}", type = "REAL" }}' for at in range(TAGS)
    )
    text = HEAD.format(listener=listener, device=device, tags=tags) + section
    try:
        make_journal(found.state)
        found.launch(configuration=text)
        yield found
    finally:
        found.stop()


@asynccontextmanager
async def counting(broker: Broker, topic: str) -> AsyncIterator[Callable[[int], Any]]:
    """A subscriber; what it gives waits for so many messages, and says their rate."""
    times: list[float] = []
    enough = asyncio.Event()
    wanted = 0

    async def listen(client: aiomqtt.Client) -> None:
        async for _ in client.messages:
            times.append(time.monotonic())
            if wanted and len(times) >= wanted:
                enough.set()

    async def rate(count: int) -> float:
        nonlocal wanted
        wanted = count
        if len(times) < count:
            await enough.wait()
        return (count - 1) / (times[count - 1] - times[0])

    async with aiomqtt.Client("127.0.0.1", broker.port, max_queued_incoming_messages=0) as client:
        await client.subscribe(topic, 1)
        task = asyncio.ensure_future(listen(client))
        try:
            yield rate
        finally:
            task.cancel()


async def bare_mqtt(broker: Broker, payloads: list[bytes]) -> float:
    """aiomqtt alone, with 256 in flight."""
    client = aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        max_inflight_messages=IN_FLIGHT,
        max_queued_outgoing_messages=0,
    )
    client.pending_calls_threshold = IN_FLIGHT
    async with counting(broker, "bare") as rate, client:
        waiting = iter(payloads)

        async def some() -> None:
            for payload in waiting:
                await client.publish("bare", payload, 1)

        await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
        return float(await rate(len(payloads)))


async def ours_mqtt(broker: Broker, form: str, topic: str) -> float:
    """A gateway's outlet."""
    section = f'[[mqtt]]\nname = "b"\naddress = "{broker.address}"\nformat = "{form}"\n'
    async with counting(broker, topic) as rate:
        with await asyncio.to_thread(gateway(section).__enter__) as running:
            try:
                return float(await rate(BLOCKS))
            finally:
                await asyncio.to_thread(running.stop)


def mqtt(folder: Path) -> None:
    """JSON and Sparkplug beside bare."""
    broker = Broker(folder, "allow_anonymous true\n").start()
    tags = {f"t{at}": {"value": 1234.142857142857 + at, "quality": "good"} for at in range(TAGS)}
    payload = json.dumps({"gateway": "gw-bench", "sequence": 1, "tags": tags}).encode()
    try:
        bare = asyncio.run(bare_mqtt(broker, [payload] * BLOCKS))
        for form, topic in (("json", "cpppod/bench/d/g"), ("sparkplug", "spBv1.0/+/DDATA/#")):
            ours = asyncio.run(ours_mqtt(broker, form, topic))
            print(f"mqtt {form:<10} {ours:8,.0f} /s  bare {bare:8,.0f} /s  ratio {ours / bare:.2f}")
    finally:
        broker.kill()


async def bare_pipeline(client: Client, messages: list[bytes]) -> float:
    """256 in flight over an own inbox, each acknowledged; messages a second."""
    inbox = client.new_inbox()
    window = asyncio.Semaphore(IN_FLIGHT)
    left = len(messages)
    done = asyncio.Event()

    async def acknowledged(_: Any) -> None:
        nonlocal left
        left -= 1
        window.release()
        if not left:
            done.set()

    await client.subscribe(f"{inbox}.*", cb=acknowledged)
    began = time.monotonic()
    for number, data in enumerate(messages):
        await window.acquire()
        await client.publish("bare.x", data, reply=f"{inbox}.{number}")
    await done.wait()
    return len(messages) / (time.monotonic() - began)


def fleet(folder: Path, servers: int, sync: str) -> None:
    """The uplink beside a bare pipeline, on as many servers."""
    routes = [free_port() for _ in range(servers)]
    listed = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in routes)
    hub = []
    for at in range(servers):
        own = folder / f"{sync}-{servers}-{at}"
        own.mkdir()
        more = f"server_name: n{at}\n"
        if servers > 1:
            more += f"cluster {{ name: hub, listen: 127.0.0.1:{routes[at]}, routes: [{listed}] }}\n"
        hub.append(NatsServer(own, more, sync=sync))
    for server in hub:
        server.start()
    payloads = [message.encode("gw-bench") for message in blocks()]

    async def bare(client: Client) -> float:
        stream = client.jetstream()
        while True:
            try:
                await stream.add_stream(name="BARE", subjects=["bare.>"], num_replicas=servers)
                return await bare_pipeline(client, payloads)
            except (TimeoutError, OSError) as error:
                print(f"waiting: {error}")
                await asyncio.sleep(1.0)

    async def arrived(client: Client) -> tuple[int, str, str]:
        answer = await client.request("$JS.API.STREAM.INFO.H_bench", b"", timeout=5)
        state = json.loads(answer.data).get("state", {})
        return state.get("messages", 0), state.get("first_ts", ""), state.get("last_ts", "")

    section = f'[fleet]\nsite = "bench"\nservers = ["{hub[0].url}"]\nreplicas = {servers}\n'
    try:
        time.sleep(1.0 if servers == 1 else 4.0)
        alone = hub[0].with_client(bare)
        with gateway(section):
            while (told := hub[0].with_client(arrived))[0] < BLOCKS:
                time.sleep(0.2)
        took = _seconds(told[2]) - _seconds(told[1])
        ours = told[0] / took
        print(
            f"fleet R{servers} {sync:<8} {ours:8,.0f} /s  bare {alone:8,.0f} /s"
            f"  ratio {ours / alone:.2f}"
        )
    finally:
        for server in hub:
            server.kill()


def _seconds(text: str) -> float:
    """Of RFC 3339 within a day."""
    hours, minutes, seconds = text.partition("T")[2].removesuffix("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def main() -> None:
    """Print a line for each."""
    with tempfile.TemporaryDirectory(prefix="cpppod-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        mqtt(folder)
        for servers in (1, 3):
            for sync in ("always", "2m"):
                fleet(folder, servers, sync)


if __name__ == "__main__":
    main()
