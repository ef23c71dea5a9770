"""What to poll, when, in which order, and when to give up: the pure parts, with time passed in."""

import math
from typing import Any

import pytest

from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, explain, is_bad, quality
from cpppod.protocols.model.write_values import raw_write
from cpppod.protocols.model.writing import WriteRefused
from cpppod.workers.devices.counters import TRANSACTIONS_KEPT, DeviceCounters, Histogram
from cpppod.workers.devices.device import PolledDevice, PollWork, Timestamp
from cpppod.workers.devices.driver import (
    DeviceError,
    DeviceFrame,
    Sample,
    Transaction,
    WriteOutcome,
)
from cpppod.workers.devices.health import (
    GARBLED_PER_SILENT,
    PROBE_SHARE,
    Backoff,
    Health,
    ProbeBudget,
)
from cpppod.workers.devices.queue import (
    AGEING_S,
    WRITES_PER_DEVICE,
    Job,
    Urgency,
    WireQueue,
)
from cpppod.workers.devices.samples import GroupImage, scaler
from cpppod.workers.devices.schedule import Schedule


def group(name: str, period_s: float, **keys: float) -> Group:
    return Group(name, period_s, (Tag("a", "HR:0"), Tag("b", "HR:1")), **keys)  # type: ignore[arg-type]


# Schedule


def test_groups_are_due_at_their_own_rates_on_a_fixed_grid() -> None:
    schedule = Schedule("d", [group("g", 1.0, phase_s=0.25)], now=100.0)
    (slot,) = schedule.due(100.5)
    schedule.done("g")
    assert schedule.due(100.6) == []
    times: list[float] = []
    now = 101.0
    while len(times) < 5:
        now += 0.01
        if schedule.due(now):
            times.append(now)
            schedule.done("g")
    assert [round(at % 1.0, 1) for at in times] == [0.3] * 5
    assert slot.overruns == 0


def test_a_slot_that_finds_its_group_busy_is_an_overrun_and_polls_never_pile_up() -> None:
    schedule = Schedule("d", [group("g", 1.0)], now=0.0)
    assert len(schedule.due(0.6)) == 1
    assert schedule.due(3.7) == []
    assert schedule.overruns("g") >= 2
    schedule.done("g")
    assert len(schedule.due(4.8)) == 1


def test_phases_of_devices_are_spread() -> None:
    dues = {
        round(Schedule(f"d{n}", [group("g", 1.0)], now=0.0).slot("g").phase_s, 1)
        for n in range(100)
    }
    assert len(dues) >= 7


def test_slots_that_nobody_was_to_poll_are_not_overruns() -> None:
    schedule = Schedule("d", [group("g", 1.0)], now=0.0)
    schedule.skip(50.0)
    assert schedule.overruns("g") == 0
    assert schedule.next_due_s() > 50.0


# Queue


def job(urgency: Urgency, device: str = "d", now: float = 0.0) -> Job:
    return Job(urgency, device, now)


def test_writes_go_before_polls_before_routed_requests_before_retries() -> None:
    queue = WireQueue()
    for urgency in reversed(Urgency):
        queue.put(job(urgency))
    order = [taken.urgency for _ in Urgency if (taken := queue.take(0.0))]
    assert order == list(Urgency)


def test_a_poll_that_has_waited_passes_fresh_writes() -> None:
    queue = WireQueue()
    queue.put(job(Urgency.POLL, now=0.0))
    now = AGEING_S + 0.1
    queue.put(job(Urgency.WRITE, now=now))
    taken = queue.take(now)
    assert taken is not None
    assert taken.urgency == Urgency.POLL


def test_units_of_a_class_take_turns() -> None:
    queue = WireQueue()
    for device in ("a", "a", "a", "b", "c"):
        queue.put(job(Urgency.WRITE, device))
    order = [taken.device for _ in range(5) if (taken := queue.take(0.0))]
    assert order == ["a", "b", "c", "a", "a"]


def test_what_waits_is_bounded_and_what_is_late_is_handed_back() -> None:
    queue = WireQueue()
    for _ in range(WRITES_PER_DEVICE):
        assert queue.put(Job(Urgency.WRITE, "d", 0.0, deadline_s=5.0))
    assert not queue.put(job(Urgency.WRITE))
    assert queue.put(job(Urgency.WRITE, "e"))
    assert queue.next_deadline_s() == 5.0
    assert len(queue.expired(5.0)) == WRITES_PER_DEVICE
    assert queue.depth(Urgency.WRITE) == 1


