"""Readings as JSON messages.

    cpppod/<gateway>/<device>/<group>     a block: {"gateway", "publisher", "epoch", "sequence",
                                          "source_us", "gateway_us", "members", "tags": {tag:
                                          {"value", "quality"}}}
    with {tag} in the topic               a tag: {"value", "quality", "source_us", "gateway_us",
                                          "gateway", "publisher", "epoch", "sequence"}
    cpppod/<gateway>/-/gaps               readings that will not come: {"gap": {...}}
    cpppod/<gateway>/-/status             retained: {"online": true or false, "gateway", ...}
    cpppod/<gateway>/-/write, -/reply     commands and their answers (`workers.outlets.commands`)

A block that is larger than the broker takes comes in parts, with "part" and "parts" beside its own
numbers; a value that is larger by itself is null, and its quality says so.

(gateway, publisher, epoch, sequence) is a block's own: what comes twice is known by it. A quality
is "good" or the reason in words; the value of a bad one is null. What stands before {device} in
the topic stands before `-` too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cpppod.protocols.model.values import explain
from cpppod.workers.journal.batch import Batch, Gap, Reading
from cpppod.workers.mqtt.connection import Outgoing

AROUND = 32  # bytes of a packet beside its topic and payload
MOST_PARTS = 99_999
TOO_LARGE = {"value": None, "quality": "larger than the broker takes"}


class PlainForm:
    """How one section says things.

    Args:
        options: of the section.
        name, gateway: what people call the gateway, and its id.
        inputs: (device, tag) of computed tags -> what each reads.

    Attributes:
        largest: packet that the broker takes, in bytes; 0 any.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        name: str,
        gateway: str,
        inputs: Mapping[tuple[str, str], Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.largest = 0
        self._inputs = inputs
        self._template: str = options["topic"]
        self._names = {"gateway": name, "id": gateway}
        self._gateway = gateway
        self._by_tag = "{tag}" in self._template
        retain = options["retain"]
        self._retain = self._by_tag if retain is None else bool(retain)
        before = self._template.partition("{device}")[0].partition("{group}")[0]
        before = before.partition("{tag}")[0].rpartition("/")[0]
        self._own = f"{before.format(**self._names)}/-".lstrip("/")

    def own_topic(self, what: str) -> str:
        """A topic of the gateway itself: status, gaps, write, reply."""
        return f"{self._own}/{what}"

    def status(self, *, online: bool, now_us: int) -> Outgoing:
        """Whether the gateway is there; the broker keeps it."""
        told = {"online": online, "gateway": self._gateway, "since_us": now_us}
        return Outgoing(self.own_topic("status"), _bytes(told), retain=True)

    def messages(self, batch: Batch) -> Iterator[Outgoing]:
        """What a batch is, in its order; gaps before the readings that follow them."""
        for gap in batch.gaps:
            yield Outgoing(self.own_topic("gaps"), _bytes({"gap": _gap(gap)}))
        for reading in batch.readings:
            yield from self._by_tags(reading) if self._by_tag else self._blocks(reading)

    def _fits(self, topic: str, payload: bytes) -> bool:
        return not self.largest or len(topic.encode()) + len(payload) + AROUND <= self.largest

    def _topic(self, reading: Reading, tag: str = "") -> str:
        names = {**self._names, "device": reading.device, "group": reading.group, "tag": tag}
        return self._template.format(**names)

    def _blocks(self, reading: Reading) -> Iterator[Outgoing]:
        tags = {
            tag: {"value": value, "quality": self._worth(reading, at)}
            for at, (tag, value) in enumerate(zip(reading.tags, reading.values, strict=True))
        }
        topic, told = self._topic(reading), self._key(reading) | {"members": reading.members}
        whole = _bytes(told | {"tags": tags})
        if self._fits(topic, whole):
            yield Outgoing(topic, whole, self._retain)
            return
        parts = self._parts(topic, told | {"part": MOST_PARTS, "parts": MOST_PARTS}, tags)
        for number, part in enumerate(parts, 1):
            own = told | {"part": number, "parts": len(parts), "tags": part}
            yield Outgoing(topic, _bytes(own), self._retain)

    def _parts(
        self, topic: str, told: dict[str, Any], tags: dict[str, dict[str, Any]]
    ) -> list[dict[str, dict[str, Any]]]:
        """The tags in parts, each of which fits beside `told`."""
        if self._fits(topic, _bytes(told | {"tags": tags})):
            return [tags]
        if len(tags) == 1:
            return [dict.fromkeys(tags, TOO_LARGE)]
        each = list(tags.items())
        halves = each[: len(each) // 2], each[len(each) // 2 :]
        return [part for half in halves for part in self._parts(topic, told, dict(half))]

    def _by_tags(self, reading: Reading) -> Iterator[Outgoing]:
        key = self._key(reading)
        for at, (tag, value) in enumerate(zip(reading.tags, reading.values, strict=True)):
            topic = self._topic(reading, tag)
            payload = _bytes({"value": value, "quality": self._worth(reading, at), **key})
            if not self._fits(topic, payload):
                payload = _bytes({**TOO_LARGE, **key})
            yield Outgoing(topic, payload, self._retain)

    def _worth(self, reading: Reading, at: int) -> str:
        return explain(
            reading.quality(at), self._inputs.get((reading.device, reading.tags[at]), ())
        )

    def _key(self, reading: Reading) -> dict[str, Any]:
        return {
            "source_us": reading.source_us,
            "gateway_us": reading.gateway_us,
            "gateway": reading.gateway or self._gateway,
            "publisher": reading.publisher,
            "epoch": reading.epoch,
            "sequence": reading.sequence,
        }


def _gap(gap: Gap) -> dict[str, Any]:
    return {key: value for key, value in gap._asdict().items() if value != ""}


def _bytes(told: Any) -> bytes:
    return json.dumps(told, separators=(",", ":"), default=_text).encode()


def _text(value: object) -> str:
    """What JSON has no form for: bytes, as hexadecimal."""
    return value.hex() if isinstance(value, bytes) else repr(value)
