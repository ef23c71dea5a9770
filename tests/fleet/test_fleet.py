"""A fleet against a real NATS server: what gateways journal is stored at the centre, once.

A simulated device counts; the stream and the store are asked by clients that are not ours.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from cpppod.protocols.bus import feed
from tests import peers
from tests.gateway.running import ROOT, RunningGateway, counting_gateway, eventually
from tests.nats_server import NatsServer
from tests.patience import PATIENCE_S
from tests.ports import free_port

Place = tuple[int, int]  # of a block: its publisher's epoch, sequence

HEAD = """\
[gateway]
name = "{name}"
id = "gw-{name}"
[[listener]]
name = "main"
address = "127.0.0.1:{listener}"
[feed]
publish = ""
[metrics]
enabled = false
"""
PLANT = """\
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:{device}"
timeout = "1s"
[[device.boiler.group]]
name = "fast"
period = "50ms"
tags = [
    {{ name = "count", address = "40001", type = "UINT" }},
    {{ name = "set", address = "40002", writable = true, maximum = 100 }},
]
[fleet]
site = "north"
servers = ["{server}"]
writes = true
"""
CENTRE = """\
[collector]
sites = ["north"]
servers = ["{server}"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as folder:
        server = NatsServer(Path(folder)).start()
        yield server
        server.kill()


@pytest.fixture(scope="module")
def plant(server: NatsServer) -> Iterator[RunningGateway]:
    text = (HEAD + PLANT).replace("{name}", "plant1").replace("{server}", server.url)
    with counting_gateway(text, server.port) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def centre(server: NatsServer) -> Iterator[RunningGateway]:
    gateway = RunningGateway()
    listener = free_port()
    gateway.ports |= {port: port for port in (listener, server.port)}
    try:
        text = HEAD.format(name="centre", listener=listener) + CENTRE.format(server=server.url)
        gateway.start(configuration=text)
        yield gateway
    finally:
        gateway.stop()


def outlet(gateway: RunningGateway) -> dict[str, Any]:
    row: dict[str, Any] = gateway.ask("outlets")["outlets"][0]
    return row


def stored(centre: RunningGateway) -> list[Place]:
    """The blocks in the collector's store, in order, as they are there."""
    found: list[Place] = []
    for path in (centre.state / "history").glob("readings-*.sqlite"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            found += database.execute("SELECT epoch, sequence FROM blocks")
    return sorted(found)


def place(payload: bytes) -> Place:
    message = feed.decode(payload)
    return message.epoch, message.sequence


def in_stream(server: NatsServer) -> list[tuple[str, Place]]:
    """(message id, block) of the stream's messages, in its order."""

    async def read(client: Client) -> list[tuple[str, Place]]:
        stream = client.jetstream()
        count = (await stream.stream_info("H_north")).state.messages
        puller = await stream.pull_subscribe("cpppod.v1.h.north.>", stream="H_north")
        found: list[tuple[str, Place]] = []
        while len(found) < count:
            for message in await puller.fetch(500, timeout=PATIENCE_S):
                await message.ack()  # a consumer gives 1,000 at most without
                headers = message.headers or {}
                if headers["Cpppod-Kind"] == "block":
                    found.append((headers["Nats-Msg-Id"], place(message.data)))
                else:
                    count -= 1
        return found

    return server.with_client(read)


def is_whole(blocks: list[Place]) -> bool:
    """Whether each is the next of its publisher's life, or the first of the next life."""
    return all(
        (later == sequence + 1) if life == epoch else (life > epoch and later == 1)
        for (epoch, sequence), (life, later) in pairwise(blocks)
    )


def delivered(plant: RunningGateway, more: int) -> None:
    before = outlet(plant)["sent"]
    eventually(lambda: outlet(plant)["sent"] >= before + more)


def test_a_sites_stream_is_made_and_has_every_block_once(
    plant: RunningGateway, server: NatsServer
) -> None:
    delivered(plant, 20)
    found = in_stream(server)
    assert is_whole([block for _, block in found])
    assert len({name for name, _ in found}) == len(found)
    assert found[0][0].startswith("gw-plant1/poller-boiler/") and len(found[0][0]) <= 60


def test_every_block_is_live_at_once(plant: RunningGateway, server: NatsServer) -> None:
    async def listen(client: Client) -> list[Any]:
        subscription = await client.subscribe("cpppod.v1.live.north.plant1.>")
        return [await subscription.next_msg(timeout=20) for _ in range(5)]

    heard = server.with_client(listen)
    assert {each.subject for each in heard} == {"cpppod.v1.live.north.plant1.boiler.fast"}
    assert is_whole([place(each.data) for each in heard])


def test_the_centre_stores_what_the_stream_has(
    plant: RunningGateway, centre: RunningGateway
) -> None:
    eventually(lambda: len(stored(centre)) > 40)
    assert is_whole(stored(centre))
    rows = eventually(lambda: centre.stored("boiler.count"))
    assert len(rows) > 5


def test_a_server_that_was_killed_costs_nothing(
    plant: RunningGateway, centre: RunningGateway, server: NatsServer
) -> None:
    server.kill()
    eventually(lambda: not outlet(plant)["connected_us"])
    before = plant.workers()["poller-boiler"]["pid"]
    server.start()
    delivered(plant, 40)
    assert plant.workers()["poller-boiler"]["pid"] == before
    found = in_stream(server)
    assert is_whole([block for _, block in found])
    last = found[-1][1]
    eventually(lambda: stored(centre)[-1:] >= [last])
    assert is_whole(stored(centre))


def test_a_killed_uplink_and_a_killed_collector_go_on_where_they_were(
    plant: RunningGateway, centre: RunningGateway, server: NatsServer
) -> None:
    os.kill(plant.workers()["fleet"]["pid"], signal.SIGKILL)
    os.kill(centre.workers()["collector"]["pid"], signal.SIGKILL)
    known = len(in_stream(server))
    eventually(lambda: len(in_stream(server)) > known + 40)
    found = [block for _, block in in_stream(server)]
    assert is_whole(found)
    eventually(lambda: stored(centre)[-1:] >= found[-1:])
    assert is_whole(stored(centre))


def test_a_stream_that_lost_what_it_acknowledged_gets_it_again(
    plant: RunningGateway, centre: RunningGateway, server: NatsServer
) -> None:
    server.kill(signal.SIGTERM)
    old = server.folder / "old"
    shutil.copytree(server.folder / "js", old)
    server.start()
    delivered(plant, 40)
    server.kill()
    shutil.rmtree(server.folder / "js")
    old.rename(server.folder / "js")
    server.start()
    delivered(plant, 40)
    found = [block for _, block in in_stream(server)]
    assert is_whole(found)
    eventually(lambda: stored(centre)[-1:] >= found[-1:])
    assert is_whole(stored(centre))


def test_a_stream_that_is_gone_is_made_anew_with_all_that_is_held(
    plant: RunningGateway, centre: RunningGateway, server: NatsServer
) -> None:
    async def delete(client: Client) -> bool:
        return await client.jetstream().delete_stream("H_north")

    assert server.with_client(delete)
    eventually(lambda: "stream" in outlet(plant)["error"] or outlet(plant)["connected_us"])
    delivered(plant, 40)
    found = [block for _, block in in_stream(server)]
    assert is_whole(found) and found[0][1] == 1


def test_a_twin_of_that_name_is_refused_and_said(plant: RunningGateway, server: NatsServer) -> None:
    twin = RunningGateway()
    device, listener = free_port(), free_port()
    twin.ports |= {port: port for port in (device, listener, server.port)}
    try:
        text = HEAD.format(name="plant1", listener=listener).replace("gw-plant1", "gw-twin")
        twin.launch(configuration=text + PLANT.format(device=device, server=server.url))

        def refused() -> str:
            there = (twin.runtime / "control.sock").exists() and twin.ask("outlets")["outlets"]
            return str(there[0]["error"]) if there else ""

        why = "another living gateway has this name: gw-plant1"
        eventually(lambda: why in refused(), say=refused)
    finally:
        twin.stop()


def test_a_write_is_asked_for_and_answered(plant: RunningGateway, server: NatsServer) -> None:
    async def write(client: Client) -> dict[str, Any]:
        order = json.dumps({"id": "w1", "tag": "boiler.set", "value": 42}).encode()
        reply = await client.request("cpppod.v1.ask.north.plant1.write", order, timeout=20)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    delivered(plant, 1)
    assert server.with_client(write)["outcome"] == "done"
    eventually(lambda: plant.value("boiler.set") == 42)


def ctl(server: NatsServer, *words: str) -> tuple[int, str]:
    """Exit status and output of `cpppoctl --fleet`."""
    command = [sys.executable, "-m", "cpppod.commands.cpppoctl", "--fleet", server.url, *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_gateway_is_asked_and_written_from_far_away(
    plant: RunningGateway, server: NatsServer
) -> None:
    status, told = ctl(server, "devices", "--json")
    assert status == 0 and json.loads(told)["devices"][0]["name"] == "boiler", told
    at = ("--at", "north/plant1")
    assert "boiler" in ctl(server, *at, "device", "boiler")[1]
    assert ctl(server, *at, "write", "boiler.set=37")[0] == 0
    eventually(lambda: "37" in ctl(server, *at, "read", "boiler.set")[1])
    status, told = ctl(server, *at, "write", "boiler.set=101")
    assert status == 1 and "above 100" in told
    status, told = ctl(server, *at, "reload")
    assert status == 1 and "not answered over the fleet" in told
    status, told = ctl(server, "--at", "north/nobody", "devices")
    assert status == 3 and "north/nobody" in told
    assert ctl(server, *at, "stop")[0] == 1


def test_a_consumer_that_is_not_ours_gets_every_block(
    plant: RunningGateway, server: NatsServer
) -> None:
    script = ROOT / "examples" / "fleet_consumer.js"
    environment = {**os.environ, "NODE_PATH": str(peers.node_modules())}
    with subprocess.Popen(
        ["node", str(script), server.url, "north"], stdout=subprocess.PIPE, env=environment
    ) as consumer:
        assert consumer.stdout is not None
        known = in_stream(server)
        heard: list[Place] = []
        while len(heard) < len(known) + 20:
            line = json.loads(consumer.stdout.readline())
            if "sequence" in line:
                heard.append((line["epoch"], line["sequence"]))
        consumer.kill()
    assert is_whole(heard) and heard[0] == known[0][1]


def test_what_the_stream_was_told_before_holds_nothing_up(
    plant: RunningGateway, server: NatsServer
) -> None:
    """The position is lost, and a gap is read again that the stream knows by its id."""
    os.kill(plant.workers()["poller-boiler"]["pid"], signal.SIGKILL)
    delivered(plant, 20)
    uplink = plant.workers()["fleet"]["pid"]
    os.kill(uplink, signal.SIGSTOP)
    (plant.state / "readers" / "fleet.json").unlink()
    os.kill(uplink, signal.SIGKILL)
    eventually(lambda: plant.workers()["fleet"]["pid"] not in (0, uplink))
    eventually(lambda: plant.ask("outlets")["outlets"])
    delivered(plant, 20)
    names = [name for name, _ in in_stream(server)]
    assert len(set(names)) == len(names)