def test_routed_requests_stay_where_they_are_when_the_kept_slot_is_the_last() -> None:
    queue = WireQueue()
    queue.put(job(Urgency.FORWARD))
    assert queue.take(100.0, hold={Urgency.FORWARD}) is None
    assert queue.take(0.0) is not None


# Health


def test_a_device_is_demoted_after_so_many_time_outs_and_probed_with_back_off() -> None:
    health = Health(3, alone=False, chance=lambda: 0.5)
    states = [health.timed_out(float(now)) for now in range(3)]
    assert [change and change.state for change in states] == ["degraded", None, "demoted"]
    delays, now = [], 2.0
    for _ in range(8):
        assert health.probe_s is not None
        delays.append(health.probe_s - now)
        now = health.probe_s
        assert health.probe_due(now)
        health.probing()
        assert not health.probe_due(now)
        health.timed_out(now)
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    change = health.answered()
    assert change is not None
    assert (change.was, change.state) == ("demoted", "online")


def test_garbled_answers_weigh_less_than_silence() -> None:
    health = Health(2, alone=False)
    for now in range(2 * GARBLED_PER_SILENT - 1):
        health.timed_out(float(now), garbled=True)
        assert health.polled
    health.timed_out(99.0, garbled=True)
    assert not health.polled


def test_back_off_has_jitter_and_a_cap() -> None:
    low, high = Backoff(1.0, 8.0, chance=lambda: 0.0), Backoff(1.0, 8.0, chance=lambda: 1.0)
    assert [low.failed() for _ in range(5)] == [0.75, 1.5, 3.0, 6.0, 6.0]
    assert [high.failed() for _ in range(5)] == [1.25, 2.5, 5.0, 8.0, 8.0]
    high.reset()
    assert high.failed() == 1.25


def test_probes_take_no_more_than_their_share_of_a_line() -> None:
    budget, now, spent = ProbeBudget(), 0.0, 0.0
    while now < 1000.0:
        budget.spent(now, 0.4)
        spent += 0.4
        now = budget.ready_s
    assert spent / now == pytest.approx(PROBE_SHARE, rel=0.01)


# Samples


def test_scaling_and_its_inverse_agree() -> None:
    tag = Tag("t", "HR:0", scale=0.1, offset=-10, writable=True)
    scale = scaler(tag)
    assert scale is not None
    assert scale(223) == pytest.approx(12.3)
    assert raw_write(tag, 0, [12.3])[2] == [223]
    whole = Tag("t", "HR:0", scale=2.0, value_type="DINT", length=2)
    many = scaler(whole)
    assert many is not None
    assert many([3, 4]) == [6, 8]


@pytest.mark.parametrize(
    ("tag", "value", "status"),
    [
        (Tag("t", "HR:0"), 1, 0x0E),
        (Tag("t", "HR:0", writable=True), 40_000, 0x09),
        (Tag("t", "HR:0", writable=True, minimum=5), 4, 0x09),
        (Tag("t", "HR:0", writable=True, type="REAL"), 1e39, 0x09),
        (Tag("t", "HR:0", writable=True, type="REAL"), float("inf"), 0x09),
        (Tag("t", "HR:0.1", writable=True, bit=1), 2, 0x09),
        (Tag("t", "HR:0", writable=True), "7", 0x20),
        (Tag("t", "HR:0", writable=True, type="STRING", size=2), "abc", 0x09),
        (Tag("t", "HR:0", writable=True, type="STRING", size=2), 7, 0x20),
    ],
)
def test_a_write_beyond_tag_or_type_is_refused(tag: Tag, value: object, status: int) -> None:
    with pytest.raises(WriteRefused) as refused:
        raw_write(tag, 0, [value])
    assert cip_status(refused.value.failure) == (status, [])


