"""Readings and gaps as messages of atomic batches."""

from dataclasses import dataclass

from cpppod.protocols.bus import feed
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.fleet.records import Place
from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.batch import Batch, Gap, Reading
from cpppod.workers.transport.nats_link import Outgoing


@dataclass(slots=True)
class Chain:
    """How far the stream has one worker's history.

    Attributes:
        sequence: the last one that `subject` has in the stream.
    """

    subject: str
    sequence: int
    place: Place


def messages_of(
    worker: Worker, publisher: str, batch: Batch, place: Place, size: int
) -> list[tuple[Place, list[Outgoing]]]:
    """What the stream does not have yet of a publisher's readings and gaps, in batches.

    Each comes with the place that the history is at when it is stored. What goes with a reading
    that is stored, a gap before it, is stored too: batches are stored whole.
    """
    readings = [
        each
        for each in batch.readings
        if each.publisher == publisher and (each.epoch, each.sequence) > place
    ]
    told = any(each.publisher == publisher for each in batch.readings) and not readings
    gaps = [] if told else [each for each in batch.gaps if each.publisher == publisher]
    found = [(place, _gap(worker, gap, place)) for gap in gaps]
    for reading in readings:
        place = Place(reading.epoch, reading.sequence)
        found.append((place, _block(worker, reading, place)))
    return [
        (found[min(at + size, len(found)) - 1][0], [each for _, each in found[at : at + size]])
        for at in range(0, len(found), size)
    ]


def _block(worker: Worker, reading: Reading, place: Place) -> Outgoing:
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
    return Outgoing(
        subjects.history(*names, reading.device, reading.group),
        message.encode(gateway),
        records.block_headers(worker.gateway, reading.publisher, place),
    )


def _gap(worker: Worker, gap: Gap, place: Place) -> Outgoing:
    plain = gap._asdict()
    names = (worker.options["site"], worker.gateway_name, gap.publisher)
    return Outgoing(
        subjects.history(*names),
        records.encode_gap(plain),
        records.gap_headers(worker.gateway, gap.publisher, place, plain),
    )
