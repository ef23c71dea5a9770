"""One wire: demotion, probes, writes, bad addresses, connections that come and go."""

import asyncio
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Line, Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.jobs import WriteAnswer, clock
from cpppod.workers.devices.wire import Wire
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.workers.devices.plant import (
    SILENT_S,
    device,
    make_plant,
    polled,
    registers,
    simulated,
    simulated_line,
    tcp_endpoint,
    write,
)

HOLDING = Table.HOLDING_REGISTERS
RTU: dict[str, Any] = {"driver": "modbus-rtu", "period_s": 0.05}
DEAD: dict[str, Any] = {**RTU, "timeout_s": 0.05}


def test_one_illegal_register_among_100_is_named_and_the_other_99_are_good_in_the_same_cycle() -> (
    None
):
    async def scenario() -> None:
        plant = make_plant("40001-40050=7", "40052-40100=7")  # 40051 is missing
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, registers(0, 100))) as (wire, published),
        ):
            await published.until(lambda: bool(published.blocks))
            first = published.blocks[0].samples
            bad = {tag: sample for tag, sample in first.items() if sample[1] != 0}
            assert list(bad) == ["r50"]
            assert bad["r50"][1] & 0xFF == Quality.NOT_CONFIGURED
            assert bad["r50"][1] >> 8 & 0xFF == 2
            state = wire.devices["d"].state_map(clock(), wire.connection_map())
            assert state["quarantined"] == [["r50", "HR:50: exception 2: illegal data address"]]
            before = wire.devices["d"].counters.requests["read", "ok"]
            blocks = len(published.blocks)
            await published.until(lambda: len(published.blocks) >= blocks + 3)
            polls = len(published.blocks) - blocks
            asked = wire.devices["d"].counters.requests["read", "ok"] - before
            assert 2 * polls <= asked <= 2 * polls + 1  # of the next poll, one may be done

    asyncio.run(scenario())


def test_a_value_larger_than_a_read_is_put_together_or_bad_as_a_whole() -> None:
    async def scenario() -> None:
        plant = make_plant("1-100=1,0,0", *(f"HR:{at}={at}" for at in range(300)))
        tags = (
            Tag("long", "HR:0", type="UINT", length=300),
            Tag("coils", "1", type="BOOL", length=40),
        )
        model = {"max_coils": 16}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags, model=model)) as (_, published),
        ):
            await published.until(lambda: bool(published.blocks))
            assert published.value("d.long") == list(range(300))
            assert published.value("d.coils") == [at % 3 == 0 for at in range(40)]
            for refused in (10, 150, 299):
                plant.faults.add(parse_fault(f"refuse:{refused},function=3"))
                await published.until(lambda: published.quality("d.long") != 0)
                assert published.value("d.long") is None
                assert published.quality("d.coils") == 0
                plant.faults.clear()
                await published.until(lambda: published.quality("d.long") == 0)

    asyncio.run(scenario())


def test_a_refused_gap_becomes_a_boundary_and_no_tag_suffers() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=1", "40016-40020=2")
        tags = registers(0, 10) + registers(15, 5)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: len(published.blocks) >= 3)
            assert all(quality == 0 for _, quality in published.values.values())
            described = wire.devices["d"].driver.describe()
            assert described["boundaries_learnt"] == ["HR:15"]
            assert described["quarantined"] == []

    asyncio.run(scenario())


def test_a_quarantined_tag_returns_when_the_device_has_it_again() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40003=7")
        plant.faults.add(parse_fault("refuse:1"))
        model = {"quarantine_retry_s": 1}
        async with simulated(plant) as (_, address):
            tags = registers(0, 3)
            async with polled(device("d", address, tags, model=model)) as (_, published):
                await published.until(lambda: published.quality("d.r1") == Quality.NOT_CONFIGURED)
                assert published.quality("d.r0") == 0
                plant.faults.clear()
                await published.until(lambda: published.quality("d.r1") == 0)

    asyncio.run(scenario())


