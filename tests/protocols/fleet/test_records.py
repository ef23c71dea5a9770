"""Messages of a fleet: what each is told apart by, and what is none."""

import pytest

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.codec import pack
from cpppod.protocols.fleet import records, subjects
from cpppod.protocols.fleet.records import BEGINNING, Place
from cpppod.protocols.model.errors import DecodeError, EncodeError

GAP = {
    "publisher": "poller-a",
    "epoch": 5,
    "device": "",
    "group": "",
    "first": 1,
    "last": 2,
    "blocks": 2,
    "samples": 9,
    "reason": "stopped",
    "from_us": 10,
    "to_us": 20,
}


def test_subjects_name_site_gateway_worker_device_and_group() -> None:
    assert subjects.live("n", "gw", "boiler", "fast") == "cpppod.v1.live.n.gw.boiler.fast"
    block = subjects.history("n", "gw", "poller-a", "boiler", "fast")
    assert block == "cpppod.v1.h.n.gw.poller-a.boiler.fast"
    assert subjects.history("n", "gw", "poller-a") == "cpppod.v1.h.n.gw.poller-a.-.-"
    assert subjects.worker_of(block) == ("gw", "poller-a")
    assert subjects.of_worker("n", "gw", "poller-a") == "cpppod.v1.h.n.gw.poller-a.>"
    assert subjects.of_site("n") == "cpppod.v1.h.n.>" and subjects.stream("n") == "H_n"
    assert subjects.ask("n", "gw", "write") == "cpppod.v1.ask.n.gw.write"


@pytest.mark.parametrize("subject", ["", "cpppod.v1.h.n.gw.p.d", "cpppod.v1.live.n.g.p.d.e"])
def test_another_subject_is_none_of_the_history(subject: str) -> None:
    with pytest.raises(DecodeError):
        subjects.worker_of(subject)


def test_an_id_is_the_same_for_the_same_block_and_60_bytes_at_most() -> None:
    place = Place(1796060165388, 8)
    headers = records.block_headers("gw-1", "poller-a", place, BEGINNING)
    assert headers["Nats-Msg-Id"] == "gw-1/poller-a/1796060165388/8"
    long = records.block_headers("g" * 40, "poller-" + "d" * 40, place, BEGINNING)
    assert len(long["Nats-Msg-Id"]) == 60
    other = records.block_headers("g" * 40, "poller-" + "d" * 40, Place(place.epoch, 9), place)
    assert long["Nats-Msg-Id"] != other["Nats-Msg-Id"]
    assert records.place_of(long) == place and long["Cpppod-Gateway"] == "g" * 40
    assert records.place_of(other, records.PREVIOUS) == place and place.is_at(Place(*place[:2], 7))


@pytest.mark.parametrize("place", ["", "5", "5/x", "-1/2", "1/2/3/4", "1/2/"])
def test_a_place_that_says_nothing_is_refused(place: str) -> None:
    with pytest.raises(DecodeError):
        records.place_of({"Cpppod-Place": place})


def test_a_block_is_the_feeds_block_and_nothing_else() -> None:
    block = feed.Block(2, ["level"], [7], 0)
    message = feed.ValueMessage("poller-a", 5, 1, 0, 1, 2, 3, feed.Kind.BLOCK, block)
    assert records.decode_block(message.encode("gw")).body == block
    repeat = message._replace(kind=feed.Kind.REPEAT)
    for data in (repeat.encode("gw"), b"\xc1"):
        with pytest.raises(DecodeError):
            records.decode_block(data)


def test_a_gap_comes_back_as_it_was() -> None:
    assert records.decode_gap(records.encode_gap(GAP | {"gateway": "gw"})) == GAP
    headers = records.gap_headers("gw", Place(5, 1, 7))
    assert headers["Cpppod-Kind"] == "gap" and "Nats-Msg-Id" not in headers
    assert headers["Cpppod-Place"] == headers["Cpppod-Previous"] == "5/1/7"


def test_a_large_body_goes_in_parts_with_numbers_and_ids_of_their_own() -> None:
    headers = records.block_headers("gw", "poller-a", Place(5, 1), BEGINNING)
    assert records.parts_of(headers, b"abcdef", 6) == [(headers, b"abcdef")]
    parts = records.parts_of(headers, b"abcdefg", 3)
    assert [body for _, body in parts] == [b"abc", b"def", b"g"]
    assert [records.part_of(own) for own, _ in parts] == [(1, 3), (2, 3), (3, 3)]
    assert [own["Nats-Msg-Id"] for own, _ in parts] == [
        "gw/poller-a/5/1",
        "gw/poller-a/5/1/2",
        "gw/poller-a/5/1/3",
    ]
    assert records.part_of(headers) == (1, 1)
    with pytest.raises(EncodeError):
        records.parts_of({}, bytes(records.MAX_PARTS + 1), 1)


@pytest.mark.parametrize("part", ["", "1", "0/1", "2/1", "x/2", "1/x", "1/10001", "-1/2"])
def test_a_part_that_says_no_number_is_refused(part: str) -> None:
    with pytest.raises(DecodeError):
        records.part_of({"Cpppod-Part": part})


@pytest.mark.parametrize(
    "plain",
    [[], GAP | {"reason": 5}, GAP | {"first": "1"}, {"publisher": "p"}, GAP | {"last": True}],
)
def test_what_is_no_gap_is_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        records.decode_gap(pack(plain))