def test_the_first_block_names_all_members_and_later_ones_what_moved() -> None:
    image = GroupImage(Group("g", 1.0, (Tag("a", "1", deadband=2.0), Tag("b", "2"))))
    assert set(image.accept({"a": (10, 0), "b": (1, 0)})) == {"a", "b"}
    assert image.accept({"a": (12, 0), "b": (1, 0)}) == {}
    assert image.accept({"a": (12.1, 0), "b": (1, 0)}) == {"a": (12.1, 0)}
    assert image.accept({"a": (12.1, 0)}) == {"b": (None, Quality.BAD)}
    assert image.accept_all(Quality.TIMEOUT) == {
        "a": (None, Quality.TIMEOUT),
        "b": (None, Quality.TIMEOUT),
    }
    assert image.accept_all(Quality.TIMEOUT) == {}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "not a number"),
        (math.inf, "infinite"),
        (-math.inf, "infinite"),
        ([1.0, math.nan], "not a number"),
        ([math.inf, 1.0], "infinite"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_not_finite_has_no_value_and_says_so_once(
    value: Any, reason: str, scale: float
) -> None:
    length = len(value) if isinstance(value, list) else 1
    tag = Tag("a", "1", type="REAL", length=length, scale=scale)
    image = GroupImage(Group("g", 1.0, (tag,)))
    ((_, sample),) = image.accept({"a": (value, 0)}).items()
    assert sample[0] is None and is_bad(sample[1]) and explain(sample[1]) == reason
    assert image.accept({"a": (value, 0)}) == {}
    plain = [1.0] * length if length > 1 else 1.0
    assert image.accept({"a": (plain, 0)})["a"][1] == 0


def test_a_scaled_counter_keeps_its_digits() -> None:
    tag = Tag("total", "HR:0", type="UDINT", scale=0.001)
    assert tag.cip_type == "LREAL"
    image = GroupImage(Group("g", 1.0, (tag,)))
    assert image.accept({"total": (4_294_967_295, 0)})["total"] == (4294967.295, 0)
    assert Tag("t", "HR:0", type="INT", scale=0.1).cip_type == "REAL"
    assert Tag("t", "HR:0", type="UDINT", scale=0.1, value_type="REAL").cip_type == "REAL"


def test_a_scaled_value_that_does_not_fit_its_type_has_no_value() -> None:
    image = GroupImage(Group("g", 1.0, (Tag("a", "1", scale=100.0, value_type="INT"),)))
    assert image.accept({"a": (30_000, 0)}) == {"a": (None, Quality.OUT_OF_RANGE)}


# Device


class Silent:
    """A driver that is never asked: these tests feed its answers in."""

    concurrency = 1
    cip = None
    frame = DeviceFrame()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def poll(self, group: Group) -> dict[str, Sample]:
        return {}

    async def write(self, writes: object) -> WriteOutcome:
        return WriteOutcome()

    def describe(self) -> dict[str, object]:
        return {}


def polled_device(now: Timestamp, **keys: object) -> PolledDevice:
    device = Device("d", "modbus-tcp", "x:1", groups=(group("g", 1.0),), **keys)  # type: ignore[arg-type]
    return PolledDevice(device, Silent(), alone=True, now=now)


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds, int(1e15 + seconds * 1e6))


def test_a_retry_asks_only_for_what_timed_out_and_the_block_is_whole() -> None:
    device = polled_device(at(0.0))
    (first,) = device.due(at(1.0))
    work: PollWork = first.work
    silent = (None, int(Quality.TIMEOUT))
    blocks, retry = device.polled(work, {"a": (1, 0), "b": silent}, at(1.1))
    assert blocks == []
    assert retry is not None
    assert retry.urgency == Urgency.RETRY
    assert [tag.name for tag in work.part.tags] == ["b"]
    (block,), retry = device.polled(work, {"b": (2, 0)}, at(1.4))
    assert retry is None
    assert block.samples == {"a": (1, 0), "b": (2, 0)}
    assert block.source_us == at(1.1).wall_us
    assert block.count == 2


def test_a_poll_with_a_bad_tag_has_been_answered_and_one_of_bad_tags_only_has_not() -> None:
    device = polled_device(at(0.0))
    refused = quality(Quality.DEVICE_STATUS, status=2)
    rounds: list[dict[str, tuple[int | None, int]]] = [
        {"a": (1, 0), "b": (2, 0)},
        {"a": (1, 0), "b": (None, refused)},
        {"a": (None, refused)},
    ]
    for second, samples in enumerate(rounds):
        (job,) = device.due(at(1.0 + second))
        device.polled(job.work, {"b": (None, refused), **samples}, at(1.1 + second))
    told = device.state_map(at(4.0), {"state": "open"})["groups"]["g"]
    assert (told["cycles"], told["cycles_answered"], told["cycles_good"]) == (3, 2, 1)


