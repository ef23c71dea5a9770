"""What a collector makes of a stream's messages: readings and gaps once, the rest set aside."""

from cpppod.protocols.bus import feed
from cpppod.protocols.fleet import records
from cpppod.protocols.fleet.records import Place
from cpppod.protocols.model.plant import Worker
from cpppod.workers.fleet.batches import Chain, parts_of
from cpppod.workers.historian.collecting.chains import MISSING, Chains
from cpppod.workers.historian.collecting.messages import Assembly, Received, batch_of
from cpppod.workers.journal.batch import Batch, Cursor, Gap, Reading

WORKER = Worker(
    "fleet", "fleet", "", "", "", gateway="gw-1", gateway_name="plant", options={"site": "n"}
)


BEGINNING = Place(0, 0)


def reading(sequence: int, epoch: int = 5, publisher: str = "p") -> Reading:
    return Reading(publisher, epoch, sequence, "d", "g", 1, 2, 3, 1, ["t"], [sequence], 0, "gw-1")


def gap(first: int) -> Gap:
    return Gap("p", 5, "d", "g", first, first, 1, 1, "lost", 1, 2, "gw-1")


def received(
    batch: Batch, place: Place = BEGINNING, size: int = 100_000, *, ids: bool = True
) -> list[Received]:
    chain = Chain("s", 0, place, place, ids)
    parts = parts_of(WORKER, "p", batch, chain, count=100, size=size)
    return [Received(m.subject, m.headers, m.payload) for part in parts for m in part.messages]


def test_what_goes_out_comes_in() -> None:
    batch = Batch([reading(1), reading(2), reading(9, publisher="q")], [gap(7)])
    found = batch_of(received(batch))
    assert found.readings == [reading(1), reading(2)] and found.gaps == [gap(7)]
    assert found.quarantined == []


def test_what_the_stream_has_is_not_sent_again() -> None:
    batch = Batch([reading(1), reading(2), reading(1, epoch=6)], [gap(2), gap(7)])
    found = batch_of(received(batch, Place(5, 2)))
    assert found.readings == [reading(1, epoch=6)] and found.gaps == [gap(7)]
    assert received(batch, Place(6, 1)) == []
    ended = gap(0)
    assert received(Batch(gaps=[ended]), Place(6, 1)) == []
    assert len(received(Batch(gaps=[ended]), Place(5, 9))) == 1  # of the end of that life


def test_batches_are_of_a_size_and_say_how_far_they_are() -> None:
    batch = Batch([reading(at) for at in range(1, 6)])
    parts = parts_of(WORKER, "p", batch, Chain("s"), count=2, size=10_000)
    assert [(part.place.sequence, len(part.messages)) for part in parts] == [(2, 2), (4, 2), (5, 1)]


def test_a_block_larger_than_a_message_is_cut_and_whole_again() -> None:
    batch = Batch([reading(1), reading(2)._replace(values=["x" * 1_000]), reading(3)])
    messages = received(batch, size=300)
    assert len(messages) > 5 and all(len(each.data) <= 300 for each in messages)
    assembly = Assembly()
    whole = [done for each in messages for done in assembly.take(each)]
    assert batch_of(whole).readings == batch.readings and assembly.waits == 0
    assert assembly.take(messages[1]) == [] and assembly.waits == 1
    foreign = messages[-1]
    assert assembly.take(foreign) == [messages[1], foreign]  # the other parts will not come
    assert "without the others" in batch_of([messages[1]]).quarantined[0].reason
    assert assembly.take(messages[3]) == [messages[3]]
    torn = messages[1]._replace(headers={**messages[1].headers, "Cpppod-Part": "x"})
    assert assembly.take(torn) == [torn] and batch_of([torn]).quarantined


def test_a_part_of_another_block_does_not_complete_one() -> None:
    one = received(Batch([reading(1)._replace(values=["x" * 500])]), size=300)
    two = received(Batch([reading(2)._replace(values=["y" * 500])]), size=300)
    assembly = Assembly()
    assert assembly.take(one[0]) == []
    assert assembly.take(two[1]) == [one[0], two[1]]


def test_what_is_missing_between_messages_is_a_gap_with_the_places_before_and_behind() -> None:
    messages = received(Batch([reading(at) for at in range(1, 9)]))
    cursors: dict[str, Cursor] = {}
    chains = Chains(cursors)
    assert batch_of(messages[:2], chains).gaps == []
    cursors |= chains.changed
    chains = Chains(cursors)
    (hole,) = batch_of([*messages[:2], *messages[5:]], chains).gaps
    assert (hole.epoch, hole.first, hole.last, hole.reason) == (5, 3, 5, MISSING)
    cursors |= chains.changed
    assert cursors["chain/gw-1/p"] == Cursor(0, 0, 5, 8, 2)
    assert batch_of(messages, Chains(cursors)).gaps == []  # all of it again


def test_a_new_store_says_what_the_stream_has_no_more_and_a_new_life_is_behind_the_old() -> None:
    messages = received(Batch([reading(3), reading(1, epoch=6)]), Place(5, 2, 1))
    (hole,) = batch_of(messages, chains := Chains({})).gaps
    assert (hole.epoch, hole.gateway, hole.publisher) == (0, "gw-1", "p")
    assert chains.changed["chain/gw-1/p"][2:4] == (6, 1)
    older = received(Batch([reading(1, epoch=2)]), Place(6, 1))  # its clock was set back
    assert older == []
    chain = Chain("s", 0, Place(6, 1), Place(2, 0))
    (part,) = parts_of(WORKER, "p", Batch([reading(1, epoch=2)]), chain, count=9, size=999)
    follows = [Received(m.subject, m.headers, m.payload) for m in part.messages]
    assert batch_of(follows, chains).gaps == []
    assert chains.changed["chain/gw-1/p"][2:4] == (2, 1)


def test_a_block_can_go_without_an_id() -> None:
    assert "Nats-Msg-Id" in received(Batch([reading(1)]))[0].headers
    assert "Nats-Msg-Id" not in received(Batch([reading(1)]), ids=False)[0].headers


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
