"""Requests known as a whole: right as long as their own replies are, whatever else changes."""

from cpppod.protocols.cip.image import Reply
from cpppod.protocols.enip.target.batch import Batch

REQUESTS = b"".join(b"%012d" % 0 + context + b"request." for context in (b"context1", b"context2"))
REPLIES = b"".join(b"%012d" % 0 + context + b"reply.." for context in (b"context1", b"context2"))


def made() -> tuple[Batch, Reply]:
    reply = Reply(lambda: b"reply..", (), 7)
    reply.tail = b"reply.."
    total = len(REQUESTS) // 2
    batch = Batch(
        REQUESTS, REPLIES, total=total, version=1, made_of=[reply], connection=None, last=b""
    )
    return batch, reply


def test_change_of_another_tag_leaves_the_replies_as_they_are() -> None:
    batch, _ = made()
    assert batch.answer(REQUESTS, 2, 0.0) == REPLIES
    other = REQUESTS.replace(b"context2", b"context9")
    assert batch.answer(other, 3, 0.0) == REPLIES.replace(b"context2", b"context9")


def test_change_of_one_of_its_own_tags_ends_them() -> None:
    batch, reply = made()
    reply.tail = None
    assert batch.answer(REQUESTS, 2, 0.0) is None
    reply.tail = b"anew..."
    assert batch.answer(REQUESTS, 3, 0.0) is None


def test_other_requests_are_not_its_own() -> None:
    batch, _ = made()
    assert batch.answer(REQUESTS.replace(b"request.", b"another."), 1, 0.0) is None
