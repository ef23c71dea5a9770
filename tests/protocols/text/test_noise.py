"""Random streams of frames and noise: what is found does not depend on how they are cut."""

from itertools import pairwise

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cpppod.protocols.text import formats
from cpppod.protocols.text.checksums import digits
from cpppod.protocols.text.framer import Framer

TABLE = {
    "frames": {
        "sum": {
            "pattern": "<(?P<checked>[a-c<]*)\\*(?P<checksum>[0-9A-F]{2})>",
            "checksum": "xor8",
            "maximum": 12,
        },
        "line": {"pattern": "#(?P<n>[0-9]+)\\n"},
    }
}
MADE = formats.settings({}, TABLE)
frames = st.one_of(
    st.text("abc<", max_size=6).map(
        lambda t: b"<" + t.encode() + b"*" + digits("xor8", t.encode()) + b">"
    ),
    st.integers(0, 999).map(lambda n: b"#%d\n" % n),
)
noise = st.binary(max_size=6) | st.sampled_from([b"<", b"<a", b"<a*00>", b"#", b"#1", b"*>\n"])
streams = st.lists(frames | noise, max_size=12).map(b"".join)


@settings(
    max_examples=300, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)
@given(streams, st.lists(st.integers(0, 100), max_size=8))
def test_cuts_change_neither_frames_nor_counts(stream: bytes, at: list[int]) -> None:
    whole, cut = Framer(MADE), Framer(MADE)
    expected = [found.data for found in whole.feed(stream)]
    edges = [0, *sorted(min(a, len(stream)) for a in at), len(stream)]
    assert [f.data for a, b in pairwise(edges) for f in cut.feed(stream[a:b])] == expected
    assert (cut.counts, cut.waiting) == (whole.counts, whole.waiting)
    taken = sum(map(len, expected))
    assert taken + whole.counts.noise_bytes + whole.waiting == len(stream)


@settings(
    max_examples=200, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)
@given(
    st.lists(frames, max_size=8),
    st.binary(max_size=20).map(lambda b: b.replace(b"<", b"").replace(b"#", b"")),
)
def test_noise_that_cannot_begin_a_frame_costs_none(sent: list[bytes], between: bytes) -> None:
    framer = Framer(MADE)
    stream = between.join([b"", *sent, b""])
    assert [found.data for found in framer.feed(stream)] == sent
