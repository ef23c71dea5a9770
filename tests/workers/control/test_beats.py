"""Beats that are large: nobody is killed for having much to say, and control keeps them packed."""

import dataclasses

import pytest

from cpppod.protocols.bus.codec import MAX_ITEMS
from cpppod.protocols.bus.messages import Beat, CommandReply, decode, decode_but_metrics
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.metrics.page import _metrics_of
from cpppod.workers.process.worker import encode_beat

ROW = ["cpppod_queue_depth", {"queue": "poll"}, 3]
BEAT = Beat("poller-1", 71, 2, 0, "running", devices={"boiler": {"state": "online"}}, metrics=[ROW])


def beat_in(frame: bytes) -> Beat:
    message = decode(frame)
    assert isinstance(message, Beat)
    return message


def test_beat_of_ordinary_size_is_sent_as_it_is() -> None:
    assert beat_in(encode_beat(BEAT)) == BEAT


def test_beat_with_too_many_series_goes_without_its_metrics_and_says_so() -> None:
    beat = beat_in(encode_beat(dataclasses.replace(BEAT, metrics=[ROW] * (MAX_ITEMS + 1))))
    assert beat.metrics == []
    assert beat.devices == BEAT.devices
    assert beat.overdue == ["a shorter beat: too many devices in one worker"]


def test_beat_that_is_still_too_large_goes_without_its_devices() -> None:
    devices = {str(number): "x" * 2_000 for number in range(1_000)}
    beat = beat_in(encode_beat(dataclasses.replace(BEAT, devices=devices)))
    assert beat.devices == {}
    assert beat.worker == "poller-1"


def test_beat_is_kept_packed_until_its_metrics_are_wanted() -> None:
    frame = BEAT.encode()
    beat = decode_but_metrics(frame)
    assert beat == dataclasses.replace(BEAT, metrics=[])
    assert isinstance(beat, Beat)
    table = WorkerTable()
    table.expect({"poller-1": "poller"}, 0.0)
    table.receive_beat("poller-1", beat, 0.0, frame=frame)
    assert _metrics_of(table.workers["poller-1"]) == [ROW]


def test_other_messages_are_decoded_whole() -> None:
    reply = CommandReply(7, "", list(range(20)))
    assert decode_but_metrics(reply.encode()) == reply


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x93\x01\x01", b"\x80", BEAT.encode()[:-1]])
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_but_metrics(frame)
