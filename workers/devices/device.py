"""One polled device: what to ask it next, what came of it, what to publish, why something is wrong.

    due(now) ──► Job ──► the wire asks the driver ──┬─► polled(...)  ──► blocks, perhaps a retry
    probe(now)                                      ├─► failed(...)  ──► blocks, perhaps a retry
                                                    └─► written(...) ──► blocks of doubt
    lost / connected / pause / resume  ──► blocks      state_map, metrics ──► the beat

No I/O and no clock: a `Timestamp` is passed in, blocks come out. A retry asks only for the members
that timed out; the rest of the group waits for it, so that a block always says one whole reading.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, is_bad
from cpppod.protocols.model.write_values import raw_write
from cpppod.protocols.model.writing import RateLimit, WriteRefused
from cpppod.workers.devices.counters import TRANSACTIONS_KEPT, DeviceCounters, Row
from cpppod.workers.devices.driver import DeviceError, Driver, Sample, Write
from cpppod.workers.devices.health import STATES, Change, Health
from cpppod.workers.devices.queue import Job, Urgency
from cpppod.workers.devices.samples import GroupImage
from cpppod.workers.devices.schedule import Schedule
from cpppod.workers.devices.spec import DRIVERS, as_text, reason
from cpppod.workers.devices.tap import plain

OVERDUE_PERIODS = 5  # a group without any finished poll for so long is named in the beat ...
OVERDUE_AT_LEAST_S = 10.0  # ... but not before: a slow device's retries are not a stuck worker
PARTS_KEPT = 64  # of groups that were written; drivers keep plans of as many
WORDS_LIMIT = 400  # characters of what a message on the wire says
BAD_NAMED = 20  # bad members that a group's map names; `cpppoctl tags` has them all


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Now, on both clocks: seconds of the monotonic one, microseconds of the wall's."""

    mono_s: float
    wall_us: int

    @property
    def mono_us(self) -> int:
        """The monotonic clock in microseconds, as messages carry it."""
        return int(self.mono_s * 1e6)


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be published: the changed members of one group, read at one time."""

    device: str
    group: str
    count: int
    samples: dict[str, Sample]
    source_us: int
    gateway_us: int
    mono_us: int


@dataclass(slots=True)
class PollWork:
    """A group to read, or what is left of it after a first try.

    Attributes:
        part: the members still to be read; `collected` what is known of the others.
        slot_s: when it was due; `read`: when the first part of it was read.
    """

    group: str
    part: Group
    slot_s: float
    tries: int = 0
    collected: dict[str, Sample] = field(default_factory=dict)
    read: Timestamp | None = None
    started_s: float = 0.0


@dataclass(slots=True)
class ProbeWork:
    """One member to read from a device that is demoted."""

    part: Group


class PolledDevice:
    """All that is known and decided about one device."""

    def __init__(
        self,
        device: Device,
        driver: Driver,
        *,
        alone: bool,
        now: Timestamp,
        chance: Callable[[], float] | None = None,
    ) -> None:
        options = {} if chance is None else {"chance": chance}
        self.device = device
        self.name = device.name
        self.driver = driver
        self.health = Health(device.demote_after, alone=alone, enabled=device.enabled, **options)
        self.images = {group.name: GroupImage(group) for group in device.groups}
        self.counters = DeviceCounters(device.name, list(self.images))
        self._groups = {group.name: group for group in device.groups}
        self._tags = {
            tag.name.lower(): (tag, group.name) for group in device.groups for tag in group.tags
        }
        self._rates = {
            tag.name: RateLimit(tag.write_rate) for tag, _ in self._tags.values() if tag.write_rate
        }
        self._schedule = Schedule(device.name, device.groups, now=now.mono_s)
        self._probed, self._probes = _fastest_group(device), 0
        self._finished_s = dict.fromkeys(self._groups, now.mono_s)
        self._written_s: dict[str, float] = {}  # tag -> when the last write to it had ended
        self._parts: dict[tuple[Tag, ...], Group] = {}  # what was read back: plans go by identity
        self._bad: int | None = None  # the quality that all groups were last published with

    # What to do next

    def due(self, now: Timestamp) -> list[Job]:
        """The polls that are due; call it only while the device is connected."""
        if not self.health.polled:
            self._schedule.skip(now.mono_s)
            return []
        jobs = []
        for slot in self._schedule.due(now.mono_s):
            work = PollWork(slot.group.name, slot.group, slot.slot_s)
            jobs.append(Job(Urgency.POLL, self.name, now.mono_s, work))
        return jobs

    def probe(self, now: Timestamp) -> Job | None:
        """A probe, where the device is demoted and its back-off is over."""
        if not self.health.probe_due(now.mono_s):
            return None
        self.health.probing()
        group, self._probes = self._probed, self._probes + 1
        tags = group.tags and (group.tags[(self._probes - 1) % len(group.tags)],)
        part = replace(group, tags=tags)
        return Job(Urgency.PROBE, self.name, now.mono_s, ProbeWork(part))

    def next_event_s(self) -> float:
        """When `due` or `probe` will next have something."""
        if self.health.polled:
            return self._schedule.next_due_s()
        if self.health.probe_s is not None:
            return self.health.probe_s
        return float("inf")

    def check_write(self, writes: list[Any], now_s: float) -> list[Write]:
        """The writes of a `WriteRequest` as the driver takes them, at that second.

        Raises:
            WriteRefused: and why; nothing of the request is sent.
        """
        if not writes:
            raise WriteRefused(Failure.NOTHING_ASKED, "no tag to write")
        checked = []
        for name, first, values in writes:
            found = self._tags.get(str(name).lower())
            if found is None:
                raise WriteRefused(Failure.NO_SUCH_TAG, f"{self.name} has no tag {name!r:.60}")
            checked.append(raw_write(found[0], first, values))
        for tag, _, _ in checked:
            if (rate := self._rates.get(tag.name)) is not None:
                rate.take(now_s)
        return checked

    def written_parts(self, writes: list[Write]) -> list[Group]:
        """What to read back: of each group the tags that were written; all of one never read."""
        parts = []
        for group in self._groups_of(writes):
            written = {tag.name for tag, _, _ in writes}
            tags = tuple(tag for tag in group.tags if tag.name in written)
            if self.images[group.name].read_us is None or len(tags) == len(group.tags):
                parts.append(group)
                continue
            if len(self._parts) >= PARTS_KEPT:
                self._parts.clear()
            parts.append(self._parts.setdefault(tags, replace(group, tags=tags)))
        return parts

    def _groups_of(self, writes: list[Write]) -> list[Group]:
        """The whole groups that the written tags are members of."""
        names = dict.fromkeys(self._tags[tag.name.lower()][1] for tag, _, _ in writes)
        return [self._groups[name] for name in names]

    # What came of it

    def polled(
        self, work: PollWork, samples: dict[str, Sample], now: Timestamp
    ) -> tuple[list[Block], Job | None]:
        """A poll brought `samples`: the block to publish, or the retry of what timed out."""
        work.read = work.read or now
        silent = [
            tag
            for tag in work.part.tags
            if samples.get(tag.name, (None, 0))[1] & 0xFF == Quality.TIMEOUT
        ]
        work.collected.update(samples)
        if silent and work.tries < self.device.retries:
            work.tries += 1
            work.part = replace(work.part, tags=tuple(silent))
            return [], Job(Urgency.RETRY, self.name, now.mono_s, work)
        return [self._finish(work, now)], None

    def failed(
        self, work: PollWork, error: DeviceError, now: Timestamp
    ) -> tuple[list[Block], Job | None]:
        """A poll brought nothing: what to publish, or its retry."""
        self.counters.error(error.text, now.wall_us)
        if self.health.state == "demoted":
            self._schedule.done(work.group)
            return self.spoil(error.quality, now), None
        if self.health.polled and work.tries < self.device.retries:
            work.tries += 1
            return [], Job(Urgency.RETRY, self.name, now.mono_s, work)
        for tag in work.part.tags:
            work.collected[tag.name] = (None, error.quality)
        work.read = work.read or now
        return [self._finish(work, now)], None

    def abandon(self, work: PollWork) -> None:
        """A poll is not done at all: the connection is gone, or the device is paused or removed."""
        self._schedule.done(work.group)

    def answered(self, now: Timestamp) -> Change | None:
        """The device answered something; after a demotion all groups are due at once."""
        change = self.health.answered()
        if change is not None and change.was == "demoted":
            self._schedule.poll_at_once(now.mono_s)
        return change

    def silent(self, now: Timestamp, failure: Failure = Failure.TIMEOUT) -> Change | None:
        """The device did not answer, or not to the point."""
        garbled = failure in (Failure.GARBLED, Failure.BAD_REPLY)
        absent = failure is Failure.ABSENT
        return self.health.timed_out(now.mono_s, garbled=garbled, absent=absent)

    def wrote(self, writes: list[Write], now: Timestamp) -> None:
        """A write has ended: what a poll that began before may bring of these tags is older."""
        self._written_s.update((tag.name, now.mono_s) for tag, _, _ in writes)

    def read_back(
        self, part: Group, samples: dict[str, Sample], writes: list[Write], now: Timestamp
    ) -> Block:
        """The block of what was read after `writes`; what was written is named in it.

        The group's age stays that of its last whole reading.
        """
        image = self.images[part.name]
        self._bad = None
        read = {tag.name: samples.get(tag.name, (None, int(Quality.BAD))) for tag in part.tags}
        changed = image.accept(read, whole=False, publish={tag.name for tag, _, _ in writes})
        times = (now.wall_us, now.wall_us, now.mono_us)
        if image.read_us is None or len(part.tags) == len(image.last):
            image.read_us = times
        return self._block(part.name, changed, (*times[:2], image.read_us[2]))

    def doubt(self, writes: list[Write], now: Timestamp) -> list[Block]:
        """What was written is uncertain at once; the other members stay as old as they are."""
        blocks = []
        for group in self._groups_of(writes):
            image = self.images[group.name]
            names = [tag.name for tag, _, _ in writes if tag.name in image.last]
            changed = image.doubt(names)
            if changed:
                times = image.read_us or (now.wall_us, now.wall_us, now.mono_us)
                blocks.append(self._block(group.name, changed, times))
        return blocks

    def spoil(self, quality: int, now: Timestamp) -> list[Block]:
        """Every group is bad for the same reason, published once until that changes."""
        if self._bad == quality:
            return []
        self._bad = int(quality)
        times = (now.wall_us, now.wall_us, now.mono_us)
        return [
            self._block(name, image.accept_all(quality), times)
            for name, image in self.images.items()
        ]

    def connected(self, now: Timestamp) -> None:
        """The connection is there: slots of the time without one are not overruns."""
        self._schedule.skip(now.mono_s)
        self._schedule.poll_at_once(now.mono_s)

    def pause(self, now: Timestamp) -> list[Block]:
        """Not polled from now on."""
        self.health.pause()
        return self.spoil(Quality.DISABLED, now)

    def resume(self, now: Timestamp) -> None:
        """Polled again, at once."""
        if self.health.resume() is not None:
            self._schedule.poll_at_once(now.mono_s)

    # What to say of it

    def overdue(self, now: Timestamp) -> list[str]:
        """Groups that should have been read and were not; empty while the device is not polled."""
        if not self.health.polled:
            return []
        late = []
        for name, finished_s in self._finished_s.items():
            allowed = max(OVERDUE_AT_LEAST_S, OVERDUE_PERIODS * self._groups[name].period_s)
            if now.mono_s - finished_s > allowed + self.device.timeout_s:
                late.append(f"{self.name}/{name}")
        return late

    def state_map(
        self, now: Timestamp, connection: dict[str, Any], *, transactions: int = TRANSACTIONS_KEPT
    ) -> dict[str, Any]:
        """Why this device is as it is, in plain types (`cpppoctl device`)."""
        counters, health = self.counters, self.health
        probe_s = None if health.probe_s is None else max(0.0, health.probe_s - now.mono_s)
        bad = sum(
            is_bad(sample[1]) for image in self.images.values() for sample in image.last.values()
        )
        described = self.driver.describe()
        return {
            "state": health.state,
            "absent": health.absent,
            "driver": self.device.driver,
            "address": self.device.address,
            "unit": self.device.unit,
            "connection": connection,
            "failures": health.failures,
            "demotions": health.demotions,
            "next_probe_s": probe_s,
            "last_error": counters.last_error,
            "last_error_us": counters.last_error_us,
            "last_success_us": counters.last_success_us,
            "tags": len(self._tags),
            "tags_bad": bad,
            "groups": {name: self._group_map(name, now) for name in self._groups},
            "counters": {f"{op} {result}": n for (op, result), n in counters.requests.items()},
            "writes": dict(counters.writes),
            "asked": dict(counters.asked),
            "transactions": [list(entry) for entry in counters.transactions][-transactions:],
            "quarantined": described.pop("quarantined", []),
            "details": described,
        }

    def wire_map(self) -> list[list[Any]]:
        """What went over its wire of late, as bytes and in words, the oldest first."""
        spec = DRIVERS.find(self.device.driver)
        in_words = spec.in_words if spec else as_text
        return [
            plain(entry, in_words(entry[2], not entry[1])[:WORDS_LIMIT])
            for entry in self.driver.frame.tap.entries()
        ]

    def metrics(self, *, up: bool, now: Timestamp, histograms: bool = True) -> list[Row]:
        """Rows for the beat, those of `counters` included."""
        device = {"device": self.name}
        rows: list[Row] = [
            ["cpppod_device_up", {**device, "driver": self.device.driver}, int(up)],
            ["cpppod_device_consecutive_failures", device, self.health.failures],
            [
                "cpppod_device_last_success_timestamp_seconds",
                device,
                self.counters.last_success_us / 1e6,
            ],
        ]
        for state in STATES:
            labels = {**device, "state": state}
            rows.append(["cpppod_device_state", labels, int(self.health.state == state)])
        for name in self._groups:
            labels = {**device, "group": name}
            overruns = self._schedule.overruns(name)
            rows.append(["cpppod_poll_overruns_total", labels, overruns])
            read_us = self.images[name].read_us
            if read_us is not None:
                age_s = now.mono_s - read_us[2] / 1e6
                rows.append(["cpppod_tag_age_seconds_max", labels, age_s])
        for quality, count in self._qualities().items():
            rows.append(["cpppod_tags", {**device, "quality": quality}, count])
        described = self.driver.describe()
        rows.append(["cpppod_tags_quarantined", device, len(described.get("quarantined", ()))])
        for name, number in described.get("counters", {}).items():
            rows.append([f"cpppod_{name}_total", device, number])
        for name, number in described.get("gauges", {}).items():
            rows.append([f"cpppod_{name}", device, number])
        return rows + self.counters.rows(histograms=histograms)

    def last(self, tag: str) -> Sample | None:
        """The last published sample of a tag, None for an unknown one."""
        found = self._tags.get(tag.lower())
        return None if found is None else self.images[found[1]].last[found[0].name]

    def tag(self, name: str) -> Tag | None:
        """The tag of that name, in any case of letters."""
        found = self._tags.get(name.lower())
        return None if found is None else found[0]

    def _finish(self, work: PollWork, now: Timestamp) -> Block:
        image, read = self.images[work.group], work.read or now
        self._schedule.done(work.group)
        self._finished_s[work.group] = now.mono_s
        self._bad = None
        times = self.counters.groups[work.group]
        times.cycles += 1
        times.cycle.add(now.mono_s - work.started_s)
        times.lateness.add(max(0.0, work.started_s - work.slot_s))
        overtaken = {tag for tag, ended in self._written_s.items() if ended >= work.started_s}
        changed = image.accept(work.collected, keep=overtaken)
        stamp = (read.wall_us, now.wall_us, read.mono_us)
        if not is_bad(image.worst()):
            times.good += 1
            times.answered += 1
        elif any(not is_bad(quality) for _, quality in image.last.values()):
            times.answered += 1
        image.read_us = stamp
        return self._block(work.group, changed, stamp)

    def _block(self, group: str, samples: dict[str, Sample], times: tuple[int, int, int]) -> Block:
        return Block(self.name, group, len(self._groups[group].tags), samples, *times)

    def _group_map(self, name: str, now: Timestamp) -> dict[str, Any]:
        image, times = self.images[name], self.counters.groups[name]
        worst = image.worst()
        age_s = None if image.read_us is None else now.mono_s - image.read_us[2] / 1e6
        return {
            "period_s": self._groups[name].period_s,
            "tags": len(image.last),
            "age_s": age_s,
            "quality": reason(worst, self.device.driver),
            "bad": [
                [tag, reason(quality, self.device.driver)]
                for tag, (_, quality) in image.last.items()
                if is_bad(quality)
            ][:BAD_NAMED],
            "cycles": times.cycles,
            "cycles_good": times.good,
            "cycles_answered": times.answered,
            "overruns": self._schedule.overruns(name),
            "cycle": times.cycle.summary(),
            "lateness": times.lateness.summary(),
        }

    def _qualities(self) -> dict[str, int]:
        counts = {"good": 0, "uncertain": 0, "bad": 0, "stale": 0}
        for image in self.images.values():
            for _, quality in image.last.values():
                counts[_QUALITY_LABELS.get(quality & 0xFF, "bad")] += 1
        return counts


_QUALITY_LABELS = {
    int(Quality.GOOD): "good",
    int(Quality.UNCERTAIN): "uncertain",
    int(Quality.STALE): "stale",
    int(Quality.AS_WRITTEN): "uncertain",
}


def _fastest_group(device: Device) -> Group:
    """What a probe asks one tag of, another each time: the first may be the one that is silent."""
    groups = [group for group in device.groups if group.tags]
    return min(groups, key=lambda group: group.period_s, default=Group("", 1.0))
