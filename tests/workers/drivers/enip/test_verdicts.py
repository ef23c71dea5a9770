"""Misbehaving devices as `enip_server --fault` makes them, and the gateway's verdict in words."""

import asyncio

import pytest

from cpppod import client
from cpppod.commands.enip.server import parser, simulators_of
from cpppod.protocols.enip.target.faults import parse_fault
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import explain
from cpppod.simulator import Settings, Simulator
from cpppod.workers.drivers.enip.driver import make_driver
from tests.workers.devices.plant import ANSWERING_S, SILENT_S, polled

WELL = "good"
SILENT = "device did not answer in time"
WRONG = "device's reply does not answer the request"
SAME = "the same for all"
VERDICTS = [
    # fault, the quality of a short value in words, that of one that takes two replies and that
    # the fault may be limited to, what the device's state says
    ("silent", SILENT, SAME, "no reply in time"),
    ("late:99", SILENT, SAME, "no reply in time"),
    ("half-open", SILENT, SAME, "no reply in time"),
    ("truncate:2", SILENT, SAME, "no reply in time"),
    ("length:9999", SILENT, SAME, "no reply in time"),
    ("length:3", WRONG, SAME, "no CPF"),
    ("session", WRONG, SAME, "reply with another session handle"),
    ("command", WRONG, SAME, "command 0x0063 was not asked"),
    ("service", WRONG, SAME, "service 0x8e answers 0x0a"),
    ("twice", WRONG, SAME, "reply to a sender context that was not sent"),
    ("status:3", "device refused (status 0x03)", SAME, "encapsulation status 0x03: incorrect data"),
    ("refused:0x08", "device refused (status 0x08)", SAME, ""),
    ("refused:0x02,service=0x4c", "device refused (status 0x02)", SAME, ""),
    ("bytes:-1,service=0x4c", WRONG, WELL, ""),
    ("refused:0x05,tag=Long", WELL, "device knows no such address (status 0x05)", ""),
    ("refused:0xff:0x2105,tag=Long", WELL, "device refused (status 0xff, extended 0x2105)", ""),
    ("bytes:3,tag=long", WELL, WRONG, ""),
    ("partial,tag=Long", WELL, WRONG, ""),
    ("type:0xca,tag=Long", WELL, "device refused (status 0xff, extended 0x2107)", ""),
    ("silent,tag=Long", WELL, SILENT, ""),
    ("hang-up", WELL, WELL, ""),
    ("hang-up:0.02", WELL, WELL, ""),
    ("no-context", WELL, WELL, ""),
    ("context", WELL, WELL, ""),
    ("partial:6,tag=Long", WELL, WELL, ""),
    ("limit:24", WELL, WELL, ""),
    ("refused:0x08,service=0x0a", WELL, WELL, ""),
    ("silent,service=0x0a", WELL, WELL, ""),
    ("split:0.001", WELL, WELL, ""),
]
TAGS = (
    Tag("short", "Short", "DINT"),
    Tag("real", "Real", "REAL"),
    Tag("long", "Long", "DINT", length=200),
)


@pytest.mark.parametrize(
    ("fault", "quality", "long", "words"), VERDICTS, ids=[verdict[0] for verdict in VERDICTS]
)
def test_the_verdict_on_a_misbehaving_device_is_said(
    fault: str, quality: str, long: str, words: str
) -> None:
    long = quality if long is SAME else long
    timeout_s = SILENT_S if "silent" in fault or SILENT in (quality, long) else ANSWERING_S

    async def scenario() -> None:
        settings = Settings(faults=(fault,))
        async with Simulator(["Short=DINT", "Real=REAL", "Long=DINT[200]"], settings) as plc:
            plc["Short"] = 7
            device = Device(
                "d",
                "enip",
                "{}:{}".format(*plc.address),
                timeout_s=timeout_s,
                retries=0,
                demote_after=100,
                groups=(Group("g", 0.05, TAGS),),
            )
            async with polled(device) as (wire, published):
                await published.until_blocks(4)  # over a connection in use, with what was learnt
                told = {name: explain(sample[1]) for name, sample in published.values.items()}
                assert told == {"d.short": quality, "d.real": quality, "d.long": long}
                assert wire.devices["d"].counters.last_error == words
                if quality == WELL:
                    assert published.value("d.short") == 7
                if long == WELL:
                    assert published.value("d.long") == [0] * 200

    asyncio.run(scenario())


