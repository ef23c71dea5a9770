"""Messages of a site's stream as a store's batch; what cannot be read is set aside."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cpppod.protocols.bus.topics import topic
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.historian.collecting.chains import Chains
from cpppod.workers.journal.batch import Batch, Gap, Quarantined, Reading


class Received(NamedTuple):
    """A message as a server gives it."""

    subject: str
    headers: Mapping[str, str]
    data: bytes


class Assembly:
    """Messages that come in parts, put together again; the parts of one lie behind each other."""

    def __init__(self) -> None:
        self._parts: list[Received] = []

    @property
    def waits(self) -> int:
        """For so many messages before the next the end has not come yet."""
        return len(self._parts)

    def take(self, message: Received) -> list[Received]:
        """What is whole with this message; parts without the others come out as they are."""
        try:
            number, count = records.part_of(message.headers)
        except DecodeError:
            return [*self._give_up(), message]
        if number == 1:
            found = self._give_up()
            if count == 1:
                return [*found, message]
            self._parts = [message]
            return found
        known = self._parts
        if number != len(known) + 1 or not _belongs(message, known[0]):
            return [*self._give_up(), message]
        known.append(message)
        if number < count:
            return []
        whole = known[0]._replace(
            headers={key: text for key, text in known[0].headers.items() if key != records.PART},
            data=b"".join(each.data for each in known),
        )
        self._parts = []
        return [whole]

    def _give_up(self) -> list[Received]:
        found, self._parts = self._parts, []
        return found


def _belongs(message: Received, first: Received) -> bool:
    own = (records.GATEWAY, records.KIND, records.PLACE, records.PREVIOUS)
    same = all(message.headers.get(key) == first.headers.get(key) for key in own)
    return same and message.subject == first.subject


def batch_of(received: Iterable[Received], chains: Chains | None = None) -> Batch:
    """The readings and gaps of some messages; what comes twice among them is there once.

    What the messages show to be missing between them is a gap too.
    """
    batch = Batch()
    known: set[object] = set()
    for message in received:
        try:
            item = _item(message)
            hole = _follow(message, item, chains) if chains is not None else None
        except DecodeError as error:
            batch.quarantined.append(_set_aside(message, str(error)))
            continue
        if hole is not None:
            batch.gaps.append(hole)
        key = item if isinstance(item, Gap) else (item.gateway, *item[:3])
        if key in known:
            continue
        known.add(key)
        if isinstance(item, Gap):
            batch.gaps.append(item)
        else:
            batch.readings.append(item)
    return batch


def _follow(message: Received, item: Reading | Gap, chains: Chains) -> Gap | None:
    """What is missing before a message.

    Raises:
        DecodeError: it does not say where it is.
    """
    if isinstance(item, Gap):
        return None
    place = records.place_of(message.headers)
    before = records.place_of(message.headers, records.PREVIOUS)
    return chains.follow(item.gateway, item.publisher, before, place)


def _item(message: Received) -> Reading | Gap:
    """What a message says.

    Raises:
        DecodeError: nothing of this version.
    """
    gateway = message.headers.get(records.GATEWAY, "")
    if not gateway:
        raise DecodeError(f"no header {records.GATEWAY}", status=0)
    if records.part_of(message.headers) != (1, 1):
        raise DecodeError(f"part {message.headers[records.PART]} without the others", status=0)
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
    place = records.BEGINNING
    worker = "?"
    try:
        worker = subjects.worker_of(message.subject)[1]
        place = records.place_of(message.headers)
    except DecodeError:
        pass  # it is set aside all the same
    gateway = message.headers.get(records.GATEWAY, "")
    subject = message.subject.encode(errors="replace")
    return Quarantined(worker, *place[:2], why, subject, message.data, gateway)
