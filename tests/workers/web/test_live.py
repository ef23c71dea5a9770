"""Streams of live values: encoded once, bounded, and honest about losses."""

import asyncio
import json
from typing import Any

import pytest

from cpppod.protocols.bus.feed import decode
from cpppod.protocols.bus.feed_events import Lost, PublisherChanged, Updated
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Device, Group, Tag, Worker
from cpppod.protocols.model.values import Quality
from cpppod.workers.values import ValueCache
from cpppod.workers.web import live
from cpppod.workers.web.answers import Problem
from cpppod.workers.web.live import MAX_UNREAD, Hub, Stream, as_message


class Plant:
    """A hub with two groups of one device, and who publishes them."""

    def __init__(self) -> None:
        groups = tuple(
            Group(name, 1.0, tags=(Tag(f"{name}_a", "1"), Tag(f"{name}_b", "2")))
            for name in ("fast", "slow")
        )
        worker = Worker(
            "web", "web", "", "", "", 1, devices=(Device("boiler", "none", "", groups=groups),)
        )
        self.values = ValueCache()
        self.values.configure(worker)
        self.hub = Hub(self.values)
        self._publisher = Publisher("poller", 7)

    def publish(self, group: str, **samples: tuple[Any, int]) -> None:
        topic, payload = self._publisher.block(
            "boiler", group, 2, samples, source_us=5, gateway_us=6, mono_us=7
        )
        event = Updated(topic, decode(payload), payload)
        self.values.apply(event.topic, event.message)
        self.hub.on_event(event)


def told(texts: Any) -> list[tuple[str, dict[str, Any]]]:
    messages = [json.loads(as_message(text)) for text in texts]
    return [(message["event"], message["data"]) for message in messages]


def test_a_block_is_encoded_once_for_all_who_follow_its_group() -> None:
    plant = Plant()
    streams = [plant.hub.open(["boiler.fast_a"]), plant.hub.open(["boiler"])]
    other = plant.hub.open(["boiler.slow_*"])
    plant.publish("fast", fast_a=(1.5, 0), fast_b=(None, int(Quality.TIMEOUT)))
    (one,), (two,) = (stream.take() for stream in streams)
    assert one is two
    ((kind, block),) = told([one])
    assert kind == "block" and block["topic"] == "boiler/fast"
    assert (block["publisher"], block["epoch"], block["sequence"]) == ("poller", 7, 1)
    assert block["values"] == {
        "fast_a": [1.5, 0],
        "fast_b": [None, 18, "device did not answer in time"],
    }
    assert other.take() == []


def test_blocks_name_the_one_before_so_that_a_loss_is_seen() -> None:
    plant = Plant()
    stream = plant.hub.open(["boiler.fast_a"])
    plant.publish("fast", fast_a=(1, 0), fast_b=(1, 0))
    plant.publish("slow", slow_a=(1, 0), slow_b=(1, 0))
    plant.publish("fast", fast_a=(2, 0))
    blocks = [data for _, data in told(stream.take())]
    assert [(each["sequence"], each["previous"]) for each in blocks] == [(1, 0), (3, 1)]


def test_a_stream_begins_with_its_groups_whole() -> None:
    plant = Plant()
    plant.publish("fast", fast_a=(1, 0), fast_b=(2, 0))
    plant.publish("fast", fast_a=(3, 0))
    stream = plant.hub.open(["boiler"])
    ((kind, whole),) = told(plant.hub.begin(stream))
    assert kind == "whole" and whole["values"] == {"fast_a": [3, 0], "fast_b": [2, 0]}
    assert whole["sequence"] == 2


def test_who_does_not_read_costs_bounded_memory_and_is_told_what_he_lost() -> None:
    plant = Plant()
    stream = plant.hub.open(["boiler.fast_a"])
    for number in range(5_000):
        plant.publish("fast", fast_a=(f"{number:0>100}", 0), fast_b=(1, 0))
        assert stream._unread <= MAX_UNREAD
    kept = len(stream.take())
    (lost, first), (whole, data) = told(plant.hub.begin(stream))
    assert (lost, whole) == ("lost", "whole")
    assert first["count"] + kept == 5_000
    assert data["values"]["fast_a"][0].endswith("4999")
    plant.publish("fast", fast_a=(1, 0))
    assert len(stream.take()) == 1


def test_a_loss_of_the_feeds_is_told_to_those_concerned() -> None:
    plant = Plant()
    fast, slow = plant.hub.open(["boiler.fast_a"]), plant.hub.open(["boiler.slow_a"])
    plant.hub.on_event(Lost("poller", 7, 2, 4, b"boiler/fast/", 3))
    assert told(fast.take()) == [("lost", {"topic": "boiler/fast", "count": 3})]
    assert slow.take() == []
    plant.hub.on_event(PublisherChanged("poller", 7, False))
    assert told(slow.take()) == [("silent", {"publisher": "poller", "alive": False})]


def test_streams_and_patterns_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    monkeypatch.setattr(live, "MAX_STREAMS", 1)
    stream = plant.hub.open(["boiler"])
    with pytest.raises(Problem) as full:
        plant.hub.open(["boiler"])
    assert full.value.status == 503
    plant.hub.close(stream)
    for patterns, status in ((["kettle"], 404), ([], 422), (["x"] * 1001, 422)):
        with pytest.raises(Problem) as refused:
            plant.hub.open(patterns)
        assert refused.value.status == status
    plant.hub.close(plant.hub.open(["boiler"]))


def test_waiting_ends_where_nothing_comes() -> None:
    async def wait() -> tuple[bool, bool]:
        stream = Stream(frozenset())
        nothing = await stream.wait(0.001)
        stream.put(b"x")
        return nothing, await stream.wait(0.001)

    assert asyncio.run(wait()) == (False, True)


def test_patterns_that_cost_much_are_few() -> None:
    plant = Plant()
    plant.hub.close(plant.hub.open(["boiler", *(f"boiler.x{number}" for number in range(900))]))
    with pytest.raises(Problem) as refused:
        plant.hub.open([f"b*{number}" for number in range(21)])
    assert refused.value.status == 422