def test_a_device_that_refuses_sessions_is_not_connected() -> None:
    async def scenario() -> None:
        async with Simulator(["Short=DINT"], Settings(faults=("no-session",))) as plc:
            address = "{}:{}".format(*plc.address)
            device = Device("d", "enip", address, groups=(Group("g", 0.05, TAGS[:1]),))
            async with polled(device) as (_, published):
                await published.until_blocks(1)
                assert explain(published.values["d.short"][1]) == "no connection to the device"

    asyncio.run(scenario())


def test_a_tag_without_an_answer_costs_those_of_its_packet_one_poll() -> None:
    async def scenario() -> None:
        settings = Settings(faults=("silent,tag=Short",))
        async with Simulator(["Short=DINT", "Real=REAL", "Long=DINT[200]"], settings) as plc:
            device = Device(
                "d", "enip", "{}:{}".format(*plc.address), timeout_s=SILENT_S, retries=0,
                groups=(Group("g", 0.05, TAGS),),
            )  # fmt: skip
            async with polled(device) as (wire, published):
                await published.until(lambda: published.value("d.real") == 0.0)
                assert explain(published.values["d.short"][1]) == SILENT
                assert wire.devices["d"].counters.last_error == ""
                plc.faults.end(lambda fault: True)
                await published.until(lambda: published.value("d.short") == 0)

    asyncio.run(scenario())


WRITES = [
    # fault, what came of a write in words, whether that is known, what the device then holds
    ("silent,service=0x4d", "no reply in time", False, 5),
    ("session,service=0x4d", "reply with another session handle", False, 5),
    ("service:0x4c,service=0x4d", "service 0xcc answers 0x4d", False, 5),
    ("refused:0x0f,service=0x4d", "privilege violation (0x0f)", True, 5),
    ("hang-up", "", True, 5),
    ("no-context", "", True, 5),
]


@pytest.mark.parametrize(("fault", "words", "known", "held"), WRITES)
def test_what_came_of_a_write_to_a_misbehaving_device_is_said(
    fault: str, words: str, known: bool, held: int
) -> None:
    timeout_s = SILENT_S if "silent" in fault else ANSWERING_S

    async def scenario() -> None:
        async with Simulator(["Short=DINT"], Settings(faults=(fault,))) as plc:
            driver = make_driver(
                Device("d", "enip", "{}:{}".format(*plc.address), timeout_s=timeout_s)
            )
            await driver.open()
            try:
                outcome = await driver.write([(TAGS[0], 0, [5])])
            finally:
                await driver.close()
            assert (outcome.error, not outcome.unknown) == (words, known)
            assert plc["Short"] == held

    asyncio.run(scenario())


def test_a_text_that_the_device_cannot_hold_names_its_character() -> None:
    async def scenario() -> None:
        async with Simulator(["Text=STRING82"], Settings()) as plc:
            driver = make_driver(Device("d", "enip", "{}:{}".format(*plc.address), timeout_s=5.0))
            await driver.open()
            try:
                tag = Tag("text", "Text", "STRING", writable=True)
                outcome = await driver.write([(tag, 0, ["5 €"])])
            finally:
                await driver.close()
            assert outcome.failure is not None and not outcome.unknown
            assert outcome.error.endswith("'€' (U+20AC) cannot be said in latin-1")
            assert plc["Text"] == ""

    asyncio.run(scenario())


def test_faults_are_ended_while_it_runs() -> None:
    async def scenario() -> None:
        settings = Settings(faults=("refused:8,times=1", "refused:5,tag=Short"))
        async with Simulator(["Short=DINT"], settings) as plc:
            device = Device(
                "d", "enip", "{}:{}".format(*plc.address), groups=(Group("g", 0.05, TAGS[:1]),)
            )
            async with polled(device) as (_, published):
                await published.until_blocks(2)
                assert "no such address" in explain(published.values["d.short"][1])
                assert plc.faults.active == [parse_fault("refused:5,tag=Short")]
                plc.faults.end(lambda fault: True)
                await published.until(lambda: published.value("d.short") == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("verbose", ["-vv", "-vvvv"])
def test_a_server_that_misbehaves_logs_its_requests_too(verbose: str) -> None:
    words = ["-a", "127.0.0.1:0", "--no-config", verbose, "Short=DINT", "--fault", "refused:5"]
    (plc,) = simulators_of(parser().parse_args(words))
    with plc, client.connector(*plc.address, timeout=ANSWERING_S) as connection:
        (result,) = connection.synchronous(client.parse_operations(["Short"]))
        assert result.status == 5
