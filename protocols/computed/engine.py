"""Computed tags, evaluated as blocks arrive: names, order, groups, results and whom to blame.

    block of (device, group) ─► values ─► the computed groups that read of it, in their order
                                            └► (value, quality) of each of their tags

A computed tag may read of others; the order is by that, and a ring is refused. Tags that come from
the same groups of devices, directly or through others, make a group: its block is as new as the
newest of these, and as old as the oldest when its age is asked.

Quality: all good, good; one uncertain or stale, the same; one bad, bad for its reason. The number
of the tag to blame, counted from 1 among the expression's own, stands in bits 16-31.
"""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.computed.language import Expression, ExpressionError, Input, parse
from cpppod.protocols.computed.windows import NotYet
from cpppod.protocols.model.naming import Names as NewNames
from cpppod.protocols.model.values import (
    INTEGER_RANGES,
    STRING_TYPES,
    Quality,
    is_bad,
    judged,
)

Key = tuple[str, str]  # device and group, or device and tag
Sample = tuple[Any, int]
BAD = int(Quality.BAD)


@dataclass(frozen=True, slots=True)
class Source:
    """A tag that expressions may read: where it is published, and what it is."""

    device: str
    group: str
    tag: str
    type: str = "LREAL"
    length: int = 1
    stale_after_s: float = 0.0  # 0: never
    period_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Definition:
    """A computed tag as configured."""

    device: str
    name: str
    expression: str
    type: str = "LREAL"
    history: bool = False


@dataclass(slots=True)
class ComputedTag:
    """One computed tag with what it reads.

    Attributes:
        sources: of its expression's inputs, in their order.
        leaves: the groups of devices that it comes from, directly or through others, each with a
            tag of it that is read.
        group: that it is published in.
    """

    definition: Definition
    expression: Expression
    sources: tuple[Source, ...]
    leaves: dict[Key, Source] = field(default_factory=dict)
    group: str = ""

    @property
    def key(self) -> Key:
        """Device and name."""
        return self.definition.device, self.definition.name


class Names:
    """The tags that expressions may name, without regard to case."""

    def __init__(self) -> None:
        self._known: dict[str, Source | None] = {}

    def add(self, name: str, source: Source) -> None:
        """Take a name; one that two have is nobody's."""
        folded = name.lower()
        known = self._known.get(folded, source)
        self._known[folded] = source if known == source else None

    def find(self, wanted: Input) -> Source:
        """The tag of that name.

        Raises:
            ExpressionError: there is none, or it cannot be read like that.
        """
        folded = wanted.name.lower()
        source = self._known.get(folded)
        if source is None:
            what = "is the name of two tags" if folded in self._known else "is no tag"
            raise ExpressionError(f"{wanted.name} {what}{self._hint(folded)}")
        if source.length > 1 and wanted.element is None:
            raise ExpressionError(f"{wanted.name} is an array: name an element, as [0]")
        if wanted.element is not None and not wanted.element < source.length > 1:
            raise ExpressionError(f"{wanted}: {wanted.name} has no such element")
        return source

    def _hint(self, folded: str) -> str:
        near = [name for name in self._known if name.endswith(f".{folded.rpartition('.')[2]}")]
        return f"; there is {', '.join(sorted(near)[:3])}" if near else ""


def plan(
    definitions: Iterable[Definition], names: Names
) -> tuple[list[ComputedTag], dict[Key, str]]:
    """The computed tags in the order to evaluate them; and what is wrong, by device and name.

    `names` must know the computed tags themselves, with "" for their groups.
    """
    problems: dict[Key, str] = {}
    tags: dict[Key, ComputedTag] = {}
    for each in definitions:
        try:
            expression = parse(each.expression)
            sources = tuple(names.find(wanted) for wanted in expression.inputs)
        except ExpressionError as error:
            problems[each.device, each.name] = str(error)
            continue
        tags[each.device, each.name] = ComputedTag(each, expression, sources)
    ordered: list[ComputedTag] = []
    placed: dict[Key, bool] = {}  # False: being placed
    for tag in tags.values():
        _place(tag, tags, placed, ordered, problems)
    for tag in ordered:
        tag.leaves = _leaves(tag, tags)
        if not tag.leaves and tag.key not in problems:
            problems[tag.key] = "it reads no tag: nothing would ever evaluate it"
    _group(ordered)
    return [tag for tag in ordered if tag.key not in problems], problems


def _place(
    tag: ComputedTag,
    tags: Mapping[Key, ComputedTag],
    placed: dict[Key, bool],
    ordered: list[ComputedTag],
    problems: dict[Key, str],
) -> None:
    """Put a tag behind those that it reads; a ring is a problem of all in it."""
    if tag.key in placed:
        return
    stack = [(tag, iter(tag.sources))]
    placed[tag.key] = False
    way = [tag]
    while stack:
        current, rest = stack[-1]
        for source in rest:
            inner = tags.get((source.device, source.tag))
            if inner is None:
                continue
            if placed.get(inner.key) is False:
                ring = way[way.index(inner) :]
                text = " -> ".join(f"{each.definition.name}" for each in (*ring, inner))
                problems.update({each.key: f"a ring: {text}" for each in ring})
            elif inner.key not in placed:
                placed[inner.key] = False
                stack.append((inner, iter(inner.sources)))
                way.append(inner)
                break
        else:
            placed[current.key] = True
            ordered.append(current)
            stack.pop()
            way.pop()


