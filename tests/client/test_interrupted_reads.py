"""Reads that take a second stage, and a target that goes away in it: no value is made up.

packet [A[0-2], T]  ─► A: more data remains (6), T: 7      first stage
A alone             ─► whatever the test says              second stage
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.client import (
    AsyncConnector,
    CommunicationCeased,
    Connector,
    EnipStatusError,
    ReplyTimeout,
    parse_operations,
)
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.model.plant import Group, Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceError
from tests.client.hostile_target import SESSION, hostile_target, wrapped
from tests.protocols.enip.originator.test_exchange import batch_reply
from tests.workers.drivers.enip.test_driver import device_at, with_driver

Second = Callable[[Frame, bytes], bytes]
ARRAY = struct.pack("<3h", 1, 2, 3)
TIMEOUT_S = 0.3


def closes(frame: Frame, request: bytes) -> bytes:
    raise ConnectionResetError


def answers(frame: Frame, request: bytes) -> bytes:
    return wrapped(frame, bytes((request[0] | 0x80, 0, 0, 0)) + b"\xc3\0" + ARRAY)


SECOND: dict[str, tuple[Second, type[Exception]]] = {
    "closed": (closes, CommunicationCeased),
    "silent": (lambda frame, request: b"", ReplyTimeout),
    "noise": (lambda frame, request: b"\x5a" * 100, CommunicationCeased),
    "refused": (
        lambda frame, request: Frame(0x6F, b"", SESSION, 1, frame.context).encode(),
        EnipStatusError,
    ),
    "another type": (
        lambda frame, request: wrapped(frame, bytes((request[0] | 0x80, 0, 0, 0)) + b"\xc3\0\1"),
        CommunicationCeased,
    ),
}


def target_with(second: Second, first: bytes = b"\xc3\0\1\0") -> Callable[[Frame, bytes], bytes]:
    """A target of which `first` is all that a packet has room for of A."""

    def answer(frame: Frame, request: bytes) -> bytes:
        if request[0] == 0x0A:
            replies = [b"\xcc\0\6\0" + first, b"\xcc\0\0\0\xc3\0\7\0"]
            return wrapped(frame, batch_reply(replies))
        return second(frame, request)

    return answer


GROUP = Group("g", 1.0, (Tag("a", "A", "INT", length=3), Tag("t", "T", "INT")))
LONG = Group("g", 1.0, (Tag("a", "A", "LINT"), Tag("t", "T", "INT")))
ALONE = {"silent": Quality.TIMEOUT, "another type": Quality.BAD_REPLY}  # it costs that tag alone
PARTS = [(GROUP, b"\xc3\0\1\0"), (LONG, b"\xc5\0\1\0\0\0")]


@pytest.mark.parametrize(("group", "first"), PARTS, ids=["array", "scalar"])
@pytest.mark.parametrize("kind", [kind for kind in SECOND if kind not in ALONE])
def test_a_poll_says_why_and_has_no_value(kind: str, group: Group, first: bytes) -> None:
    second, _ = SECOND[kind]
    with (
        hostile_target(target_with(second, first)) as address,
        pytest.raises(DeviceError) as caught,
    ):
        with_driver(device_at(address, timeout_s=TIMEOUT_S), lambda driver: driver.poll(group))
    assert caught.value.text
    assert caught.value.quality & 0xFF >= Quality.BAD


@pytest.mark.parametrize(("group", "first"), PARTS, ids=["array", "scalar"])
@pytest.mark.parametrize("kind", ALONE)
def test_a_poll_has_the_values_beside_one_that_is_not_answered(
    kind: str, group: Group, first: bytes
) -> None:
    second, _ = SECOND[kind]
    with hostile_target(target_with(second, first)) as address:
        samples = with_driver(
            device_at(address, timeout_s=TIMEOUT_S), lambda driver: driver.poll(group)
        )
    assert samples == {"a": (None, int(ALONE[kind])), "t": (7, int(Quality.GOOD))}


@pytest.mark.parametrize("kind", SECOND)
def test_read_tags_raises_what_the_pipeline_raises(kind: str) -> None:
    second, error = SECOND[kind]
    tags = ["A[0-2]", "T"]

    def read(ask: Callable[[Connector], Any]) -> None:
        with (
            hostile_target(target_with(second)) as (host, port),
            Connector(host, port, timeout=TIMEOUT_S) as connection,
            pytest.raises(error),
        ):
            ask(connection)

    read(lambda connection: connection.read_tags(tags))
    read(lambda connection: list(connection.pipeline(parse_operations(tags), multiple=500)))

    async def read_asynchronously() -> None:
        with hostile_target(target_with(second)) as (host, port):
            async with await AsyncConnector.open(host, port, timeout=TIMEOUT_S) as connection:
                with pytest.raises(error):
                    await connection.read_tags(tags)

    asyncio.run(read_asynchronously())


def test_what_is_answered_in_the_second_stage_is_good_and_a_refusal_has_its_reason() -> None:
    with hostile_target(target_with(answers)) as address:
        good = with_driver(device_at(address), lambda driver: driver.poll(GROUP))
    assert good == {"a": ([1, 2, 3], 0), "t": (7, 0)}

    def refuses(frame: Frame, request: bytes) -> bytes:
        return wrapped(frame, bytes((request[0] | 0x80, 0, 5, 0)))

    with hostile_target(target_with(refuses)) as address:
        partly = with_driver(device_at(address), lambda driver: driver.poll(GROUP))
    assert partly["t"] == (7, 0)
    assert partly["a"][0] is None and partly["a"][1] & 0xFF == Quality.NOT_CONFIGURED
