"""The values that a process knows by the feed: a cache of it, and what each tag is.

    feed ── block ──> ValueCache ── reading(tag, now) ──> value, quality, age, why
                          └─ changed tags ──> watchers

A tag of a device is `device.tag`; a local tag has its bare name. Names are found without regard to
case. A good value whose group was last read longer ago than its limit is stale; local tags have
no such limit.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from sys import intern
from typing import Any

from cpppod.protocols.bus.feed import Block, Kind, ValueMessage
from cpppod.protocols.bus.topics import LOCAL, topic
from cpppod.protocols.model.freshness import BlockOrder, Freshness
from cpppod.protocols.model.plant import COMPUTED, Worker
from cpppod.protocols.model.values import Quality, explain, is_bad
from cpppod.workers.devices.spec import status_words


@dataclass(frozen=True, slots=True)
class TagInfo:
    """What is configured of one tag; `device` "" for a local one, `stale_after_s` 0 for never."""

    name: str
    topic: bytes
    member: str
    device: str
    group: str
    type: str
    length: int
    unit: str
    writable: bool
    description: str
    stale_after_s: float
    flat_name: str = ""
    prometheus: bool = False
    minimum: float | None = None
    maximum: float | None = None
    inputs: tuple[str, ...] = ()  # of a computed tag
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tag is worth now."""

    tag: TagInfo
    value: Any
    quality: int
    source_us: int
    age_s: float | None

    def plain(self) -> dict[str, Any]:
        """The reading as the control socket says it."""
        code = self.quality & 0xFF
        plain = {
            "tag": self.tag.name,
            "value": self.value,
            "good": code == Quality.GOOD,
            "quality": self.quality,
            "reason": _reason(self.quality, self.tag.inputs),
            "time_us": self.source_us,
            "age_s": None if self.age_s is None else round(self.age_s, 3),
            "type": self.tag.type,
            "unit": self.tag.unit,
        }
        if words := status_words(self.quality, self.tag.driver):
            plain["status_text"] = words
        return plain


class CachedGroup(Freshness):
    """The last known samples of one topic, and the block that they are as of."""

    __slots__ = ("samples", "source_us")

    def __init__(self, limit_s: float = 0.0) -> None:
        super().__init__(limit_s)
        self.source_us = 0
        self.samples: dict[str, tuple[Any, int]] = {}