def _leaves(tag: ComputedTag, tags: Mapping[Key, ComputedTag]) -> dict[Key, Source]:
    found: dict[Key, Source] = {}
    for source in tag.sources:
        inner = tags.get((source.device, source.tag))
        found |= {(source.device, source.group): source} if inner is None else inner.leaves
    return found


def _group(tags: Sequence[ComputedTag]) -> None:
    """A group for the tags that come from the same groups, called by them; history apart."""
    names: dict[str, NewNames] = {}
    groups: dict[tuple[str, frozenset[Key], bool], str] = {}
    for tag in sorted(tags, key=lambda each: (each.definition.device, sorted(each.leaves))):
        device, history = tag.definition.device, tag.definition.history
        place = device, frozenset(tag.leaves), history
        if place not in groups:
            text = "_".join(f"{leaf}_{group}" for leaf, group in sorted(tag.leaves))
            given = names.setdefault(device, NewNames())
            groups[place] = given.give(f"{text}_kept" if history else text)
        tag.group = groups[place]


@dataclass(slots=True)
class Result:
    """A computed group, evaluated: samples by name, and the times that its block has."""

    device: str
    group: str
    samples: dict[str, Sample]
    source_us: int
    mono_us: int


@dataclass(slots=True)
class _Group:
    """The last known of a device's group: its times, and when it is too old."""

    source_us: int = 0
    mono_us: int = 0
    limit_s: float = 0.0


@dataclass(slots=True)
class _Prepared:
    """A computed tag with the places of its inputs in the engine's lists."""

    tag: ComputedTag
    slots: tuple[int, ...]
    elements: tuple[int | None, ...]
    strict: tuple[tuple[int, int], ...]  # (slot, number of the input)
    own: int  # its own slot
    kind: str
    groups: tuple[tuple[Key, int], ...]  # with a limit of age; the input to blame