def test_a_device_that_stays_silent_is_bad_once_in_every_group() -> None:
    device = polled_device(at(0.0), retries=0, demote_after=1)
    (first,) = device.due(at(1.0))
    device.silent(at(1.2))
    error = DeviceError(Failure.TIMEOUT, "no reply")
    blocks, retry = device.failed(first.work, error, at(1.2))
    assert retry is None
    assert blocks[0].samples == {"a": (None, Quality.TIMEOUT), "b": (None, Quality.TIMEOUT)}
    assert device.spoil(Quality.TIMEOUT, at(1.3)) == []
    assert device.due(at(5.0)) == []
    probe = device.probe(at(60.0))
    assert probe is not None
    assert len(probe.work.part.tags) == 1


def test_doubt_does_not_refresh_the_time_of_the_other_members() -> None:
    device = polled_device(at(0.0))
    (first,) = device.due(at(1.0))
    device.polled(first.work, {"a": (1, 0), "b": (2, 0)}, at(1.0))
    tag = device.tag("A")
    assert tag is not None
    (block,) = device.doubt([(tag, 0, [5])], at(9.0))
    assert block.samples == {"a": (1, Quality.UNCERTAIN)}
    assert block.source_us == at(1.0).wall_us


def test_a_resend_of_the_same_reading_is_not_possible_but_a_new_one_has_a_new_time() -> None:
    device = polled_device(at(0.0))
    (first,) = device.due(at(1.0))
    (block,), _ = device.polled(first.work, {"a": (1, 0), "b": (2, 0)}, at(1.0))
    (second,) = device.due(at(2.5))
    (later,), _ = device.polled(second.work, {"a": (1, 0), "b": (2, 0)}, at(2.5))
    assert later.samples == {}
    assert later.source_us > block.source_us


def test_what_should_have_happened_is_named() -> None:
    device = polled_device(at(0.0))
    assert device.overdue(at(5.0)) == []
    assert device.overdue(at(60.0)) == ["d/g"]
    device.pause(at(60.0))
    assert device.overdue(at(90.0)) == []


# Counters


def test_histograms_are_cumulative_and_transactions_bounded() -> None:
    histogram = Histogram()
    for seconds in (0.0005, 0.003, 0.003, 100.0):
        histogram.add(seconds)
    rows = {row[1]["le"]: row[2] for row in histogram.rows("x", {}) if "le" in row[1]}
    assert (rows["0.001"], rows["0.005"], rows["10"], rows["+Inf"]) == (1, 3, 3, 4)
    counters = DeviceCounters("d", ["g"])
    for number in range(3 * TRANSACTIONS_KEPT):
        done = Transaction("read", f"r{number}", "exception", 0.1, "refused", number % 40)
        counters.transaction(done, number)
    assert len(counters.transactions) == TRANSACTIONS_KEPT
    assert len(counters.codes) <= 17
    assert counters.last_error == "refused"


def test_a_quality_keeps_the_devices_own_code() -> None:
    assert quality(Quality.DEVICE_STATUS, status=0xEE) >> 8 == 0xEE


def test_tag_that_is_written_too_often_is_refused_before_anything_is_sent() -> None:
    tags = (Tag("a", "1", writable=True, write_rate="2/min"), Tag("b", "2", writable=True))
    device = Device("d", "modbus-tcp", "x:1", groups=(Group("g", 1.0, tags),))
    polled = PolledDevice(device, Silent(), alone=True, now=at(0))
    for _ in range(2):
        polled.check_write([["a", 0, [1]]], 10.0)
    with pytest.raises(WriteRefused, match="at most 2/min") as refused:
        polled.check_write([["b", 0, [1]], ["a", 0, [1]]], 10.1)
    assert cip_status(refused.value.failure) == (0x02, [])
    polled.check_write([["b", 0, [1]]], 10.1)
    polled.check_write([["a", 0, [1]]], 41.0)


def test_an_operator_has_a_demoted_device_probed_at_once_and_nothing_else() -> None:
    health = Health(1, alone=False, chance=lambda: 0.5)
    health.hurry(0.0)
    assert not health.probe_due(0.0)  # it is online: its schedule polls it
    health.timed_out(0.0)
    assert not health.probe_due(0.1)
    health.hurry(0.1)
    assert health.probe_due(0.1)
    health.probing()
    health.hurry(0.2)
    assert not health.probe_due(0.2)  # one is on its way
