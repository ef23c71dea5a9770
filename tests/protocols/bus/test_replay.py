"""The replay ring holds what it can, and says what it cannot."""

from cpppod.protocols.bus.feed_requests import PAGE_BYTES, TO_THE_END, ReplayPage, ReplayRequest
from cpppod.protocols.bus.replay import MAX_EPOCHS, MAX_SCAN, OVERHEAD, ReplayRing


def fill(ring: ReplayRing, *sequences: int, epoch: int = 5, size: int = 10, now: float = 0) -> None:
    for sequence in sequences:
        topic = b"even/g/" if sequence % 2 == 0 else b"odd/g/"
        ring.append("p", epoch, sequence, (topic, bytes(size)), now=now)


def ask(
    ring: ReplayRing, first: int, last: int, *, epoch: int = 5, prefixes: tuple[bytes, ...] = (b"",)
) -> ReplayPage:
    return ring.page(ReplayRequest(1, "p", epoch, first, last, prefixes), 99)


def test_range_comes_back_in_order_and_nothing_else() -> None:
    ring = ReplayRing()
    fill(ring, *range(1, 11))
    page = ask(ring, 4, 6)
    assert [topic for topic, _ in page.messages] == [b"even/g/", b"odd/g/", b"even/g/"]
    assert (page.first_held, page.last, page.following) == (1, 10, 0)


def test_only_topics_that_match_come_back() -> None:
    ring = ReplayRing()
    fill(ring, *range(1, 11))
    page = ask(ring, 1, TO_THE_END, prefixes=(b"odd/",))
    assert [topic for topic, _ in page.messages] == [b"odd/g/"] * 5


def test_bytes_bound_the_ring_and_the_oldest_goes_first() -> None:
    size = 10 + len(b"even/g/") + OVERHEAD
    ring = ReplayRing(max_bytes=4 * size)
    fill(ring, *range(1, 11))
    assert len(ring) == 4
    assert ring.size <= 4 * size
    assert ring.dropped == 6
    assert ask(ring, 1, 10).first_held == 7
    assert len(ask(ring, 1, 10).messages) == 4


def test_age_bounds_the_ring() -> None:
    ring = ReplayRing(max_age_s=120)
    fill(ring, 1, 2, now=0)
    fill(ring, 3, now=60)
    ring.expire(now=121)
    assert ask(ring, 1, 3).first_held == 3
    ring.expire(now=181)
    page = ask(ring, 1, 3)
    assert (page.first_held, page.last, page.messages) == (0, 3, [])


def test_unknown_publisher_or_epoch_has_no_last_sequence() -> None:
    ring = ReplayRing()
    fill(ring, 1)
    assert ask(ring, 1, 9, epoch=4).last == 0
    assert ring.page(ReplayRequest(1, "q", 5, 1, 9), 99).last == 0


def test_end_of_an_old_epoch_is_known_after_its_messages_are_gone() -> None:
    ring = ReplayRing(max_age_s=1)
    fill(ring, *range(1, 8), epoch=5, now=0)
    ring.expire(now=10)
    fill(ring, 1, epoch=6, now=10)
    assert ask(ring, 3, TO_THE_END, epoch=5).last == 7


def test_ends_of_epochs_are_bounded() -> None:
    ring = ReplayRing()
    for epoch in range(1, MAX_EPOCHS + 5):
        fill(ring, 1, epoch=epoch)
    assert ask(ring, 1, 1, epoch=MAX_EPOCHS + 4).last == 1
    assert ask(ring, 1, 1, epoch=1).last == 0


def test_page_ends_before_it_is_too_long_and_says_where_to_go_on() -> None:
    ring = ReplayRing()
    fill(ring, *range(1, 11), size=PAGE_BYTES // 3)
    first = ask(ring, 1, 10)
    assert len(first.messages) == 2
    assert first.following == 3
    assert ask(ring, first.following, 10).messages != []


def test_message_longer_than_a_page_comes_alone() -> None:
    ring = ReplayRing()
    fill(ring, 1, 2, size=PAGE_BYTES + 1)
    page = ask(ring, 1, 2)
    assert (len(page.messages), page.following) == (1, 2)


def test_search_through_other_topics_is_bounded() -> None:
    ring = ReplayRing()
    fill(ring, *range(1, 2 * MAX_SCAN + 1, 2), size=1)
    fill(ring, 2 * MAX_SCAN + 2, size=1)
    page = ask(ring, 1, TO_THE_END, prefixes=(b"even/",))
    assert (page.messages, page.following) == ([], 2 * MAX_SCAN + 2)
    assert len(ask(ring, page.following, TO_THE_END, prefixes=(b"even/",)).messages) == 1


def test_ring_stays_small_over_many_messages() -> None:
    ring = ReplayRing(max_bytes=100_000)
    for sequence in range(1, 50_001):
        ring.append("p", 5, sequence, (b"d/g/", b"x"), now=0)
    page = ask(ring, 1, TO_THE_END)
    assert page.first_held == 50_001 - len(ring)
    assert len(page.messages) == len(ring)
