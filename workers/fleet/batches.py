"""Readings and gaps as messages of atomic batches, each message of a size that the server takes."""

from dataclasses import dataclass, field

from cpppod.protocols.bus import feed
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.fleet.records import BEGINNING, Place
from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.batch import Batch, Gap, Reading
from cpppod.workers.transport.nats_link import Outgoing


@dataclass(slots=True)
class Chain:
    """How far the stream has one worker's history.

    Attributes:
        sequence: the last one that `subject` has in the stream.
        place: of the last message there.
        known: what is not behind this place is in the stream, or was said to be lost.
        ids: whether messages have one: a server refuses those that it had in the last minutes.
    """

    subject: str
    sequence: int = 0
    place: Place = BEGINNING
    known: Place = BEGINNING
    ids: bool = field(default=True)

    def lacks(self, epoch: int, sequence: int) -> bool:
        """Whether the stream does not have that block yet."""
        return (epoch, sequence) > self.known[:2]

    def lacks_gap(self, gap: Gap) -> bool:
        """Whether the stream may not have that gap yet; one with `last` 0 ends a life."""
        return gap.epoch >= self.known.epoch if not gap.last else self.lacks(gap.epoch, gap.last)


@dataclass(slots=True)
class Part:
    """What is stored together.

    Attributes:
        place: how far the history is with it.
    """

    place: Place
    messages: list[Outgoing]


def parts_of(
    worker: Worker, publisher: str, batch: Batch, chain: Chain, *, count: int, size: int
) -> list[Part]:
    """What the stream does not have yet of a publisher's readings and gaps.

    Args:
        count: messages in a part, but for a block that is in more by itself.
        size: bytes of a message.
    """
    place = chain.place
    found: list[Part] = []
    for item in _wanted(publisher, batch, chain):
        if isinstance(item, Gap):
            messages = _gap(worker, item, place, size)
        else:
            before, place = place, Place(item.epoch, item.sequence, item.gateway_us)
            messages = _block(worker, item, place, before, size)
        if not chain.ids:
            for message in messages:
                message.headers.pop(records.ID, None)
        if not found or len(found[-1].messages) + len(messages) > count:
            found.append(Part(place, []))
        found[-1].messages += messages
        found[-1].place = place
    return found


def _wanted(publisher: str, batch: Batch, chain: Chain) -> list[Gap | Reading]:
    gaps = [each for each in batch.gaps if each.publisher == publisher and chain.lacks_gap(each)]
    readings = [each for each in batch.readings if each.publisher == publisher]
    return [*gaps, *(each for each in readings if chain.lacks(each.epoch, each.sequence))]


def _block(
    worker: Worker, reading: Reading, place: Place, before: Place, size: int
) -> list[Outgoing]:
    body = feed.Block(reading.members, reading.tags, reading.values, reading.qualities)
    message = feed.ValueMessage(
        reading.publisher,
        reading.epoch,
        reading.sequence,
        0,
        reading.source_us,
        reading.gateway_us,
        reading.mono_us,
        feed.Kind.BLOCK,
        body,
    )
    names = (worker.options["site"], worker.gateway_name, reading.publisher)
    gateway = reading.gateway or worker.gateway
    subject = subjects.history(*names, reading.device, reading.group)
    headers = records.block_headers(worker.gateway, reading.publisher, place, before)
    return cut(subject, headers, message.encode(gateway), size)


def _gap(worker: Worker, gap: Gap, place: Place, size: int) -> list[Outgoing]:
    names = (worker.options["site"], worker.gateway_name, gap.publisher)
    headers = records.gap_headers(worker.gateway, place)
    return cut(subjects.history(*names), headers, records.encode_gap(gap._asdict()), size)


def cut(subject: str, headers: dict[str, str], body: bytes, size: int) -> list[Outgoing]:
    """A message, in parts where it is larger than `size`.

    Raises:
        EncodeError: there would be too many of them.
    """
    return [Outgoing(subject, data, own) for own, data in records.parts_of(headers, body, size)]
