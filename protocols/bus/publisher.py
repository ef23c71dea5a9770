"""A publisher's side of the feed: numbering, the last whole block of each group, heartbeats.

One `Publisher` per worker that publishes. It numbers every block it makes, so each must be sent, or
be given up for lost: a number that the feed does not get is a declared gap.
"""

from typing import Any

from cpppod.protocols.bus.feed import Block, Kind, ValueMessage
from cpppod.protocols.bus.topics import heartbeat_topic, topic
from cpppod.protocols.model.values import Quality

NAMED_IN = 3  # heartbeats: who misses three in a row has noticed the silence (2.5 s)

Message = tuple[bytes, bytes]  # topic, payload


class _Group:
    """What a topic is worth: its whole block, and the envelope of the last one published."""

    __slots__ = ("count", "last", "samples", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        self.count = 0
        self.samples: dict[str, tuple[Any, int]] = {}
        self.last = (0, 0, 0)  # source_us, gateway_us, mono_us


class Publisher:
    """Makes the value messages of one life (epoch) of one publisher.

    Attributes:
        sequence: of the last block, over all topics; 0 before the first.
    """

    def __init__(self, name: str, epoch: int, gateway: str = "") -> None:
        self.name = name
        self.epoch = epoch
        self.gateway = gateway
        self.sequence = 0
        self._groups: dict[bytes, _Group] = {}
        # topic -> sequence, since the last heartbeat, since the one before, and the one before that
        self._moved: list[dict[str, int]] = [{} for _ in range(NAMED_IN)]

    def block(
        self,
        device: str,
        group: str,
        count: int,
        samples: dict[str, tuple[Any, int]],
        *,
        source_us: int,
        gateway_us: int,
        mono_us: int,
    ) -> Message:
        """The next block: `samples` (tag -> value, quality) changed, the rest is as it was.

        The first block of a group must name all its `count` members.

        Raises:
            EncodeError: a value that msgpack cannot say, or too many; the number is then not used.
        """
        name = topic(device, group)
        known = self._groups.get(name) or _Group()
        qualities: int | list[int] = [quality for _, quality in samples.values()]
        if len(set(qualities)) <= 1:  # type: ignore[arg-type]
            qualities = qualities[0] if samples else int(Quality.GOOD)  # type: ignore[index]
        payload = ValueMessage(
            self.name,
            self.epoch,
            self.sequence + 1,
            known.sequence,
            source_us,
            gateway_us,
            mono_us,
            Kind.BLOCK,
            Block(count, list(samples), [value for value, _ in samples.values()], qualities),
        ).encode(self.gateway)
        self.sequence += 1
        self._groups[name] = known
        known.sequence = self.sequence
        known.count = count
        known.samples.update(samples)
        known.last = (source_us, gateway_us, mono_us)
        self._moved[0][name.decode()] = self.sequence
        return name, payload

    def resend(self) -> list[Message]:
        """The last whole block of every group with its own times and sequence: the feed is new."""
        return [
            (name, self._repeat(known)) for name, known in self._groups.items() if known.samples
        ]

    def heartbeat(self, *, gateway_us: int, mono_us: int) -> Message:
        """What to send every second: the last sequence, and those of topics that moved lately."""
        moved: dict[str, int] = {}
        for since in reversed(self._moved):
            moved |= since
        self._moved = [{}, *self._moved[:-1]]
        payload = ValueMessage(
            self.name,
            self.epoch,
            self.sequence,
            0,
            0,
            gateway_us,
            mono_us,
            Kind.HEARTBEAT,
            moved,
        ).encode(self.gateway)
        return heartbeat_topic(self.name), payload

    def forget(self, device: str, group: str) -> None:
        """Repeat this group no more: it is no longer configured, or belongs to another worker."""
        self._groups.pop(topic(device, group), None)

    def whole(self, device: str, group: str) -> dict[str, tuple[Any, int]]:
        """What the group is worth as last published; empty if it never was."""
        known = self._groups.get(topic(device, group))
        return dict(known.samples) if known else {}

    def _repeat(self, known: _Group) -> bytes:
        samples = known.samples
        return ValueMessage(
            self.name,
            self.epoch,
            known.sequence,
            0,
            *known.last,
            Kind.REPEAT,
            Block(
                known.count,
                list(samples),
                [value for value, _ in samples.values()],
                [quality for _, quality in samples.values()],
            ),
        ).encode(self.gateway)
