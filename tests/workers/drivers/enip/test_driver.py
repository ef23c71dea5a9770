"""The gateway's EtherNet/IP driver: polls, writes, forwarding, and bad devices."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.simulator import Settings, Simulator
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.drivers.enip.driver import EnipDriver, make_driver
from tests.client.hostile_target import hostile_target, wrapped

TAGS = ["SCADA=INT[100]", "Speed=REAL", "Word=DINT", "Text=STRING82[3]", "Name=SSTRING[2]"]
GOOD = int(Quality.GOOD)


@pytest.fixture
def plc() -> Iterator[Simulator]:
    with Simulator([*TAGS, "Drive@0x93/3/10=REAL", "Flag=BOOL"], Settings()) as running:
        yield running


def device_at(address: tuple[str, int], **changes: Any) -> Device:
    made = Device("d", "enip", f"{address[0]}:{address[1]}", timeout_s=2.0)
    return replace(made, **changes)


def with_driver(device: Device, work: Callable[[EnipDriver], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        driver = make_driver(device)
        await driver.open()
        try:
            return await work(driver)
        finally:
            await driver.close()

    return asyncio.run(run())


KINDS: list[dict[str, Any]] = [{}, {"route_path": "1/0"}, {"connected": True}]


@pytest.mark.parametrize("changes", KINDS, ids=["simple", "routed", "connected"])
def test_a_group_is_read_in_packets(plc: Simulator, changes: dict[str, Any]) -> None:
    plc["SCADA"] = list(range(100))
    plc["Speed"] = 2.5
    plc["Word"] = 0b100
    plc["Text"] = ["", "two", ""]
    tags = (
        Tag("one", "SCADA[1]"),
        Tag("some", "SCADA[2]", length=3),
        Tag("speed", "Speed", "REAL"),
        Tag("bit", "Word", "DINT", bit=2),
        Tag("text", "Text[1]", "STRING"),
        Tag("attribute", "@0x93/3/10", "REAL"),
        Tag("name", "@1/1/7", "SSTRING"),
        Tag("wrong", "Speed", "INT"),
        Tag("missing", "Nowhere", "INT"),
        Tag("nonsense", "A[", "INT"),
    )
    samples = with_driver(
        device_at(plc.address, **changes), lambda d: d.poll(Group("g", 1.0, tags))
    )
    assert samples["one"] == (1, GOOD)
    assert samples["some"] == ([2, 3, 4], GOOD)
    assert samples["speed"] == (2.5, GOOD)
    assert samples["bit"] == (True, GOOD)
    assert samples["text"] == ("two", GOOD)
    assert samples["attribute"] == (0.0, GOOD)
    assert samples["name"] == ("1756-L61/B LOGIX5561", GOOD)
    mismatch = quality(Quality.DEVICE_STATUS, status=0xFF, extended=0x2107)
    assert samples["wrong"] == (None, mismatch)
    assert samples["missing"][0] is None
    assert samples["missing"][1] & 0xFF == Quality.NOT_CONFIGURED
    assert samples["nonsense"] == (None, int(Quality.NOT_CONFIGURED))


def test_a_thousand_tags_take_few_messages() -> None:
    names = [f"T{number}" for number in range(1000)]
    group = Group("g", 1.0, tuple(Tag(name, name, "DINT") for name in names))

    async def work(driver: EnipDriver) -> tuple[dict[str, Any], int]:
        samples = await driver.poll(group)
        return samples, driver.describe()["counters"]["messages"]

    with Simulator([f"{name}=DINT" for name in names]) as plc:
        samples, messages = with_driver(device_at(plc.address, connected=True), work)
    assert len(samples) == 1000
    assert messages <= 8


def test_writes_are_done_in_order_until_one_fails(plc: Simulator) -> None:
    writes: list[Any] = [
        (Tag("a", "SCADA", length=100), 3, [7, 8]),
        (Tag("s", "Text[2]", "STRING"), 0, ["hello"]),
        (Tag("n", "Name[0]", "SSTRING"), 0, ["short"]),
        (Tag("b", "Word", "DINT", bit=5), 0, [True]),
        (Tag("d", "@0x93/3/10", "REAL"), 0, [4.5]),
        (Tag("bad", "Nowhere", "INT"), 0, [1]),
        (Tag("never", "SCADA[50]", "INT"), 0, [99]),
    ]
    plc["SCADA"] = [0] * 100
    plc["Word"] = 0
    outcome = with_driver(device_at(plc.address), lambda d: d.write(writes))
    assert (outcome.failure, outcome.codes[0]) == (Failure.CIP_STATUS, 5)
    assert not outcome.unknown
    assert plc["SCADA"][3:5] == [7, 8]
    assert plc["SCADA"][50] == 0
    assert plc["Text"][2] == "hello"
    assert plc["Name"][0] == "short"
    assert plc["Word"] == 32
    assert plc["Drive"] == 4.5


SCADA_1 = bytes.fromhex("4c059105534341444100") + b"\x28\x01\1\0"


class Ends:
    """What a driver tells of relayed requests."""

    def __init__(self, driver: EnipDriver) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        driver.ends.replied = self._replied
        driver.ends.refused = lambda *refused: self.told.put_nowait(refused)
        driver.ends.lost = self.told.put_nowait

    def _replied(self, number: int, place: int, replies: list[bytes]) -> bool:
        for at, reply in enumerate(replies, place):
            self.told.put_nowait((number, at, reply))
        return True


def asked(route_path: bytes = b"") -> RouteGroup:
    return RouteGroup(1, "", 0, 5, 157, route_path, 0, b"")


def test_requests_are_relayed_byte_for_byte_beside_polls(plc: Simulator) -> None:
    plc["SCADA"] = [0, 0x0102, *[0] * 98]
    for changes in KINDS:

        async def relay(driver: EnipDriver) -> list[Any]:
            ends = Ends(driver)
            group = Group("g", 1.0, (Tag("one", "SCADA[1]"),))
            assert driver.relay(5, 7, [SCADA_1, SCADA_1[:-2] + b"\2\0"], asked(), 2.0)
            assert driver.relay(6, 0, [SCADA_1], asked(b"\1\0"), 2.0)
            assert (await driver.poll(group))["one"] == (0x0102, GOOD)
            return [await ends.told.get() for _ in range(3)]

        told = with_driver(device_at(plc.address, **changes), relay)
        assert sorted(told) == [
            (5, 7, bytes.fromhex("cc000000c3000201")),
            (5, 8, bytes.fromhex("cc000000c30002010000")),
            (6, 0, bytes.fromhex("cc000000c3000201")),
        ]


def test_connection_that_is_gone_is_told_and_takes_nothing(plc: Simulator) -> None:
    async def relay(driver: EnipDriver) -> Any:
        ends = Ends(driver)
        plc.delay = (1.0, 1.0)
        assert driver.relay(5, 0, [SCADA_1], asked(), 2.0)
        await driver.close()
        assert not driver.relay(5, 1, [SCADA_1], asked(), 2.0)
        return await ends.told.get()

    lost = with_driver(device_at(plc.address), relay)
    assert lost.failure is Failure.LOST
    assert not lost.connected


def test_encapsulation_error_to_a_relayed_request_is_that_request_s_alone() -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        return Frame(frame.command, b"", frame.session, 3, frame.context).encode()

    async def relay(driver: EnipDriver) -> Any:
        ends = Ends(driver)
        assert driver.relay(5, 3, [SCADA_1], asked(), 2.0)
        return await ends.told.get()

    with hostile_target(answer) as address:
        number, place, error = with_driver(device_at(address), relay)
    assert (number, place, error.failure, error.codes) == (5, 3, Failure.EXCEPTION, (3,))


def test_an_absent_device_is_said() -> None:
    with pytest.raises(DeviceError) as caught:
        with_driver(device_at(("127.0.0.1", 1)), lambda d: d.poll(Group("g", 1.0)))
    assert caught.value.quality & 0xFF == Quality.NOT_CONNECTED
    assert not caught.value.connected


def test_a_device_that_went_away_is_said_and_opened_again() -> None:
    group = Group("g", 1.0, (Tag("one", "SCADA[1]"),))

    async def run() -> None:
        plc = Simulator(TAGS)
        await plc.start()
        address = plc.address
        driver = make_driver(device_at(address))
        await driver.open()
        assert (await driver.poll(group))["one"] == (0, GOOD)
        await plc.stop()
        with pytest.raises(DeviceError) as caught:
            await driver.poll(group)
        assert not caught.value.connected
        plc = Simulator(TAGS, Settings(address=f"{address[0]}:{address[1]}"))
        await plc.start()
        await driver.open()
        assert (await driver.poll(group))["one"] == (0, GOOD)
        await driver.close()
        await driver.close()
        await plc.stop()

    asyncio.run(run())


SEVEN = bytes.fromhex("cc000000c30007000000")[:-2]
LIES = [
    ("another context", lambda f: Frame(0x6F, b"", 1, 0, b"another!").encode()),
    ("too many elements", lambda f: wrapped(f, SEVEN + b"\1\0")),
    ("no end", lambda f: wrapped(f, b"\xcc\0\6\0")),
    ("noise", lambda f: b"\x5a" * 1_000_000),
    ("session 5", lambda f: wrapped(f, SEVEN, session=5)),
]


@pytest.mark.parametrize(("name", "reply"), LIES, ids=[name for name, _ in LIES])
def test_a_lying_device_is_bad_and_its_connection_given_up(name: str, reply: Any) -> None:
    group = Group("g", 1.0, (Tag("one", "T"),))

    def answer(frame: Frame, request: bytes) -> bytes:
        data: bytes = reply(frame)
        return data.replace(b"\xcc\0\6", b"\xd2\0\6") if request[0] == 0x52 else data

    with hostile_target(answer) as address, pytest.raises(DeviceError) as caught:
        with_driver(device_at(address, timeout_s=1.0), lambda d: d.poll(group))
    assert caught.value.quality & 0xFF == Quality.BAD_REPLY
    assert not caught.value.connected


def test_a_silent_device_is_a_time_out_and_a_write_to_it_unknown() -> None:
    group = Group("g", 1.0, (Tag("one", "T"),))

    async def work(driver: EnipDriver) -> Any:
        with pytest.raises(DeviceError) as caught:
            await driver.poll(group)
        return caught.value, await driver.write([(Tag("one", "T"), 0, [1])])

    with hostile_target(lambda frame, request: b"") as address:
        error, outcome = with_driver(device_at(address, timeout_s=1.0), work)
    assert error.quality & 0xFF == Quality.TIMEOUT
    assert error.connected
    assert outcome.unknown
    assert outcome.failure


def test_a_type_that_changes_gives_no_value() -> None:
    group = Group("g", 1.0, (Tag("one", "T", "INT"),))
    replies = iter([b"\xcc\0\0\0\xc3\0\7\0", b"\xcc\0\0\0\xca\0\0\0\x80\x3f"])

    async def work(driver: EnipDriver) -> list[Any]:
        return [(await driver.poll(group))["one"] for _ in range(2)]

    with hostile_target(lambda frame, request: wrapped(frame, next(replies))) as address:
        first, second = with_driver(device_at(address), work)
    assert first == (7, GOOD)
    assert second[0] is None
    assert second[1] & 0xFF == Quality.DEVICE_STATUS


@pytest.mark.parametrize("size", [96, 50])
def test_an_element_of_a_bool_array_is_that_element_in_polls_and_writes(size: int) -> None:
    with Simulator([f"B=BOOL[{size}]"]) as plc:
        bits = [at in (33, 34) for at in range(size)]
        plc["B"] = (
            [0, 0b110, 0] if size == 96 else bits
        )  # packed as in a controller, or a byte each
        names = (33, 2, 34, 0)
        tags = (
            *(Tag(f"b{at}", f"B[{at}]", "BOOL", writable=True) for at in names),
            Tag("some", "B[30]", "BOOL", length=5),
            Tag("beyond", f"B[{size}]", "BOOL"),
        )
        group = Group("g", 1.0, tags)

        async def work(driver: EnipDriver) -> tuple[Any, ...]:
            first, again = await driver.poll(group), await driver.poll(group)
            writes: list[Any] = [(tags[1], 0, [True]), (tags[0], 0, [False])]
            return first, again, await driver.write(writes)

        first, again, outcome = with_driver(device_at(plc.address), work)
        assert first == again
        assert [first[f"b{at}"] for at in names] == [(at > 30, GOOD) for at in names]
        assert first["some"] == ([False, False, False, True, True], GOOD)
        assert first["beyond"][1] & 0xFF == Quality.DEVICE_STATUS
        assert outcome.failure is None
        after = [at in (2, 34) for at in range(size)]
        assert plc["B"] == ([0b100, 0b100, 0] if size == 96 else after)
