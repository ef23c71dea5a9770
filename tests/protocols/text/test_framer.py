"""Frames out of streams with noise in them, in pieces of any size."""

import random
from itertools import pairwise
from typing import Any

import pytest

from cpppod.protocols.text.formats import TextSettings, settings
from cpppod.protocols.text.framer import RETRIES, Framer

GGA = (
    r"\$(?P<checked>GPGGA,(?P<time>[0-9.]*),(?P<latitude>[0-9.]*,[NS]?),[^$*\r\n]*)"
    r"\*(?P<checksum>[0-9A-F]{2})\r\n"
)
WEIGHT = r"S (?P<stability>[SD]) +(?P<weight>-?[0-9.]+) (?P<unit>[a-z]+)\r\n"
GOOD = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
NMEA = {"frames": {"gga": {"pattern": GGA, "checksum": "xor8"}}}
SICS = {
    "frames": {
        "weight": {"pattern": WEIGHT, "request": "SI\r\n", "refusals": {"S I\r\n": "not now"}},
    }
}


def made(table: dict[str, Any]) -> TextSettings:
    return settings({}, table)


def frames(framer: Framer, data: bytes) -> list[bytes]:
    return [found.data for found in framer.feed(data)]


def test_a_frame_is_given_with_its_captures_as_soon_as_its_last_byte_is_there() -> None:
    framer = Framer(made(NMEA))
    assert frames(framer, GOOD[:-1]) == []
    (found,) = framer.feed(GOOD[-1:])
    assert found.format.name == "gga"
    assert found.data == GOOD
    assert found.texts["time"] == "123519"
    assert found.texts["latitude"] == "4807.038,N"
    assert framer.waiting == 0


@pytest.mark.parametrize(
    "noise",
    [b"\x00\xff", b"$", b"$GPG", b"$$$$", GOOD[:20], GOOD[1:], b"*47\r\n", b"\r\n", b"x" * 5000],
)
def test_noise_before_between_and_after_costs_no_frame(noise: bytes) -> None:
    framer = Framer(made(NMEA))
    assert frames(framer, noise + GOOD + noise + GOOD + noise) == [GOOD, GOOD]
    assert framer.counts.frames == 2
    assert framer.counts.noise_bytes + framer.waiting == 3 * len(noise)


def test_a_wrong_checksum_is_counted_and_a_frame_within_the_bytes_is_still_found() -> None:
    framer = Framer(made(NMEA))
    wrong = GOOD.replace(b"*47", b"*48")
    assert frames(framer, wrong + GOOD) == [GOOD]
    assert framer.counts.checksum_errors == 1
    table = {
        "frames": {
            "any": {"pattern": "<(?P<checked>[^*]*)\\*(?P<checksum>..)>", "checksum": "xor8"}
        }
    }
    framer = Framer(made(table))
    assert frames(framer, b"<cut off <A*41>") == [b"<A*41>"]


def test_every_frame_is_found_however_a_noisy_stream_is_cut() -> None:
    chosen = random.Random(7)
    parts: list[bytes] = []
    sent = []
    for number in range(300):
        parts.append(bytes(chosen.choices(b"$S ND0*\r\nG\x00\xff", k=chosen.randrange(12))))
        weight = b"S %c %9.2f kg\r\n" % (chosen.choice(b"SD"), number / 7)
        sent.append(weight)
        parts.append(weight)
    stream = b"".join(parts)
    cuts = sorted(chosen.choices(range(len(stream)), k=400))
    framer = Framer(made(SICS))
    found = [
        data
        for a, b in pairwise([0, *cuts, len(stream)])
        for data in frames(framer, stream[a:b])
        if not data.startswith(b"S I")
    ]
    assert found == sent
    assert frames(Framer(made(SICS)), stream) == found


def test_a_refusal_is_a_frame_that_says_what_it_means() -> None:
    (found,) = Framer(made(SICS)).feed(b"S I\r\n")
    assert (found.format.refusal, found.format.number) == ("not now", 1)


def test_a_frame_longer_than_its_maximum_is_noise_and_what_follows_is_found() -> None:
    table = {"frames": {"line": {"pattern": "<[^>]*>", "maximum": 10}}}
    framer = Framer(made(table))
    assert frames(framer, b"<12345678>") == [b"<12345678>"]
    assert frames(framer, b"<123456789>") == []
    assert frames(framer, b"<ok>") == [b"<ok>"]
    assert framer.counts.overflows == 1
    table = {
        "frames": {
            "a": {"pattern": "A[^;]*;", "maximum": 4},
            "b": {"pattern": "B[^;]*;", "maximum": 8},
        }
    }
    framer = Framer(made(table))
    assert frames(framer, b"A123;B12345;") == [b"B12345;"]


def test_a_pattern_without_end_keeps_at_most_its_maximum_and_bounded_work() -> None:
    table = {"frames": {"endless": {"pattern": "[^\\x00]*\\x00", "maximum": 1000}}}
    framer = Framer(made(table))
    looked_at = 0
    run = framer._run

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(run, name)

        def feed(self, data: bytearray, start: int, end: int) -> int:
            nonlocal looked_at
            taken: int = run.feed(data, start, end)
            looked_at += taken
            return taken

    vars(framer)["_run"] = Counting()
    for _ in range(20):
        assert frames(framer, b"x" * 4096) == []
        assert framer.waiting <= 1000
    assert looked_at <= 20 * ((RETRIES + 2) * 4096 + 4000)
    assert framer.counts.noise_bytes + framer.waiting == 20 * 4096
    assert framer.counts.overflows > 0
    assert frames(framer, b"\x00tail\x00")[-1] == b"tail\x00"


def test_forgetting_an_incomplete_frame_counts_its_bytes_as_noise() -> None:
    framer = Framer(made(NMEA))
    assert frames(framer, GOOD[:30]) == []
    framer.reset()
    assert framer.counts.noise_bytes == 30
    assert frames(framer, GOOD) == [GOOD]


def test_utf8_frames_are_cut_by_bytes_and_captured_by_characters() -> None:
    table = {"encoding": "utf-8", "frames": {"t": {"pattern": "T=(?P<t>[0-9]+)°(?P<u>[CF])\n"}}}
    framer = Framer(made(table))
    data = "\xffT=21°C\n".encode()
    found = [frame for byte in data for frame in framer.feed(bytes([byte]))]
    assert [frame.texts for frame in found] == [{"t": "21", "u": "C"}]
