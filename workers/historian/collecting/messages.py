"""Messages of a site's stream as a store's batch; what cannot be read is set aside."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cpppod.protocols.bus.topics import topic
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.journal.batch import Batch, Gap, Quarantined, Reading


class Received(NamedTuple):
    """A message as a server gives it."""

    subject: str
    headers: Mapping[str, str]
    data: bytes


def batch_of(received: Iterable[Received]) -> Batch:
    """The readings and gaps of some messages; what comes twice among them is there once."""
    batch = Batch()
    known: set[object] = set()
    for message in received:
        try:
            item = _item(message)
        except DecodeError as error:
            batch.quarantined.append(_set_aside(message, str(error)))
            continue
        key = item if isinstance(item, Gap) else (item.gateway, *item[:3])
        if key in known:
            continue
        known.add(key)
        if isinstance(item, Gap):
            batch.gaps.append(item)
        else:
            batch.readings.append(item)
    return batch


def _item(message: Received) -> Reading | Gap:
    """What a message says.

    Raises:
        DecodeError: nothing of this version.
    """
    gateway = message.headers.get(records.GATEWAY, "")
    if not gateway:
        raise DecodeError(f"no header {records.GATEWAY}", status=0)
    if message.headers.get(records.KIND) == records.GAP:
        return Gap(**records.decode_gap(message.data), gateway=gateway)
    block = records.decode_block(message.data)
    tokens = message.subject.split(".")
    device, group = tokens[-2:]
    topic(device, group)
    return Reading(
        block.publisher,
        block.epoch,
        block.sequence,
        device,
        group,
        block.source_us,
        block.gateway_us,
        block.mono_us,
        block.body.members,
        block.body.tags,
        block.body.values,
        block.body.qualities,
        gateway,
    )


def _set_aside(message: Received, why: str) -> Quarantined:
    place = records.Place(0, 0)
    worker = "?"
    try:
        worker = subjects.worker_of(message.subject)[1]
        place = records.place_of(message.headers)
    except DecodeError:
        pass  # it is set aside all the same
    gateway = message.headers.get(records.GATEWAY, "")
    subject = message.subject.encode(errors="replace")
    return Quarantined(worker, *place, why, subject, message.data, gateway)
