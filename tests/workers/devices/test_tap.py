"""What went over a wire of late."""

from cpppod.workers.devices.tap import KEPT, SHOWN, Tap, plain


def test_messages_are_remembered_with_their_bytes_and_way() -> None:
    tap = Tap()
    tap.sent(b"\1\3")
    tap.received(b"\1\x83\2")
    sent, received = (plain(entry, "words") for entry in tap.entries())
    assert sent[1:] == ["sent", "0103", 2, "words"]
    assert received[1:] == ["received", "018302", 3, "words"]
    assert 0 < sent[0] <= received[0]


def test_what_comes_in_pieces_is_one_message() -> None:
    tap = Tap()
    tap.sent(b"?")
    for piece in (b"12", b"34", b"5"):
        tap.received(piece)
    assert [entry[2] for entry in tap.entries()] == [b"?", b"12345"]


def test_memory_is_bounded_whatever_comes() -> None:
    tap = Tap()
    for _ in range(KEPT + 1):
        tap.sent(bytes(SHOWN + 1))
    assert [len(entry[2]) for entry in tap.entries()] == [SHOWN] * KEPT
    assert tap.entries()[0][3] == SHOWN + 1
    for _ in range(SHOWN + 1):
        tap.received(b"x")
    assert [entry[3] for entry in tap.entries()][-2:] == [SHOWN, 1]
