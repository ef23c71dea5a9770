"""What somebody without the key does to an audit is found and named; half a line is only torn."""

from collections.abc import Callable, Sequence

import pytest

from cpppod.protocols.model.audit import START, Head, Verifier, key_id, seal

KEY, OTHER = b"k" * 32, b"o" * 32


def chain(count: int, *, key: bytes = KEY, writer: str = "control", begin: int = 1) -> list[bytes]:
    """The lines of `count` records."""
    lines, mac = [], START
    for number in range(begin, begin + count):
        body = {"n": number, "writer": writer, "key": key_id(key), "prev": mac, "new": [number]}
        line, mac = seal(key, body)
        lines.append(line)
    return lines


def found(
    lines: Sequence[bytes],
    *,
    oldest: int = 1,
    newest: int = 5,
    anchor: tuple[int, str] | None = None,
) -> list[tuple[str, str, str]]:
    """What a verifier says of these lines, by whose head there are `oldest` to `newest`."""
    head = Head.read(KEY, "control", Head(oldest, newest, START).line(KEY, "control"))
    verifier = Verifier(KEY, "control", head, anchor)
    for number, line in enumerate(lines, 1):
        verifier.line(str(number), line)
    return [(each.kind, each.where, each.text) for each in verifier.finish()]


def test_whole_chain_has_nothing_to_find() -> None:
    assert found(chain(5)) == []
    assert found(chain(7)) == []  # a head may be behind, where its writer was killed
    assert found(chain(5, begin=20), oldest=20, newest=24) == []


def change(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"new":[3]', b'"new":[9]'), *lines[3:]]


def change_first(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"new":[1]', b'"new":[9]'), *lines[1:]]


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (change, [("changed", "3", "record 3 is not as it was written")]),
        (change_first, [("changed", "1", "record 1 is not as it was written")]),
        (swap, [("reordered", "3", "record 2 stands behind record 3")]),
        (
            lambda lines: lines[:1] + lines[3:],
            [("removed", "2", "records 2 to 3 are missing before this")],
        ),
        (lambda lines: lines[2:], [("removed", "1", "records 1 to 2 are missing before this")]),
        (lambda lines: lines[:-1], [("cut", "end", "record 5 is missing at the end, by its head")]),
        (lambda lines: [], [("cut", "end", "records 1 to 5 are missing at the end, by its head")]),
        (lambda lines: [*lines, lines[1]], [("repeated", "6", "record 2 is there twice")]),
        (
            lambda lines: [*lines[:2], chain(5, key=OTHER)[2], *lines[3:]],
            [("other key", "3", "record 3 was sealed with another key")],
        ),
        (
            lambda lines: [*lines[:2], chain(5, writer="web")[2], *lines[3:]],
            [("changed", "3", "record 3 is not as it was written")],
        ),
        (
            lambda lines: [*lines[:2], lines[2][:40], *lines[3:]],
            [
                ("changed", "3", "40 bytes that are no record"),
                ("removed", "4", "record 3 is missing before this"),
            ],
        ),
        (
            lambda lines: [*lines[:4], lines[4][:40]],
            [("torn", "5", "half a line of 40 bytes")],
        ),
        (
            lambda lines: [*lines[:3], lines[3][:40]],
            [
                ("cut", "end", "records 4 to 5 are missing at the end, by its head"),
                ("changed", "4", "half a line of 40 bytes"),
            ],
        ),
    ],
)
def test_what_a_forger_does_is_named(
    spoil: Callable[[list[bytes]], list[bytes]], expected: list[tuple[str, str, str]]
) -> None:
    assert found(spoil(chain(5))) == expected


def test_half_a_last_line_that_the_head_does_not_count_is_torn() -> None:
    lines = [*chain(5), chain(6)[5][:40]]
    assert found(lines) == [("torn", "6", "half a line of 40 bytes")]


def test_half_a_line_is_torn_where_the_next_record_says_so() -> None:
    lines = chain(5)
    last = Verifier(KEY, "control")
    for line in lines:
        last.line("", line)
    assert last.newest is not None
    body = {"n": 6, "writer": "control", "key": key_id(KEY), "prev": last.newest.mac, "torn": 40}
    after = seal(KEY, body)[0]
    half = chain(6)[5][:40]
    assert found([*lines, half, after]) == [("torn", "6", "half a line of 40 bytes")]
    assert [each[0] for each in found([*lines, half[:30], after])] == ["changed"]


def test_records_that_the_disk_refused_are_said_and_no_forgery() -> None:
    body = {"n": 1, "writer": "control", "key": key_id(KEY), "prev": START, "missed": 2}
    (finding,) = found([seal(KEY, body)[0]], newest=1)
    assert finding == (
        "not written",
        "1",
        "2 attempts before record 1 could not be written down",
    )


def test_record_that_does_not_follow_the_one_before_it_is_named() -> None:
    lines = chain(2)
    body = {"n": 3, "writer": "control", "key": key_id(KEY), "prev": START}
    (finding,) = found([*lines, seal(KEY, body)[0]], newest=3)
    assert finding == ("changed", "3", "record 3 does not follow what stands before it")


def test_what_the_feed_has_told_shows_an_old_copy_and_a_chain_written_anew() -> None:
    lines = chain(5)
    mac = seal(KEY, {})[1]
    assert found(lines, anchor=(9, mac)) == [
        ("cut", "end", "records 6 to 9 are missing at the end, by what was told elsewhere")
    ]
    (finding,) = found(lines, anchor=(5, mac))
    assert finding[0] == "changed"
    known = Verifier(KEY, "control")
    for line in lines:
        known.line("", line)
    assert known.newest is not None
    assert found(lines, anchor=(5, known.newest.mac)) == []


def test_head_of_another_key_or_writer_is_not_trusted() -> None:
    line = Head(1, 5, START).line(KEY, "control")
    assert Head.read(KEY, "control", line) == Head(1, 5, START)
    assert Head.read(OTHER, "control", line) is None
    assert Head.read(KEY, "listener-main", line) is None
    assert Head.read(KEY, "control", chain(1)[0]) is None