class ValueCache:
    """Last values by topic and member; tags by name.

    Attributes:
        tags: lower-case name -> what is configured, in the configuration's order.
    """

    def __init__(self) -> None:
        self.tags: dict[str, TagInfo] = {}
        self._flat: dict[str, TagInfo] = {}
        self._by_member: dict[bytes, dict[str, TagInfo]] = {}
        self._groups: dict[bytes, CachedGroup] = {}
        self._watchers: set[Callable[[list[TagInfo]], None]] = set()

    def configure(self, worker: Worker) -> None:
        """The tags are those of `worker`'s settings from now on; values of the others go."""
        self.tags = {_folded(info.name): info for info in _tags_of(worker)}
        self._by_member = {}
        for info in self.tags.values():
            self._by_member.setdefault(info.topic, {})[info.member] = info
        self._flat = {info.flat_name.lower(): info for info in self.tags.values() if info.flat_name}
        known, self._groups = self._groups, {}
        for info in self.tags.values():
            if info.topic not in self._groups:
                group = self._groups[info.topic] = known.get(info.topic) or CachedGroup()
                group.limit_s = info.stale_after_s

    def apply(self, name: bytes, message: ValueMessage) -> None:
        """Take a block or repeat of topic `name`; one older than what is there is dropped."""
        if message.kind not in (Kind.BLOCK, Kind.REPEAT):
            return
        block: Block = message.body
        group = self._groups.setdefault(name, CachedGroup())
        place = (message.publisher, message.epoch, message.sequence)
        if not group.admits(*place, repeat=message.kind == Kind.REPEAT):
            return
        samples = block.as_dict()
        changed = [tag for tag, sample in samples.items() if group.samples.get(tag) != sample]
        group.take(*place)
        group.source_us, group.read_at = message.source_us, message.mono_us / 1e6
        members = self._by_member.get(name, {})
        if not group.samples:  # its keys stay for good: those strings that are here already
            samples = {
                members[tag].member if tag in members else tag: sample
                for tag, sample in samples.items()
            }
        group.samples.update(samples)
        if self._watchers and changed:
            infos = [members[tag] for tag in changed if tag in members]
            for watcher in tuple(self._watchers):
                watcher(infos)

    def inputs(self, name: bytes, member: str) -> tuple[str, ...]:
        """Of a computed tag, by topic and name in it: what it reads; of others nothing."""
        info = self._by_member.get(name, {}).get(member)
        return info.inputs if info is not None else ()

    def order_of(self, name: bytes) -> BlockOrder | None:
        """Which block of topic `name` was applied last; None where nothing is known of it."""
        return self._groups.get(name)

    def group(self, name: bytes) -> "CachedGroup | None":
        """What is known of topic `name`; to be read only."""
        return self._groups.get(name)

    def reading(self, info: TagInfo, now_us: int) -> Reading:
        """What the tag is worth at `now_us` of the monotonic clock."""
        group = self._groups.get(info.topic)
        sample = group.samples.get(info.member) if group else None
        if group is None or sample is None:
            return Reading(info, None, int(Quality.NOT_YET_KNOWN), 0, None)
        value, quality = sample
        now = now_us / 1e6
        if group.is_stale(now) and not is_bad(quality):
            quality = int(Quality.STALE)
        return Reading(info, value, quality, group.source_us, group.age_s(now))

    def find(self, name: str) -> TagInfo | None:
        """The tag called `name`, or with that flat name."""
        folded = name.lower()
        return self.tags.get(folded) or self._flat.get(folded)

    def matching(self, patterns: Collection[str]) -> list[TagInfo]:
        """The tags that match any of `patterns` (`*`, `?`, `[...]`); a device means all of its."""
        if "*" in patterns:
            return list(self.tags.values())
        plain = {each.lower() for each in patterns if not GLOB.search(each)}
        wanted = [_expression(pattern) for pattern in patterns if GLOB.search(pattern)]
        return [
            info
            for name, info in self.tags.items()
            if name in plain
            or name.partition(".")[0] in plain
            or any(each.match(name) for each in wanted)
        ]

    def watch(self, watcher: Callable[[list[TagInfo]], None]) -> Callable[[], None]:
        """Have `watcher` told of every change; the result ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)


GLOB = re.compile(r"[*?\[]")

_reason = lru_cache(maxsize=1_000)(explain)  # thousands of tags have the same few qualities


def _expression(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression; `boiler` matches `boiler` and `boiler.pressure`.

    `fnmatch.translate` yields linear expressions except for many `*` in a row, which are one.
    """
    folded = re.sub(r"\*+", "*", pattern.lower())
    return re.compile(f"{translate(folded)}|{translate(f'{folded}.*')}")


def _folded(name: str) -> str:
    """`name` in lower case; the same object where it is so already, for there are many."""
    return name if name.islower() else name.lower()


def _tags_of(worker: Worker) -> Iterable[TagInfo]:
    for device in worker.devices:
        inputs = device.options.get("inputs", {}) if device.driver == COMPUTED else {}
        for group in device.groups:
            group_topic = topic(device.name, group.name)
            for tag in group.tags:
                yield TagInfo(
                    name=f"{device.name}.{tag.name}",
                    topic=group_topic,
                    member=intern(tag.name),  # devices of one kind have the same
                    device=device.name,
                    group=group.name,
                    type=tag.cip_type,
                    length=tag.length,
                    unit=tag.unit,
                    writable=tag.writable,
                    description=tag.description,
                    stale_after_s=group.stale_after_s,
                    flat_name=tag.flat_name,
                    prometheus=group.prometheus,
                    minimum=tag.minimum,
                    maximum=tag.maximum,
                    inputs=tuple(inputs.get(tag.name, ())),
                    driver=device.driver,
                )
    for listener in worker.listeners:
        for local in listener.tags:
            length = 1
            for dimension in local.dimensions:
                length *= dimension
            yield TagInfo(
                name=local.name,
                topic=topic(LOCAL, listener.name),
                member=local.name,
                device="",
                group=listener.name,
                type=local.type,
                length=length,
                unit="",
                writable=local.writable,
                description=local.description,
                stale_after_s=0.0,
            )