def test_writes_are_checked_scaled_back_and_answered_with_what_was_read_back() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=0", "1-8=0")
        tags = (
            Tag("level", "40001", writable=True, scale=0.1, offset=-10, minimum=-10, maximum=100),
            Tag("real", "40003", type="REAL", writable=True),
            Tag("bit", "40005.3", writable=True),
            Tag("coil", "2", type="BOOL", writable=True),
            Tag("fixed", "40006"),
            Tag("many", "40007", length=3, writable=True),
        )
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: bool(published.blocks))
            cells = plant.cells(None, HOLDING)
            answer = await write(wire, "d", ["level", 0, [12.34]])
            assert (answer.failure, cells[0]) == (None, 223)
            assert published.value("d.level") == pytest.approx(12.3)
            assert b"level" in answer.payload
            assert (await write(wire, "d", ["real", 0, [1.5]])).failure is None
            assert cells[2] == 0x3FC0
            assert (await write(wire, "d", ["bit", 0, [1]])).failure is None
            assert cells[4] == 8
            assert (await write(wire, "d", ["coil", 0, [True]])).failure is None
            assert published.value("d.coil") is True
            assert (await write(wire, "d", ["many", 1, [5, 6]])).failure is None
            assert published.value("d.many") == [0, 5, 6]
            for refused, status in (
                (["fixed", 0, [1]], 0x0E),
                (["level", 0, [100.1]], 0x09),
                (["level", 0, [float("nan")]], 0x09),
                (["level", 0, ["x"]], 0x20),
                (["many", 2, [1, 2]], 0x20),
                (["nothing", 0, [1]], 0x05),
            ):
                answer = await write(wire, "d", refused)
                assert cip_status(answer.failure, answer.codes) == (status, [])
                assert answer.error
            assert (await write(wire, "d")).failure is Failure.NOTHING_ASKED

    asyncio.run(scenario())


def test_a_write_whose_answer_is_lost_is_unknown_and_its_tag_uncertain_at_once() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        tags = (Tag("a", "40001", writable=True), Tag("b", "40002"))
        slow = {"period_s": 3600.0, "timeout_s": 1.0}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags, **slow)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.a") == 0)
            plant.faults.add(parse_fault("silent,function=6"))
            answer = await write(wire, "d", ["a", 0, [9]])
            assert answer.unknown
            assert answer.failure is Failure.TIMEOUT
            assert published.values["d.a"] == (7, Quality.UNCERTAIN)
            assert published.quality("d.b") == 0
            doubt = published.blocks[-1]
            assert doubt.source_us == published.blocks[0].source_us

    asyncio.run(scenario())


def test_a_refused_write_carries_the_devices_exception() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        plant.faults.add(parse_fault("exception:3,function=6"))
        tags = (Tag("a", "40001", writable=True),)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.a") == 0)
            answer = await write(wire, "d", ["a", 0, [9]])
            assert cip_status(answer.failure, answer.codes) == (0x1F, [3])
            assert "illegal data value" in answer.error

    asyncio.run(scenario())


def test_a_device_without_mask_write_has_its_bit_read_and_written_back() -> None:
    async def scenario() -> None:
        plant = make_plant("40001=0x00f0")
        plant.faults.add(parse_fault("exception:1,function=22"))
        tags = (Tag("bit", "40001.0", writable=True),)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.bit") == 0)
            assert (await write(wire, "d", ["bit", 0, [1]])).failure is None
            assert plant.cells(None, HOLDING)[0] == 0x00F1

    asyncio.run(scenario())


