"""What a collector makes of a stream's messages: readings and gaps once, the rest set aside."""

from cpppod.protocols.bus import feed
from cpppod.protocols.fleet import records
from cpppod.protocols.fleet.records import Place
from cpppod.protocols.model.plant import Worker
from cpppod.workers.fleet.batches import messages_of
from cpppod.workers.historian.collecting.messages import Received, batch_of
from cpppod.workers.journal.batch import Batch, Gap, Reading

WORKER = Worker(
    "fleet", "fleet", "", "", "", gateway="gw-1", gateway_name="plant", options={"site": "n"}
)


BEGINNING = Place(0, 0)


def reading(sequence: int, epoch: int = 5, publisher: str = "p") -> Reading:
    return Reading(publisher, epoch, sequence, "d", "g", 1, 2, 3, 1, ["t"], [sequence], 0, "gw-1")


def gap(first: int) -> Gap:
    return Gap("p", 5, "d", "g", first, first, 1, 1, "lost", 1, 2, "gw-1")


def received(batch: Batch, place: Place = BEGINNING, size: int = 100) -> list[Received]:
    parts = messages_of(WORKER, "p", batch, place, size)
    return [Received(m.subject, m.headers, m.payload) for _, part in parts for m in part]


def test_what_goes_out_comes_in() -> None:
    batch = Batch([reading(1), reading(2), reading(9, publisher="q")], [gap(7)])
    found = batch_of(received(batch))
    assert found.readings == [reading(1), reading(2)] and found.gaps == [gap(7)]
    assert found.quarantined == []


def test_what_the_stream_has_is_not_sent_again() -> None:
    batch = Batch([reading(1), reading(2), reading(1, epoch=6)], [gap(7)])
    assert batch_of(received(batch, Place(5, 2))).readings == [reading(1, epoch=6)]
    assert received(batch, Place(6, 1)) == []  # the gap before them went with them
    assert len(received(Batch(gaps=[gap(7)]), Place(6, 1))) == 1


def test_batches_are_of_a_size_and_say_how_far_they_are() -> None:
    batch = Batch([reading(at) for at in range(1, 6)])
    parts = messages_of(WORKER, "p", batch, Place(0, 0), 2)
    assert [(place.sequence, len(part)) for place, part in parts] == [(2, 2), (4, 2), (5, 1)]


def test_what_comes_twice_is_there_once() -> None:
    messages = received(Batch([reading(1)], [gap(7)]))
    found = batch_of([*messages, *messages])
    assert (len(found.readings), len(found.gaps)) == (1, 1)


def test_what_cannot_be_read_is_set_aside_with_its_reason() -> None:
    (good,) = received(Batch([reading(3)]))
    bare = Received(good.subject, {}, good.data)
    torn = good._replace(data=good.data[:-3])
    foreign = Received("other.subject", good.headers, b"\x00")
    repeat = feed.ValueMessage("p", 5, 1, 0, 1, 2, 3, feed.Kind.REPEAT, feed.Block(1, [], [], 0))
    kind = good._replace(data=repeat.encode("gw-1"))
    found = batch_of([bare, torn, foreign, kind, good])
    assert found.readings == [reading(3)]
    reasons = [each.reason for each in found.quarantined]
    assert len(reasons) == 4 and records.GATEWAY in reasons[0] and "no block" in reasons[3]
    assert [each.publisher for each in found.quarantined] == ["p", "p", "?", "p"]
