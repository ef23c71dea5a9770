"""The plant as Sparkplug's edge node: devices, their metrics, and what the last values are.

    feed      ─► `take`      newest values: what births say
    journals  ─► `messages`  data in its order; a value from before the births is historical

A device dies with a block that says it does not answer, and is born again by the first that does.
Before its historical values are through, nobody dies: without a birth they could not be said.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpppod.protocols.bus.feed import Block
from cpppod.protocols.model.plant import Device, Tag
from cpppod.protocols.model.values import Quality, is_bad
from cpppod.protocols.sparkplug.edge import Definition, EdgeNode, Message, Sample
from cpppod.protocols.sparkplug.payload import datatype_of
from cpppod.protocols.sparkplug.topics import Address
from cpppod.workers.journal.batch import Reading

DEAD = frozenset({Quality.TIMEOUT, Quality.NOT_CONNECTED, Quality.DISABLED})


class SparkplugPlant:
    """The devices of one edge node.

    Attributes:
        definitions: device -> its metrics.
    """

    def __init__(
        self, devices: Sequence[Device], groups: frozenset[tuple[str, str]], *, arrays: bool
    ) -> None:
        self.definitions: dict[str, list[Definition]] = {}
        self._values: dict[str, dict[str, Sample]] = {}
        self._dead: dict[str, bool] = {}
        for device in devices:
            tags = [
                tag
                for group in device.groups
                if (device.name, group.name) in groups
                for tag in group.tags
                if tag.length == 1 or arrays
            ]
            if tags:
                self.definitions[device.name] = [_definition(tag) for tag in tags]
                self._values[device.name] = {}

    def take(self, device: str, block: Block, source_us: int) -> None:
        """The newest values of a device's group, from the feed."""
        values = self._values.get(device)
        if values is None:
            return
        for tag, value, quality in block.samples():
            values[tag] = _sample(tag, value, quality, source_us)
        self._dead[device] = says_dead(block.qualities)

    def births(self, node: EdgeNode, now_ms: int) -> Iterator[Message]:
        """The node's birth and every device's.

        Raises:
            EncodeError: a value that its type cannot say.
        """
        yield node.birth(now_ms)
        for name in self.definitions:
            yield self._birth(node, name, now_ms)

    def deaths(self, node: EdgeNode, now_ms: int) -> Iterator[Message]:
        """Of devices that do not answer; to be said when nothing historical is left."""
        for name, dead in self._dead.items():
            if dead and (message := node.device_death(name, now_ms)) is not None:
                yield message

    def _birth(self, node: EdgeNode, name: str, now_ms: int) -> Message:
        return node.device_birth(name, self._values[name].values(), now_ms)

    def messages(
        self, node: EdgeNode, reading: Reading, now_ms: int, *, born_us: int
    ) -> Iterator[Message]:
        """A reading as it is said in a session whose births were at `born_us`.

        Raises:
            EncodeError: a value that its type cannot say.
        """
        name = reading.device
        values = self._values.get(name)
        if values is None:
            return
        samples = [
            _sample(tag, value, reading.quality(at), reading.source_us)
            for at, (tag, value) in enumerate(zip(reading.tags, reading.values, strict=True))
        ]
        if reading.source_us < born_us:
            yield from node.data(name, samples, now_ms, historical=True)
            return
        for sample in samples:
            if (last := values.get(sample.name)) is None or last[3] <= sample.timestamp_ms:
                values[sample.name] = sample
        if says_dead(reading.qualities):
            if (message := node.device_death(name, now_ms)) is not None:
                yield message
        elif node.is_born(name):
            yield from node.data(name, samples, now_ms)
        else:
            yield self._birth(node, name, now_ms)


def says_dead(qualities: int | list[int]) -> bool:
    """Whether a block says that its device does not answer."""
    given = [qualities] if isinstance(qualities, int) else qualities
    return bool(given) and all(quality & 0xFF in DEAD for quality in given)


def address_of(options: Mapping[str, Any], gateway: str) -> Address:
    """The edge node that the section names."""
    return Address(options["group_id"], options["edge_node"] or gateway)


def _definition(tag: Tag) -> Definition:
    return Definition(tag.name, datatype_of(tag.cip_type, array=tag.length > 1))


def _sample(tag: str, value: Any, quality: int, source_us: int) -> Sample:
    bad = is_bad(quality)
    number = 0 if bad else 192 if quality & 0xFF == Quality.GOOD else 500
    return Sample(tag, None if bad else value, number, source_us // 1000)
