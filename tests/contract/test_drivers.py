"""What every registered driver keeps: its manifest, its keys, its documents, and its behaviour
before its own simulator. A package's driver is put through it where the package is installed.
"""

import ast
import asyncio
import importlib.util
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cpppod.configuration import ConfigurationError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceError, WriteOutcome
from cpppod.workers.devices.spec import DRIVERS, DriverSpec, Place
from cpppod.workers.settings import Section
from tests.contract import key_tables
from tests.contract.simulated import Driven, configured, driven, simulator, simulator_of

ROOT = Path(__file__).parents[2]
OURS = [spec.name for spec in DRIVERS.ours()]
GOOD = int(Quality.GOOD)
WRITTEN = {"DINT": 41, "INT": 41, "REAL": 1.5}  # what a test writes to a tag of that type
EVERY = pytest.mark.parametrize(
    "spec",
    [
        pytest.param(each, id=each.name, marks=pytest.mark.xdist_group(each.name))
        for each in DRIVERS
    ],
)


@pytest.fixture(scope="module")
def ports() -> Iterator[Callable[[DriverSpec], int]]:
    """The port of a driver's simulator, which runs from then on."""
    running: dict[str, int] = {}
    with ExitStack() as stack:

        def port(spec: DriverSpec) -> int:
            if spec.name not in running:
                running[spec.name] = stack.enter_context(simulator(spec))
            return running[spec.name]

        yield port


@pytest.fixture
def through(
    ports: Callable[[DriverSpec], int],
) -> Callable[[DriverSpec, Callable[[Driven], Awaitable[None]]], None]:
    """Runs a test's coroutine with the driver before its simulator."""

    def run(spec: DriverSpec, work: Callable[[Driven], Awaitable[None]]) -> None:
        async def running() -> None:
            async with driven(spec, ports(spec)) as device:
                await work(device)

        asyncio.run(running())

    return run


Through = Callable[[DriverSpec, Callable[[Driven], Awaitable[None]]], None]


def value(driven: Driven, number: int) -> Any:
    """A value for the writable tag."""
    return WRITTEN[driven.writable.type] + number


async def write(driven: Driven, value: Any) -> WriteOutcome:
    return await driven.driver.write([(driven.writable, 0, [value])])


# Its manifest


@EVERY
def test_its_settings_all_have_defaults_and_say_what_they_mean(spec: DriverSpec) -> None:
    _spec, model = DRIVERS.settings(Section)[spec.name]
    for key, field in model.model_fields.items():
        assert not field.is_required(), key
        assert field.description, key
    assert spec.from_model | spec.elsewhere <= model.model_fields.keys()


@pytest.mark.parametrize("name", OURS)
def test_its_manifest_imports_nothing_heavy_at_its_top(name: str) -> None:
    spec = DRIVERS.find(name)
    assert spec is not None
    found = importlib.util.find_spec(spec.make.__module__)
    assert found is not None and found.origin is not None
    tree = ast.parse(Path(found.origin).read_text())
    named = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    light = ("collections.abc", "dataclasses", "typing", "cpppod.protocols.model")
    assert all(
        module.startswith((*light, "cpppod.workers.devices.spec", "cpppod.workers.devices.driver"))
        for module in named
    )