@dataclass(slots=True)
class Engine:
    """Evaluates planned tags.

    Attributes:
        tags: as `plan` gives them.
        evaluations: how many so far.
    """

    tags: Sequence[ComputedTag]
    evaluations: int = 0
    _slots: dict[Key, int] = field(default_factory=dict)
    _values: list[Any] = field(default_factory=list)
    _qualities: list[int] = field(default_factory=list)
    _groups: dict[Key, _Group] = field(default_factory=dict)
    _readers: dict[Key, list[_Prepared]] = field(default_factory=dict)
    _all: list[_Prepared] = field(default_factory=list)

    def __post_init__(self) -> None:
        for tag in self.tags:
            prepared = self._prepare(tag)
            self._all.append(prepared)
            for leaf, source in tag.leaves.items():
                self._groups.setdefault(leaf, _Group()).limit_s = source.stale_after_s
                self._readers.setdefault(leaf, []).append(prepared)

    def _slot(self, key: Key) -> int:
        if key not in self._slots:
            self._slots[key] = len(self._values)
            self._values.append(None)
            self._qualities.append(int(Quality.NOT_YET_KNOWN))
        return self._slots[key]

    def _prepare(self, tag: ComputedTag) -> _Prepared:
        slots = tuple(self._slot((source.device, source.tag)) for source in tag.sources)
        aged: list[tuple[Key, int]] = []
        for number, source in enumerate(tag.sources):
            place = (source.device, source.group)
            if place in tag.leaves and number in tag.expression.strict:
                aged.append((place, number))
        return _Prepared(
            tag,
            slots,
            tuple(wanted.element for wanted in tag.expression.inputs),
            tuple((slots[number], number) for number in tag.expression.strict),
            self._slot(tag.key),
            tag.definition.type,
            tuple(aged),
        )

    def take(
        self,
        device: str,
        group: str,
        samples: Iterable[tuple[str, Any, int]],
        *,
        source_us: int,
        mono_us: int,
    ) -> bool:
        """Take a block of a device's group in; whether `evaluate` of that group has work."""
        for name, value, worth in samples:
            slot = self._slots.get((device, name))
            if slot is not None:
                self._values[slot], self._qualities[slot] = value, worth
        known = self._groups.get((device, group))
        if known is None:
            return False
        known.source_us, known.mono_us = source_us, mono_us
        return True

    def evaluate(self, *places: Key) -> list[Result]:
        """The computed groups that read of these groups, as of the newest of them."""
        times = [self._groups[place] for place in places]
        source_us = max((each.source_us for each in times), default=0)
        mono_us = max((each.mono_us for each in times), default=0)
        readers = self._readers[places[0]] if len(places) == 1 else self._all
        results: dict[Key, Result] = {}
        for prepared in readers:
            tag = prepared.tag
            sample = self._evaluate(prepared, source_us / 1e6, mono_us)
            self._values[prepared.own], self._qualities[prepared.own] = sample
            place = tag.definition.device, tag.group
            result = results.get(place)
            if result is None:
                oldest_us = self._oldest_us(tag, mono_us)
                result = results[place] = Result(*place, {}, source_us, oldest_us)
            result.samples[tag.definition.name] = sample
        return list(results.values())

    def evaluate_all(self) -> list[Result]:
        """Every computed group, with whatever is known."""
        return self.evaluate(*self._groups)

    def continue_from(self, other: "Engine") -> None:
        """Go on with what another knew: values, times, and what its expressions remember."""
        for key, slot in self._slots.items():
            if (known := other._slots.get(key)) is not None:
                self._values[slot] = other._values[known]
                self._qualities[slot] = other._qualities[known]
        for place, group in self._groups.items():
            if (before := other._groups.get(place)) is not None:
                group.source_us, group.mono_us = before.source_us, before.mono_us
        self.load(other.dump())

    def _oldest_us(self, tag: ComputedTag, mono_us: int) -> int:
        """When the oldest group that it comes from was read, of those that can be too old."""
        known = (self._groups[leaf] for leaf in tag.leaves if leaf in self._groups)
        return min((each.mono_us or mono_us for each in known if each.limit_s), default=mono_us)

    def _evaluate(self, prepared: _Prepared, now: float, mono_us: int) -> Sample:
        self.evaluations += 1
        qualities, values = self._qualities, self._values
        expression = prepared.tag.expression
        worst = 0
        for slot, number in prepared.strict:
            worth = qualities[slot]
            if worth:
                if worth & 0xFF >= BAD:
                    for window in expression.windows:
                        window.gap()
                    return None, _blaming(worth, number)
                if worth & 0xFF > worst & 0xFF:
                    worst = _blaming(worth, number)
        if not worst:
            for place, number in prepared.groups:
                group = self._groups[place]
                if group.limit_s and mono_us - group.mono_us >= group.limit_s * 1e6:
                    worst = _blaming(int(Quality.STALE), number)
        inputs = [values[slot] for slot in prepared.slots]
        if any(element is not None for element in prepared.elements):
            inputs = [_element(*pair) for pair in zip(inputs, prepared.elements, strict=True)]
        good = [not is_bad(qualities[slot]) for slot in prepared.slots]
        try:
            value = expression.compute(inputs, good, expression.windows, now)
            return _typed(value, prepared.kind, worst)
        except NotYet:
            code, number = Quality.NOT_YET_KNOWN, 0
        except ZeroDivisionError:
            code, number = Quality.INFINITE, self._divisor(expression, inputs, good, now)
        except OverflowError:
            code, number = Quality.OUT_OF_RANGE, 0
        except ValueError:  # the logarithm of a negative number, and its like
            code, number = Quality.NOT_A_NUMBER, 0
        except (TypeError, IndexError):
            code, number = Quality.BAD, 0
        return None, _blaming(int(code), number)

    def _divisor(self, expression: Expression, inputs: Any, good: Any, now: float) -> int:
        """The number of the input that made a divisor 0."""
        for compute, numbers in expression.divisors:
            try:
                zero = not compute(inputs, good, expression.windows, now)
            except (ArithmeticError, ValueError, TypeError, NotYet):
                continue
            if zero and numbers:
                return numbers[0]
        return 0

    def dump(self) -> dict[str, Any]:
        """What the tags remember, by `device.tag`: with the expression that it belongs to."""
        return {
            ".".join(tag.key): [tag.expression.text, [each.dump() for each in windows]]
            for tag in self.tags
            if (windows := tag.expression.windows)
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        """Go on with what `dump` said, where the expression is the same; all else begins anew."""
        for tag in self.tags:
            found = kept.get(".".join(tag.key))
            windows = tag.expression.windows
            if not isinstance(found, list) or found[:1] != [tag.expression.text]:
                continue
            memories = found[1] if len(found) > 1 and isinstance(found[1], list) else []
            for window, own in zip(windows, memories, strict=False):
                with contextlib.suppress(ValueError, TypeError, LookupError, OverflowError):
                    window.load(own)


def _blaming(worth: int, number: int) -> int:
    """A quality with the number of the input to blame."""
    return worth & 0xFFFF | (number + 1) << 16


def _element(value: Any, element: int | None) -> Any:
    if element is None or not isinstance(value, list):
        return value
    return value[element]


def _typed(value: Any, kind: str, worst: int) -> Sample:
    """The result as a value of its type.

    Raises:
        OverflowError: it does not fit; TypeError: it is of another kind.
    """
    if kind in STRING_TYPES:
        if not isinstance(value, str):
            raise TypeError("a text")
        return value, worst
    if isinstance(value, str) or value is None or isinstance(value, list):
        raise TypeError("a number")
    if kind == "BOOL":
        return bool(value), worst
    if (limits := INTEGER_RANGES.get(kind)) is not None:
        if isinstance(value, float) and not math.isfinite(value):
            return judged(value, worst)
        whole = round(value)
        if not limits[0] <= whole <= limits[1]:
            raise OverflowError(f"{whole} does not fit {kind}")
        return whole, worst
    return judged(float(value), worst)
