"""Data files of an SLC 500 and a PLC-5, polled and written by the gateway's driver."""

import asyncio
from typing import Any

import pytest

from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality
from cpppod.simulator import Settings, Simulator
from cpppod.workers.drivers.enip.driver import make_driver
from cpppod.workers.drivers.enip.tags import tag_operation

GOOD = int(Quality.GOOD)
TAGS = (
    Tag("word", "N7:3", "INT", writable=True),
    Tag("words", "N7:0", "INT", length=3, writable=True),
    Tag("float", "F8:1", "REAL", writable=True),
    Tag("bit", "B3/17", "BOOL", writable=True),
    Tag("done", "T4:0/DN", "BOOL"),
    Tag("preset", "T4:0.PRE", "INT", writable=True),
    Tag("text", "ST9:0", "STRING", writable=True),
)


@pytest.mark.parametrize(("dialect", "plc"), [("slc", "slc500"), ("plc5", "plc5")])
def test_data_files_are_polled_and_written(dialect: str, plc: str) -> None:
    async def work(address: str) -> tuple[Any, ...]:
        device = Device("d", "enip", address, timeout_s=5.0, options={"dialect": dialect})
        driver = make_driver(device)
        await driver.open()
        try:
            writes: list[Any] = [
                (TAGS[0], 0, [-7]),
                (TAGS[1], 1, [5, 6]),
                (TAGS[2], 0, [2.5]),
                (TAGS[3], 0, [True]),
                (TAGS[5], 0, [99]),
                (TAGS[6], 0, ["abc"]),
            ]
            outcome = await driver.write(writes)
            return outcome, await driver.poll(Group("g", 1.0, TAGS))
        finally:
            await driver.close()

    with Simulator([], Settings(plc=plc)) as running:
        outcome, samples = asyncio.run(work("{}:{}".format(*running.address)))
    assert (outcome.failure, outcome.error) == (None, "")
    assert samples == {
        "word": (-7, GOOD),
        "words": ([0, 5, 6], GOOD),
        "float": (2.5, GOOD),
        "bit": (True, GOOD),
        "done": (False, GOOD),
        "preset": (99, GOOD),
        "text": ("abc", GOOD),
    }


@pytest.mark.parametrize(
    ("dialect", "tag", "why"),
    [
        ("", Tag("t", "N7:0", "INT"), "dialect"),
        ("slc", Tag("t", "N7:0", "REAL"), "holds INT"),
        ("slc", Tag("t", "F8:0", "INT"), "holds REAL"),
        ("slc", Tag("t", "T4:0", "INT"), "whole element"),
        ("slc", Tag("t", "N7:0*2", "INT"), "2 elements"),
        ("slc", Tag("t", "N7:0/1", "BOOL", length=2), "one value"),
        ("slc", Tag("t", "L10:0/3", "BOOL", writable=True), "only be read"),
        ("plc5", Tag("t", "Speed", "INT"), "expected an address"),
        ("slc", Tag("t", "N7:0=5", "INT"), "expected an address"),
        ("slc", Tag("t", "N7:0", "INT", bit=3), "names the bit"),
    ],
)
def test_what_a_data_file_does_not_hold_is_refused(dialect: str, tag: Tag, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        tag_operation(tag, dialect)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        *((each, "data file") for each in ("N7:0", "B3/33", "ST9:0.LEN", "F8:0/2", "I:1.0/3")),
        *((each, "data file") for each in ("MG9:0", "PD10:0.SP", "t4:0/DN", "O:0")),
        *((each, "no tag's name") for each in ("X{3}", "X]", "X Y", "X,Y", "X/3", "P.X?")),
    ],
)
def test_what_can_be_no_tag_of_a_controller_is_refused(address: str, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        tag_operation(Tag("t", address, "INT"))


@pytest.mark.parametrize(
    "address",
    ["Local:1:I.Data.3", "Rack1:0:I.Data[3]", "Program:Main.X", "S1", "T4.ACC", "Straße", "My-Tag"],
)
def test_names_of_controllers_tags_are_taken(address: str) -> None:
    assert tag_operation(Tag("t", address, "INT"))["path"]