def test_manifests_and_drivers_need_no_pydantic() -> None:
    code = """
import sys
from cpppod.protocols.model.plant import Device
from cpppod.workers.devices.driver import DeviceFrame
from cpppod.workers.devices.spec import DRIVERS
options = {"frames": {"f": {"pattern": "a(?P<b>[0-9]);"}}}
for spec in DRIVERS.ours():
    spec.make(Device("d", spec.name, "127.0.0.1:1", options=options), None, DeviceFrame())
print("pydantic" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("name", OURS)
def test_its_folder_has_a_page_with_the_configuration_for_its_simulator(name: str) -> None:
    spec = DRIVERS.find(name)
    assert spec is not None
    module = importlib.util.find_spec(spec.make.__module__)
    assert module is not None and module.origin is not None
    page = (Path(module.origin).parent / "README.md").read_text()
    made = simulator_of(spec)
    assert f"## {name}\n\n{spec.title[0].upper()}{spec.title[1:]}.\n" in page
    assert f"python -m {made.module} {' '.join(made.arguments)}" in page
    assert f"```toml\n{made.configuration}```" in page


def test_the_tables_of_drivers_own_keys_are_those_of_their_settings() -> None:
    text = key_tables.PAGE.read_text()
    assert key_tables.page(text) == text, "run python -m tests.contract.key_tables"


@pytest.mark.parametrize("name", OURS)
def test_its_counters_stand_in_the_documentation(name: str) -> None:
    spec = DRIVERS.find(name)
    assert spec is not None
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert [each for each in spec.metrics if f"`cpppod_{each}_total`" not in page] == []


# What a file may say


@EVERY
def test_its_device_is_refused_where_it_cannot_be_by_the_key_that_says_so(spec: DriverSpec) -> None:
    place = re.compile(r'^(address|line) = ".*"$', re.MULTILINE)
    (said,) = place.finditer(simulator_of(spec).configuration)
    with pytest.raises(ConfigurationError) as raised:
        configured(spec, 1, (said[0].replace("{address}", "127.0.0.1:1"), ""))
    needs = "line" if spec.place is Place.LINE else "address"
    assert [problem.path[-1] for problem in raised.value.problems] == [needs]


@EVERY
def test_a_bad_address_is_named_with_its_key_beside_all_else_that_is_wrong(
    spec: DriverSpec,
) -> None:
    first, *_ = re.findall(r'address = (?:"[^"{]+"|\d+),', simulator_of(spec).configuration)
    with pytest.raises(ConfigurationError) as raised:
        configured(
            spec, 1, (first, 'address = "@", deadband = -1,'), ('period = "1s"', "period = 0")
        )
    paths = {problem.path[3:] for problem in raised.value.problems}
    assert paths == {(0, "period"), (0, "tags", 0, "deadband"), (0, "tags", 0, "address")}


# Before its simulator


@EVERY
def test_its_simulator_answers_it(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        seen: list[str] = []
        device.driver.frame.on_transaction = lambda done: seen.append(done.result)
        samples = await device.poll()
        assert {name: code for name, (_value, code) in samples.items()} == {
            tag.name: GOOD for tag in device.group.tags
        }
        assert set(seen) <= {"ok"}
        described = device.driver.describe()
        assert set(described.get("counters", {})) <= set(spec.metrics)
        assert (device.driver.cip is not None) == spec.relay
        assert device.driver.concurrency >= 1

    through(spec, work)


@EVERY
def test_a_write_is_there_when_it_is_read(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        for number in (1, 2):
            outcome = await write(device, value(device, number))
            assert outcome == WriteOutcome()
            samples = await device.poll()
            assert samples[device.writable.name] == (value(device, number), GOOD)

    through(spec, work)


@EVERY
def test_a_write_without_an_answer_is_unknown(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await device.poll()
        device.gate.hold()
        outcome = await write(device, value(device, 3))
        assert outcome.unknown
        assert outcome.failure
        assert outcome.error

    through(spec, work)


@EVERY
def test_a_write_that_surely_never_left_is_not_unknown(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await device.close()
        outcome = await write(device, value(device, 4))
        assert not outcome.unknown
        assert outcome.failure
        assert not outcome.connected

    through(spec, work)


@EVERY
def test_a_device_that_says_nothing_is_a_time_out(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await device.poll()
        device.gate.hold()
        with pytest.raises(DeviceError) as raised:
            await device.poll()
        assert raised.value.failure is Failure.TIMEOUT
        device.gate.release()
        assert {code for _value, code in (await device.poll_at_last()).values()} == {GOOD}

    through(spec, work)


@EVERY
def test_a_late_reply_is_never_taken_for_the_next(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await write(device, value(device, 5))
        device.gate.hold()
        with pytest.raises(DeviceError):
            await device.poll()  # what is held says 5
        await device.gate.said()
        device.gate.release()
        outcome = await write(device, value(device, 6))
        while outcome.failure:  # what was late may have cost the write its answer or connection
            await device.poll_at_last()
            outcome = await write(device, value(device, 6))
        samples = await device.poll_at_last()
        assert samples[device.writable.name] == (value(device, 6), GOOD)

    through(spec, work)


@EVERY
def test_a_lost_link_is_said_and_a_new_one_works(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await device.poll()
        device.gate.hold()
        waiting = asyncio.create_task(device.poll())
        await device.gate.said()
        await device.gate.cut()
        with pytest.raises(DeviceError) as raised:
            await waiting
        assert not raised.value.connected
        with pytest.raises(DeviceError):
            await device.open()
        device.gate.release()
        await device.gate.open()
        await device.open()
        assert {code for _value, code in (await device.poll()).values()} == {GOOD}

    through(spec, work)


@EVERY
def test_after_a_cancelled_call_it_goes_on_or_says_that_it_cannot(
    spec: DriverSpec, through: Through
) -> None:
    async def work(device: Driven) -> None:
        await write(device, value(device, 7))
        device.gate.hold()
        waiting = asyncio.create_task(device.poll())
        await device.gate.said()
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert waiting.cancelled()
        device.gate.release()
        samples = await device.poll_at_last()
        assert samples[device.writable.name] == (value(device, 7), GOOD)

    through(spec, work)


@EVERY
def test_it_can_be_closed_at_any_time_and_twice(spec: DriverSpec, through: Through) -> None:
    async def work(device: Driven) -> None:
        await device.close()
        await device.close()
        with pytest.raises(DeviceError) as raised:
            await device.poll()
        assert not raised.value.connected

    through(spec, work)