def test_a_dead_unit_is_demoted_and_its_neighbours_on_the_line_keep_their_rate(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        plant = make_plant("1:40001-40010=1", "2:40001-40010=2")
        link = str(tmp_path / "line")
        tags = (*registers(0, 10), Tag("w", "40001", writable=True))
        units = [device(f"u{unit}", "line", tags, unit=unit, **RTU) for unit in (1, 2)]
        units.append(device("u9", "line", tags, unit=9, **DEAD))
        async with (
            simulated_line(plant, link),
            polled(*units, line=Line("line", link)) as (wire, published),
        ):
            await published.until(lambda: published.quality("u9.r0") == Quality.TIMEOUT)
            dead = wire.devices["u9"]
            await published.until(lambda: dead.health.state == "demoted")
            started_s, before = time.monotonic(), _cycles(wire, "u1")
            refused: list[WriteAnswer] = []
            wire.write("u9", [["w", 0, [1]]], started_s + PATIENCE_S, refused.append)
            assert [answer.failure for answer in refused] == [Failure.TIMEOUT]  # at once
            assert "demoted" in refused[0].error
            await published.until(lambda: _cycles(wire, "u1") >= before + 40)
            lasted_s = time.monotonic() - started_s
            probes = dead.counters.requests["read", "timeout"] - 3
            assert probes * 0.1 <= 0.05 * lasted_s + 0.2

    asyncio.run(scenario())


def _cycles(wire: Wire, name: str) -> int:
    return wire.devices[name].counters.groups["fast"].cycles


def test_the_same_unit_dead_on_another_line_has_no_effect(tmp_path: Path) -> None:
    async def scenario() -> None:
        links = [str(tmp_path / "a"), str(tmp_path / "b")]
        live, dead = make_plant("5:40001-40010=1"), make_plant("6:40001-40010=1")
        unit = device("u", "line", registers(0, 10), unit=5, **RTU)
        absent = device("u", "line", registers(0, 10), unit=5, **DEAD)
        async with (
            simulated_line(live, links[0]),
            simulated_line(dead, links[1]),
            polled(unit, line=Line("a", links[0])) as (_, good),
            polled(absent, line=Line("b", links[1])) as (wire, bad),
        ):
            await bad.until(lambda: wire.devices["u"].health.state == "demoted")
            seen = len(good.blocks)
            await good.until(lambda: len(good.blocks) >= seen + 10)
            assert all(quality == 0 for _, quality in good.values.values())

    asyncio.run(scenario())


def test_a_hanging_device_is_bad_after_its_time_out_and_back_when_it_answers() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        async with simulated(plant) as (_, address):
            tags = registers(0, 10)
            async with polled(device("d", address, tags, retries=0, timeout_s=SILENT_S)) as (
                wire,
                published,
            ):
                await published.until(lambda: published.quality("d.r0") == 0)
                plant.faults.add(parse_fault("silent"))
                await published.until(lambda: published.quality("d.r0") == Quality.TIMEOUT)
                plant.faults.clear()
                await published.until(lambda: published.quality("d.r0") == 0)
                assert wire.devices["d"].health.state != "demoted"

    asyncio.run(scenario())


def test_a_half_open_connection_is_given_up_and_made_anew() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        async with (
            simulated(plant) as (simulator, address),
            polled(device("d", address, registers(0, 5), timeout_s=SILENT_S)) as (_, published),
        ):
            await published.until(lambda: published.quality("d.r0") == 0)
            plant.faults.add(parse_fault("half-open,times=1"))
            await published.until(lambda: published.quality("d.r0") == Quality.TIMEOUT)
            await published.until(lambda: published.quality("d.r0") == 0)
            assert tcp_endpoint(simulator).connections >= 2

    asyncio.run(scenario())


def test_a_half_open_connection_is_made_anew_also_where_nothing_is_demoted() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        keys = {"demote_after": 10**6, "timeout_s": SILENT_S}
        async with (
            simulated(plant) as (simulator, address),
            polled(device("d", address, registers(0, 5), **keys)) as (_, published),
        ):
            await published.until(lambda: published.quality("d.r0") == 0)
            plant.faults.add(parse_fault("half-open,times=1"))
            await published.until(lambda: published.quality("d.r0") == Quality.TIMEOUT)
            await published.until(lambda: published.quality("d.r0") == 0)
            assert tcp_endpoint(simulator).connections >= 2

    asyncio.run(scenario())


def test_a_reset_connection_is_made_anew_without_a_bad_value() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        async with simulated(plant) as (simulator, address):
            tags = registers(0, 10)
            async with polled(device("d", address, tags)) as (_, published):
                await published.until(lambda: published.quality("d.r0") == 0)
                for _ in range(5):
                    seen = len(published.blocks)
                    for peer in list(tcp_endpoint(simulator).peers):
                        peer.hang_up()
                    await published.until_blocks(seen + 2)
                    assert published.quality("d.r0") == 0
                values = [sample for block in published.blocks for sample in block.samples.values()]
                assert all(value == 7 for value, quality in values if quality == 0)

    asyncio.run(scenario())


def test_a_device_that_dies_and_returns_is_bad_meanwhile_and_writes_fail_at_once() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        tags = (Tag("a", "40001", writable=True),)
        async with (
            simulated(plant, port=free_port()) as (simulator, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.a") == 0)
            await simulator.endpoints[0].close()
            await published.until(lambda: published.quality("d.a") == Quality.NOT_CONNECTED)
            answer = await write(wire, "d", ["a", 0, [1]])
            assert answer.failure is Failure.NOT_CONNECTED
            assert "not connected" in answer.error
            routed: list[Any] = []
            deadline_us = time.monotonic_ns() // 1000 + 5_000_000
            group = RouteGroup(1, "", deadline_us, 5, 157, b"", 2, b"\x4c\x00")
            wire.forward("d", group, lambda *answer: routed.append(answer))
            assert routed == [(0, [bytes.fromhex("d2000101 1203 0000")], 0)]  # at once
            await simulator.endpoints[0].open()
            await published.until(lambda: published.quality("d.a") == 0)

    asyncio.run(scenario())


def test_a_flapping_device_is_logged_a_few_times_and_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> tuple[int, int]:
        plant = make_plant("40001-40010=7")
        async with (
            simulated(plant, port=free_port()) as (simulator, address),
            polled(device("d", address, registers(0, 5), period_s=0.02)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.r0") == 0)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(8):
                await simulator.endpoints[0].close()
                await published.until(lambda: published.quality("d.r0") != 0)
                await simulator.endpoints[0].open()
                wire._open_at_s = 0.0  # its back-off is another test's
                wire.wake()
                await published.until(lambda: published.quality("d.r0") == 0)
            return before, len(os.listdir("/proc/self/fd"))

    caplog.set_level(logging.INFO, "cpppod")
    before, after = asyncio.run(scenario())
    assert after <= before + 1
    said = [record.message for record in caplog.records if "wire=" in record.message]
    assert 2 <= len(said) <= 8
    assert "flaps" in said[-1]


async def cut(tmp_path: Path, seconds: float) -> float:
    """How long after the return of a line that was cut in mid traffic it is good again."""
    plant = make_plant("1:40001-40010=1", "2:40001-40010=2")
    links = [str(tmp_path / "a"), str(tmp_path / "b")]
    unit = device("u", "line", registers(0, 10), unit=1, **RTU)
    async with (
        simulated_line(plant, links[0]) as simulator,
        simulated_line(plant, links[1]),
        polled(unit, line=Line("a", links[0])) as (_, published),
        polled(unit, line=Line("b", links[1])) as (other, undisturbed),
    ):
        await published.until(lambda: published.quality("u.r0") == 0)
        before, started_s = _cycles(other, "u"), time.monotonic()
        simulator.die(seconds)
        await published.until(lambda: published.quality("u.r0") == Quality.NOT_CONNECTED)
        await asyncio.sleep(started_s + seconds - time.monotonic())
        returned_s = time.monotonic()
        await published.until(lambda: published.quality("u.r0") == 0)
        assert _cycles(other, "u") > before
        assert all(quality == 0 for _, quality in undisturbed.values.values())
        return time.monotonic() - returned_s


def test_a_line_that_was_cut_is_good_again_under_another_number(tmp_path: Path) -> None:
    asyncio.run(cut(tmp_path, 1.0))


@pytest.mark.campaign
def test_a_line_cut_for_30_s_is_good_within_10_s(tmp_path: Path) -> None:
    assert asyncio.run(cut(tmp_path, 30.0)) < 10.0


def test_units_behind_one_tcp_address_share_one_connection() -> None:
    async def scenario() -> None:
        plant = make_plant("1:40001-40010=1", "2:40001-40010=2")
        async with simulated(plant) as (simulator, address):
            units = [device(f"u{unit}", address, registers(0, 5), unit=unit) for unit in (1, 2)]
            async with polled(*units) as (_, published):
                await published.until(lambda: len(published.blocks) >= 6)
                assert (published.value("u1.r0"), published.value("u2.r0")) == (1, 2)
                assert tcp_endpoint(simulator).connections == 1

    asyncio.run(scenario())


def test_rtu_over_tcp_is_a_line_like_any_other() -> None:
    async def scenario() -> None:
        plant = make_plant("1:40001-40010=1", "2:40001-40010=2")
        async with simulated(plant, rtu=True) as (_, address):
            units = [device(f"u{n}", "line", registers(0, 5), unit=n, **RTU) for n in (1, 2)]
            line = Line("line", f"rtu-over-tcp://{address}")
            async with polled(*units, line=line) as (_, published):
                await published.until(lambda: len(published.blocks) >= 6)
                assert (published.value("u1.r0"), published.value("u2.r0")) == (1, 2)

    asyncio.run(scenario())


def test_a_value_within_its_deadband_is_not_published_again() -> None:
    async def scenario() -> None:
        plant = make_plant("40001=100")
        tags = (Tag("a", "40001", deadband=5.0),)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags, period_s=0.03)) as (_, published),
        ):
            await published.until(lambda: published.value("d.a") == 100)
            plant.cells(None, HOLDING)[0] = 105
            seen = len(published.blocks)
            await published.until(lambda: len(published.blocks) >= seen + 3)
            assert published.value("d.a") == 100
            assert not published.blocks[-1].samples
            plant.cells(None, HOLDING)[0] = 106
            await published.until(lambda: published.value("d.a") == 106)

    asyncio.run(scenario())


def test_what_is_on_the_wire_at_a_stop_is_still_published() -> None:
    async def scenario() -> None:
        plant = make_plant("40001=7")
        plant.faults.add(parse_fault("late:0.1"))
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, registers(0, 1), period_s=0.2)) as (wire, published),
        ):
            await published.until(lambda: bool(published.blocks))
            for busy in (False, True):
                while bool(wire._on_wire) is not busy:
                    await asyncio.sleep(0)
                blocks = len(published.blocks)
        assert len(published.blocks) == blocks + 1
        assert published.value("d.r0") == 7

    asyncio.run(scenario())


