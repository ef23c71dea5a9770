"""The image: every tag as its bytes stand on the wire, how good they are, replies made of them.

    Variable  a tag's memory; a device is one variable, a structure whose members are its tags
    Sample    quality of one device's tag, under the GroupState that says when it goes stale
    Reply     a remembered reply; what it is made of (its sources) drops it on changing: one tag's
              Sample, else the Variable

A read is a slice. `apply_block` takes what a device's owner published, in sequence order only;
`expire` turns groups stale and is due when `now` reaches `next_expiry`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpppod.protocols.cip import structures
from cpppod.protocols.cip.status import CipError, GeneralStatus, TagStatus
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.types import DataType
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.freshness import Freshness
from cpppod.protocols.model.values import Quality, is_bad
from cpppod.protocols.model.writing import RateLimit

MAX_ELEMENTS = 4_000_000  # of one tag: beyond it even SINTs would be no controller's memory
Kind = DataType | Structure


class Reply:
    """A remembered reply: `tail` is valid until one of `sources` changes.

    Attributes:
        head: command and length, the first four bytes of its frame; `lead` is what stands before
            the sequence count of a connected reply.
        lasts: whether what was rendered last is right until a source changes; a refusal that tells
            an age is not.
        parts: how many replies it is made of.
    """

    __slots__ = ("cost", "head", "lasts", "lead", "parts", "render", "sources", "tail")

    def __init__(self, render: Callable[[], bytes], sources: Sequence["Source"], cost: int) -> None:
        self.head = b""
        self.lead = b""
        self.tail: bytes | None = None
        self.lasts = True
        self.render = render
        self.sources = tuple(sources)
        self.cost = cost
        self.parts = 1


class Source:
    """What remembered replies are made of: a variable, or one tag of a device's variable.

    Attributes:
        image: the image that it belongs to, None before.
        readers: the replies to drop when it changes; None where there never was one.
    """

    __slots__ = ("image", "readers")

    def __init__(self) -> None:
        self.image: Image | None = None
        self.readers: set[Reply] | None = None

    def changed(self) -> None:
        """Drop the replies that were made of the old bytes."""
        readers = self.readers
        if readers:
            for reply in readers:
                reply.tail = None
            readers.clear()
            if self.image is not None:
                self.image.version += 1


class GroupState(Freshness):
    """A device's poll group: its last block, its age, and the samples that both are true of.

    Attributes:
        marked: whether age has turned samples stale, which the next block undoes.
    """

    __slots__ = ("marked", "samples", "variable")

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.marked = False
        self.samples: list[Sample] = []
        self.variable: Variable | None = None


class Sample(Source):
    """How good a device's tag is; `fresh` is quality GOOD within its group's limit."""

    __slots__ = ("group", "quality")

    def __init__(self, group: GroupState) -> None:
        super().__init__()
        self.group = group
        self.quality = int(Quality.NOT_YET_KNOWN)

    def refuse(self, now: float) -> CipError | None:
        """What a read is answered with instead of a value, or None where it is good."""
        if self.quality == Quality.GOOD:
            return None
        code = self.quality & 0xFF
        age_s = self.group.age_s(now)
        age = 0xFFFF if age_s is None else min(int(age_s), 0xFFFE)
        status = self.quality >> 8 & 0xFFFF
        words = (
            (TagStatus.NOT_FRESH | code, age, status)
            if status
            else (TagStatus.NOT_FRESH | code, age)
        )
        return CipError(status=GeneralStatus.GENERAL_ERROR, extended=words)


class Variable(Source):
    """A tag's memory.

    Attributes:
        dimensions: () is a scalar.
        data: all elements back to back; never replaced, so that replies may hold on to it.
        strings: each element's bytes instead, for types of varying size.
        samples: by member name (folded), for a device's structure.
        writable: whether clients may write it; `rate`, if any, how often.
        error: general status that every access answers, 0 for none (fault injection).
        attribute: the user's own object that answers reads and writes, if any.
        device: name of the device that it mirrors, or "".
    """

    __slots__ = (
        *("address", "attribute", "data", "device", "device_tags", "dimensions", "error"),
        *("length", "name", "program", "rate", "retain", "samples", "strings", "type", "writable"),
    )

    def __init__(self, name: str, kind: Kind, dimensions: tuple[int, ...] = ()) -> None:
        super().__init__()
        length = 1
        for size in dimensions:
            length *= size
        if len(dimensions) > 3 or not 0 < length <= MAX_ELEMENTS:
            raise EncodeError(f"{name}: dimensions {dimensions}", status=0)
        self.name = name
        self.type = kind
        self.dimensions = dimensions
        self.length = length
        self.data = bytearray(length * kind.size)
        self.strings: list[bytes] | None = None
        if not kind.size:
            self.strings = [kind.pack([""])] * length
        self.samples: dict[str, Sample] = {}
        self.device_tags: dict[str, Any] = {}
        self.writable = True
        self.rate: RateLimit | None = None
        self.error = 0
        self.attribute: Any = None
        self.device = ""
        self.program = ""
        self.retain = False
        self.address: tuple[int, int, int] | None = None

    def changed(self) -> None:
        """Drop every reply that was made of the old bytes, of any of a device's tags too."""
        if self.readers:
            Source.changed(self)
        if self.samples:
            for sample in self.samples.values():
                sample.changed()

    def tags_changed(self, samples: Sequence["Sample"]) -> None:
        """Tags of a device changed: drop the replies made of them, and of the device as a whole."""
        for sample in samples:
            sample.changed()
        if samples:
            super().changed()

    def written(self) -> None:
        """A client or the user wrote it: drop replies, and tell those who publish."""
        self.changed()
        image = self.image
        if image is None or self.device:
            return
        first = not image.written
        image.written[self.name] = self
        if first and image.notify is not None:
            image.notify()

    def get(self, first: int = 0, count: int | None = None) -> list[Any]:
        """Element values from `first` on."""
        count = self.length - first if count is None else count
        if self.strings is not None:
            return self.type.unpack(b"".join(self.strings[first : first + count]), count)
        size = self.type.size
        return self.type.unpack(self.data[first * size : (first + count) * size], count)

    def set(self, values: Sequence[Any], first: int = 0) -> None:
        """Store element values from `first` on.

        Raises:
            EncodeError: a value does not fit, or there are more than elements.
        """
        if first < 0 or first + len(values) > self.length:
            raise EncodeError(
                f"{self.name}: elements {first} to {first + len(values) - 1} of {self.length}",
                status=GeneralStatus.GENERAL_ERROR,
            )
        if self.strings is not None:
            self.strings[first : first + len(values)] = [self.type.pack([item]) for item in values]
        else:
            at = first * self.type.size
            raw = self.type.pack(values)
            self.data[at : at + len(raw)] = raw
        self.written()

    @property
    def value(self) -> Any:
        """The value of a scalar, or the list of an array's elements."""
        return self.get() if self.dimensions else self.get()[0]


