"""Structures read whole: one request, one moment, and each member as if it were read alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality
from cpppod.simulator import Settings, Simulator
from cpppod.workers.drivers.enip.driver import EnipDriver, make_driver
from cpppod.workers.drivers.enip.spec import SPEC

GOOD = int(Quality.GOOD)
STRUCTURES: dict[str, Any] = {
    "Step": [{"name": "time", "type": "DINT"}, {"name": "kind", "type": "SINT"}],
    "Recipe": [
        {"name": "Speed", "type": "REAL"},
        {"name": "Run", "type": "BOOL"},
        {"name": "Hold", "type": "BOOL"},
        {"name": "Counts", "type": "INT", "length": 8},
        {"name": "Name", "type": "STRING"},
        {"name": "Steps", "type": "Step", "length": 3},
        {"name": "Flags", "type": "DINT"},
        {"name": "Log", "type": "DINT", "length": 400},
    ],
}
STEPS = [{"time": 10 * at, "kind": at} for at in range(3)]
TAGS = (
    Tag("speed", "recipes[1].speed", "REAL"),
    Tag("run", "Recipes[1].Run", "BOOL"),
    Tag("hold", "Recipes[1].Hold", "BOOL"),
    Tag("count", "Recipes[1].Counts[2]", "INT"),
    Tag("counts", "Recipes[1].Counts[1]", "INT", length=3),
    Tag("all", "Recipes[1].Counts", "INT", length=8),
    Tag("name", "Recipes[1].Name", "STRING"),
    Tag("time", "Recipes[1].Steps[2].time", "DINT"),
    Tag("kind", "Recipes[1].Steps[1].kind", "SINT"),
    Tag("flag", "Recipes[1].Flags.3", "BOOL"),
    Tag("log", "Recipes[1].Log[399]", "DINT"),
    Tag("total", "Total", "DINT"),
)


@pytest.fixture
def plc() -> Iterator[Simulator]:
    settings = Settings(structures=STRUCTURES)
    with Simulator(["Recipes=Recipe[2]", "Total=DINT"], settings) as running:
        running["Total"] = 5
        running["Recipes"] = [
            {"Speed": 0.5},
            {
                "Speed": 2.5,
                "Run": False,
                "Hold": True,
                "Counts": list(range(8)),
                "Name": "steel",
                "Steps": STEPS,
                "Flags": 8,
                "Log": list(range(400)),
            },
        ]
        yield running


def with_driver(
    plc: Simulator, structures: list[str], work: Callable[[EnipDriver], Awaitable[Any]]
) -> Any:
    host, port = plc.address
    options = {"structures": structures}
    device = Device("d", "enip", f"{host}:{port}", timeout_s=10.0, options=options)

    async def run() -> Any:
        driver = make_driver(device)
        await driver.open()
        try:
            return await work(driver)
        finally:
            await driver.close()

    return asyncio.run(run())


def polled(plc: Simulator, structures: list[str], *tags: Tag) -> dict[str, Any]:
    async def work(driver: EnipDriver) -> Any:
        return await driver.poll(Group("g", 1.0, tags=tags))

    found: dict[str, Any] = with_driver(plc, structures, work)
    return found


def test_members_are_what_they_are_when_each_is_read_alone(plc: Simulator) -> None:
    whole = polled(plc, ["Recipes[1]"], *TAGS)
    assert whole == polled(plc, [], *TAGS)
    assert whole["speed"] == (2.5, GOOD)
    assert (whole["run"], whole["hold"]) == ((False, GOOD), (True, GOOD))
    assert (whole["count"], whole["counts"]) == ((2, GOOD), ([1, 2, 3], GOOD))
    assert (whole["name"], whole["time"], whole["kind"]) == (
        *(("steel", GOOD), (20, GOOD)),
        (1, GOOD),
    )
    assert (whole["flag"], whole["log"], whole["total"]) == ((True, GOOD), (399, GOOD), (5, GOOD))


def test_one_read_takes_all_members() -> None:
    reads: list[str] = []
    plc = Simulator(["Recipes=Recipe[2]"], Settings(structures=STRUCTURES))
    plc.observe = lambda kind, name, first, values: reads.append(f"{kind} {name}[{first}]")
    with plc:
        found = polled(plc, ["Recipes[1]"], *TAGS[:-1])
    assert all(quality == GOOD for _, quality in found.values())
    assert set(reads) == {"read Recipes[1]"}, "the structure, and no member"


def test_a_member_is_written_alone(plc: Simulator) -> None:
    async def work(driver: EnipDriver) -> Any:
        await driver.poll(Group("g", 1.0, tags=TAGS))
        return await driver.write([(TAGS[0], 0, [7.5]), (TAGS[6], 0, ["brass"])])

    assert not with_driver(plc, ["Recipes[1]"], work).failure
    written = plc["Recipes"][1]
    assert (written["Speed"], written["Name"], written["Flags"]) == (7.5, "brass", 8)


def test_what_is_no_member_or_of_another_type_is_bad_alone(plc: Simulator) -> None:
    found = polled(
        plc,
        ["Recipes[1]"],
        Tag("speed", "Recipes[1].Speed", "REAL"),
        Tag("missing", "Recipes[1].Nothing", "REAL"),
        Tag("other", "Recipes[1].Speed", "DINT"),
        Tag("beyond", "Recipes[1].Counts[8]", "INT"),
        Tag("step", "Recipes[1].Steps[0]", "DINT"),
    )
    assert found["speed"] == (2.5, GOOD)
    codes = {name: found[name][1] & 0xFF for name in ("missing", "beyond", "other", "step")}
    assert codes == {
        "missing": int(Quality.NOT_CONFIGURED),
        "beyond": int(Quality.NOT_CONFIGURED),
        "other": int(Quality.DEVICE_STATUS),
        "step": int(Quality.DEVICE_STATUS),
    }


def test_a_structure_that_is_not_there_or_none_makes_its_tags_bad(plc: Simulator) -> None:
    found = polled(
        plc, ["Gone", "Total"], Tag("x", "Gone.x"), Tag("y", "Total.y"), Tag("t", "Total", "DINT")
    )
    assert found["x"][1] & 0xFF == Quality.NOT_CONFIGURED
    assert found["y"][1] & 0xFF == Quality.DEVICE_STATUS
    assert found["t"] == (5, GOOD)


@pytest.mark.parametrize("address", ["@1/1/1", "A=5", "A.3", ""])
def test_check_refuses_what_is_no_structure_s_address(address: str) -> None:
    device = Device("d", "enip", "127.0.0.1:1", options={"structures": [address]})
    _, mistakes = SPEC.check(device)
    assert [key for key, *_ in mistakes] == ["structures"]


def test_data_files_have_no_structures() -> None:
    options = {"structures": ["Recipe"], "dialect": "slc"}
    _, mistakes = SPEC.check(Device("d", "enip", "127.0.0.1:1", options=options))
    assert [key for key, *_ in mistakes] == ["structures"]