def test_metrics_are_named_and_typed_by_prometheus_rules() -> None:
    async def scenario() -> list[Any]:
        plant = make_plant("40001-40010=7")
        tags = (*registers(0, 5), Tag("w", "40002", writable=True), Tag("gone", "HR:12"))
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: len(published.blocks) >= 2)
            await write(wire, "d", ["w", 0, [1]])
            polled_device = wire.devices["d"]
            short = polled_device.metrics(up=True, now=clock(), histograms=False)
            full = polled_device.metrics(up=wire.is_up(polled_device), now=clock())
            assert len(short) < len(full)
            return full + wire.metrics()

    rows = asyncio.run(scenario())
    found = {(name, *sorted(labels.items())): number for name, labels, number in rows}
    device_label = ("device", "d")
    assert len(found) == len(rows)  # no series twice
    assert found["cpppod_device_up", device_label, ("driver", "modbus-tcp")] == 1
    assert found["cpppod_tags_quarantined", device_label] == 1
    assert found["cpppod_tags", device_label, ("quality", "good")] == 6
    assert found["cpppod_tags", device_label, ("quality", "bad")] == 1
    assert found["cpppod_writes_total", device_label, ("result", "ok")] == 1
    assert found["cpppod_connects_total", device_label, ("result", "ok")] == 1
    assert found["cpppod_protocol_exceptions_total", ("code", "2"), device_label] >= 1
    assert found["cpppod_device_state", device_label, ("state", "online")] == 1
    names = {re.sub("_(bucket|sum|count)$", "", str(name)) for name, *_ in found}
    assert all(name.startswith("cpppod_") for name in names)
    assert {
        "cpppod_requests_total",
        "cpppod_request_duration_seconds",
        "cpppod_poll_cycle_duration_seconds",
        "cpppod_poll_lateness_seconds",
        "cpppod_poll_overruns_total",
        "cpppod_coalesce_registers_wasted_ratio",
        "cpppod_blocks_split_total",
        "cpppod_tag_age_seconds_max",
        "cpppod_bus_utilization_ratio",
        "cpppod_bus_wait_seconds",
        "cpppod_queue_depth",
        "cpppod_write_duration_seconds",
        "cpppod_device_last_success_timestamp_seconds",
        "cpppod_device_consecutive_failures",
    } <= names