class Image:
    """All variables of one target by name, and the state of the device groups behind them.

    Attributes:
        written: local tags written since somebody last took note; `notify` is called on the first.
        version: grows whenever a remembered reply is no longer what it was.
    """

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.groups: dict[tuple[str, str], GroupState] = {}
        self.devices: dict[str, Variable] = {}
        self.written: dict[str, Variable] = {}
        self.version = 0
        self.notify: Callable[[], None] | None = None
        self.next_expiry = float("inf")
        self.now = 0.0

    def add(self, variable: Variable) -> Variable:
        """Take in a variable; its name is folded for look-ups."""
        self.variables[variable.name.casefold()] = variable
        variable.image = self
        return variable

    def remove(self, variable: Variable) -> None:
        """Forget a variable; replies made of it are dropped."""
        variable.changed()
        self.variables.pop(variable.name.casefold(), None)

    def add_device(
        self, variable: Variable, groups: Mapping[str, tuple[float, Sequence[str]]]
    ) -> None:
        """Take in a device's structure; `groups` gives each one's stale limit and its tags."""
        self.add(variable)
        self.devices[variable.device] = variable
        for name, (stale_after_s, tags) in groups.items():
            group = GroupState(stale_after_s)
            group.variable = variable
            for tag in tags:
                sample = Sample(group)
                sample.image = self
                group.samples.append(sample)
                variable.samples[tag.casefold()] = sample
            self.groups[variable.device, name] = group

    def apply_block(
        self,
        device: str,
        group_name: str,
        *,
        publisher: str,
        epoch: int,
        sequence: int,
        read_at: float,
        tags: Sequence[str],
        values: Sequence[Any],
        qualities: int | Sequence[int],
        now: float,
        repeat: bool = False,
    ) -> bool:
        """Take in a block; False where we do not have its group, or have something newer.

        `read_at` is the monotonic second at which the whole group was read: members not named were
        confirmed unchanged then. A `repeat` of the block that we have may bring members that were
        lost before it; what a write has made uncertain since stays so.
        """
        group = self.groups.get((device, group_name))
        if group is None or not group.admits(publisher, epoch, sequence, repeat=repeat):
            return False
        again = group.is_at(publisher, epoch, sequence)
        group.take(publisher, epoch, sequence)
        variable = self.devices[device]
        changed = _restore(group) if group.marked else []
        group.read_at = read_at
        for position, tag in enumerate(tags):
            sample = variable.samples.get(tag.casefold())
            if sample is None or (again and sample.quality & 0xFF == Quality.UNCERTAIN):
                continue
            quality = qualities if isinstance(qualities, int) else qualities[position]
            _apply(variable, sample, tag, values[position], quality)
            changed.append(sample)
        variable.tags_changed(changed)
        self.next_expiry = min(self.next_expiry, group.expires)
        if group.is_stale(now):
            self.expire(now)
        return True

    def advance(self, now: float) -> None:
        """It is `now`: groups whose time has come turn stale."""
        self.now = now
        if now >= self.next_expiry:
            self.expire(now)

    def expire(self, now: float) -> None:
        """Turn the groups stale that are older than their limit."""
        soonest = float("inf")
        for group in self.groups.values():
            if not group.is_stale(now):
                soonest = min(soonest, group.expires)
                continue
            group.marked = True
            gone = [
                sample
                for sample in group.samples
                if not is_bad(sample.quality) and sample.quality & 0xFF != Quality.STALE
            ]
            for sample in gone:
                sample.quality = int(Quality.STALE)
            if group.variable is not None:
                group.variable.tags_changed(gone)
        self.next_expiry = soonest

    def groups_of(self, device: str) -> dict[str, GroupState]:
        """The groups of a device by name."""
        return {name: group for (owner, name), group in self.groups.items() if owner == device}

    def forget_device(self, device: str) -> None:
        """Forget a device's groups; its variable is removed like any other."""
        self.devices.pop(device, None)
        for name in self.groups_of(device):
            del self.groups[device, name]

    def carry_over(
        self, former: Variable, variable: Variable, groups: Mapping[str, GroupState]
    ) -> None:
        """A device has been declared anew: what did not change keeps its value and quality.

        A tag that is in another group now is not known until that group is read: nothing would
        say how old its value is.
        """
        old, new = former.type, variable.type
        assert isinstance(old, Structure) and isinstance(new, Structure)
        continued = {
            id(before): self.groups.get((variable.device, name)) for name, before in groups.items()
        }
        for member in new.members:
            known = old.member(member.name)
            sample = former.samples.get(member.name.casefold())
            if member.hidden or known is None or sample is None:
                continue
            ours = variable.samples[member.name.casefold()]
            same = (known.type, known.length) == (member.type, member.length)
            if same and continued.get(id(sample.group)) is ours.group:
                structures.store(variable.data, member, structures.load(former.data, known))
                ours.quality = sample.quality
        for name, before in groups.items():
            group = self.groups.get((variable.device, name))
            if group is not None:
                group.continue_from(before)
                group.read_at, group.marked = before.read_at, before.marked
                self.next_expiry = min(self.next_expiry, group.expires)
        variable.changed()

    def set_uncertain(self, device: str, tags: Sequence[str]) -> None:
        """A write's outcome is unknown: its tags are uncertain until the next block names them."""
        variable = self.devices.get(device)
        if variable is None:
            return
        named = [variable.samples.get(tag.casefold()) for tag in tags]
        doubtful = [item for item in named if item is not None and not is_bad(item.quality)]
        for sample in doubtful:
            sample.quality = int(Quality.UNCERTAIN)
        variable.tags_changed(doubtful)


def _restore(group: GroupState) -> list[Sample]:
    """The group is read again: what only age had made stale is good, being unchanged."""
    group.marked = False
    restored = [item for item in group.samples if item.quality & 0xFF == Quality.STALE]
    for sample in restored:
        sample.quality = int(Quality.GOOD)
    return restored


def _apply(variable: Variable, sample: Sample, tag: str, value: Any, quality: int) -> None:
    assert isinstance(variable.type, Structure)
    member = variable.type.member(tag)
    if member is None:
        return
    sample.quality = quality
    if value is None or is_bad(quality):
        if not is_bad(quality):
            sample.quality = int(Quality.BAD)
        return
    try:
        structures.store(variable.data, member, value)
    except EncodeError:
        sample.quality = int(Quality.OUT_OF_RANGE)
