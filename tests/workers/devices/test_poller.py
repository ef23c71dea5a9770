"""The poller as a process: beats, blocks, writes, orders, reloads."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.bus.messages import WriteRequest
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.plant import Device, Group, Line, Tag, Worker
from cpppod.workers.simulators.modbus.simulator import Plant, PtyEndpoint, Simulator, TcpEndpoint
from tests.enip_frames import read
from tests.workers.devices.plant import ANSWERING_S, tcp_endpoint
from tests.workers.worker_process import deadline_us, running, write_settings


def tags(count: int) -> tuple[Tag, ...]:
    return tuple(Tag(f"r{at}", f"HR:{at}", writable=True) for at in range(count))


def device(name: str, address: str, count: int = 10, period_s: float = 0.1) -> Device:
    groups = (Group("fast", period_s, tags(count)),)
    return Device(name, "modbus-tcp", address, timeout_s=ANSWERING_S, groups=groups)


def settings(folder: Path, *devices: Device) -> Worker:
    return Worker(
        "poller-1", "poller", f"{folder}/bus", f"{folder}/state", str(folder), devices=devices
    )


async def simulator(plant: Plant) -> tuple[Simulator, str]:
    made = Simulator(plant)
    return made, await made.serve(TcpEndpoint(plant, "127.0.0.1", 0))


def plant_of(*specs: str) -> Plant:
    plant = Plant()
    for spec in specs:
        plant.define(parse_range(spec))
    return plant


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path


def test_values_arrive_and_a_write_carries_the_block_read_back(folder: Path) -> None:
    async def scenario() -> None:
        made, address = await simulator(plant_of("40001-40010=7"))
        async with running(settings(folder, device("d", address))) as (parties, _):
            await parties.until(lambda: "d.r9" in parties.tags)
            assert parties.tags["d.r9"] == (7, 0)
            request = WriteRequest(0, "d", "test", deadline_us(), [["r3", 0, [1234]]])
            reply = await parties.request(request)
            assert (reply.status, reply.unknown) == (0, False)
            assert reply.topic == b"d/fast/"
            assert reply.payload
            await parties.until(lambda: parties.tags["d.r3"] == (1234, 0))
        await made.close()

    asyncio.run(scenario())


def test_a_reload_leaves_the_untouched_device_without_a_gap(folder: Path) -> None:
    async def scenario() -> None:
        made, address = await simulator(plant_of("40001-40010=7"))
        other, second = await simulator(plant_of("40001-40010=8"))
        before = settings(folder, device("d", address), device("e", second))
        async with running(before) as (parties, _):
            await parties.until(lambda: "d.r0" in parties.tags and "e.r0" in parties.tags)
            connections = tcp_endpoint(made).connections
            after = replace(
                before, generation=1, devices=(device("d", address), device("e", second, 5))
            )
            path = str(write_settings(after, "next"))
            assert (await parties.order("prepare", path=path)).error == ""
            assert (await parties.order("commit", generation=1)).error == ""
            seen = len(parties.sequences("e"))
            await parties.until(lambda: len(parties.sequences("e")) > seen + 3)
            assert [len(parties.blocks), tcp_endpoint(made).connections][1] == connections
            sequences = sorted(parties.sequences("d") + parties.sequences("e"))
            assert sequences == list(range(1, len(sequences) + 1))
            last = [value for topic, value in parties.blocks if topic == "e/fast/"][-1]
            assert last.body.members == 5
            await parties.until(lambda: parties.beats[-1].generation == 1)
        await made.close()
        await other.close()

    asyncio.run(scenario())


def test_a_line_whose_settings_change_is_handed_over_without_a_bad_value(folder: Path) -> None:
    async def scenario() -> None:
        link = str(folder / "line")
        made = Simulator(plant_of("1:40001-40010=7"))
        await made.serve(PtyEndpoint(made.plant, link))
        unit = replace(device("u", "hall"), driver="modbus-rtu")
        before = replace(
            settings(folder, unit), role="serial", lines=(Line("hall", link, baudrate=9600),)
        )
        async with running(before) as (parties, _):
            await parties.until(lambda: "u.r0" in parties.tags)
            after = replace(before, generation=1, lines=(Line("hall", link),))
            path = str(write_settings(after, "next"))
            assert (await parties.order("prepare", path=path)).error == ""
            assert (await parties.order("commit", generation=1)).error == ""
            seen = len(parties.blocks)
            await parties.until(lambda: len(parties.blocks) >= seen + 3)
            samples = [value.body.as_dict() for _, value in parties.blocks]
            assert all(sample == (7, 0) for each in samples for sample in each.values())
        await made.close()

    asyncio.run(scenario())


def test_settings_that_cannot_be_are_refused_whole(folder: Path) -> None:
    async def scenario() -> None:
        made, address = await simulator(plant_of("40001-40010=7"))
        before = settings(folder, device("d", address))
        async with running(before) as (parties, _):
            bad = Device("x", "modbus-tcp", address, groups=(Group("g", 1.0, (Tag("t", "5x"),)),))
            after = replace(before, generation=1, devices=(device("d", address), bad))
            reply = await parties.order("prepare", path=str(write_settings(after, "next")))
            assert "device x" in reply.error
            assert "5x" in reply.error
            seen = len(parties.sequences("d"))
            await parties.until(lambda: len(parties.sequences("d")) > seen)
        await made.close()

    asyncio.run(scenario())


def test_a_paused_device_is_bad_until_it_is_resumed(folder: Path) -> None:
    async def scenario() -> None:
        made, address = await simulator(plant_of("40001-40010=7"))
        async with running(settings(folder, device("d", address))) as (parties, _):
            await parties.until(lambda: "d.r0" in parties.tags)
            reply = await parties.order("pause", name="d")
            assert reply.result["state"] == "disabled"
            await parties.until(lambda: parties.tags["d.r0"] == (None, 24))
            request = WriteRequest(0, "d", "test", deadline_us(), [["r3", 0, [1]]])
            assert (await parties.request(request)).status == 0x10
            assert (await parties.order("resume", name="d")).result["state"] == "online"
            await parties.until(lambda: parties.tags["d.r0"] == (7, 0))
            state = (await parties.order("device", name="d")).result
            assert state["connection"]["state"] == "open"
            assert (await parties.order("device", name="nobody")).error
        await made.close()

    asyncio.run(scenario())


def test_a_routed_request_to_a_device_that_relays_no_cip_is_refused(folder: Path) -> None:
    async def scenario() -> None:
        made, address = await simulator(plant_of("40001-40010=7"))
        async with running(settings(folder, device("d", address))) as (parties, _):
            await parties.until(lambda: "d.r0" in parties.tags)
            body = read("r0")
            group = RouteGroup(1, "test", deadline_us(), 5, 157, b"", len(body), body, target="d")
            replied = await parties.relayed(group)
            assert [each.split() for each in replied] == [[bytes.fromhex("cc000800")]]
        await made.close()

    asyncio.run(scenario())
