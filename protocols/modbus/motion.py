"""Values that move by themselves, for simulated devices.

    [UNIT:]ADDRESS=KIND[,key=value ...]

    counter   step=1 low=0 high=65535 every=1        up by `step` each `every` seconds, then round
    sine      offset=0 amplitude=1000 period=60      offset + amplitude x sin(2 pi t / period)
    walk      low=0 high=1000 step=10 every=1        a random walk between two walls
    replay    file=PATH[@TAG] speed=1               a recorded history (by whoever reads the file)

`type=REAL` and the other CIP types lay the value into registers as a tag of that type has it, in
the order of `word_order=little` and `byte_order=little` where these are given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.modbus.pdu import unpack_registers
from cpppod.protocols.modbus.registers import Codec, codec
from cpppod.protocols.modbus.specs import RegisterRange, parse_range
from cpppod.protocols.model.durations import parse_seconds
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag

INTEGERS = {"INT": 2**15 - 1, "UINT": 2**16 - 1, "DINT": 2**31 - 1, "UDINT": 2**32 - 1}

Value = Callable[[float], float]  # seconds since the start -> value


@dataclass(frozen=True, slots=True)
class Motion:
    """One moving value: where it lies, and what it is worth when.

    Attributes:
        file: of a replay; its `value` is then to be supplied by whoever can read it.
    """

    where: RegisterRange
    kind: str
    type: str
    value: Value
    file: str = ""
    speed: float = 1.0
    word_order: str = "big"
    byte_order: str = "big"

    def cells(self, seconds: float) -> list[int]:
        """What the cells hold at that time; empty where the value cannot be said."""
        value = self.value(seconds)
        if self.where.first.table.has_bits:
            return [int(value != 0)]
        number: Any = value if self.type in ("REAL", "LREAL") else round(value)
        made = _codec(self)
        assert made.encode is not None
        try:
            return unpack_registers(made.encode(number))
        except EncodeError:
            return []


def _codec(motion: Motion) -> Codec:
    orders = motion.word_order, motion.byte_order
    return codec(Tag("value", "HR:0", type=motion.type, word_order=orders[0], byte_order=orders[1]))


_KEYS = {
    "counter": {"step": 1.0, "low": 0.0, "high": 0.0, "every": 1.0},
    "sine": {"offset": 0.0, "amplitude": 1000.0, "period": 60.0},
    "walk": {"low": 0.0, "high": 1000.0, "step": 10.0, "every": 1.0},
    "replay": {"speed": 1.0},
}
TIMES = ("every", "period")  # the keys that are durations
_WORDS = {"type": "UINT", "file": "", "word_order": "big", "byte_order": "big"}


def parse_motion(text: str, *, chance: Callable[[], float]) -> Motion:
    """The motion that `text` describes.

    Raises:
        EncodeError: it describes none.
    """
    where_text, equals, what = text.partition("=")
    kind, *options = [part.strip() for part in what.split(",")]
    known = _KEYS.get(kind)
    if not equals or known is None:
        raise EncodeError(f"motion {text!r:.60}: ADDRESS=counter, sine, walk or replay", status=3)
    numbers, words = dict(known), dict(_WORDS)
    for option in options:
        key, _, value = option.partition("=")
        if key in words:
            words[key] = value
        elif key in numbers:
            try:
                numbers[key] = parse_seconds(value) if key in TIMES else float(value)
            except ValueError:
                raise EncodeError(f"motion {text!r:.60}: {option!r}", status=3) from None
        else:
            raise EncodeError(
                f"motion {kind}: no {key!r}; {', '.join([*known, *_WORDS])}", status=3
            )
    if any(numbers.get(key, 1.0) <= 0 for key in ("every", "period", "speed")):
        raise EncodeError(f"motion {text!r:.60}: every, period and speed are above 0", status=3)
    if not all(map(math.isfinite, numbers.values())):
        raise EncodeError(f"motion {text!r:.60}: the numbers are finite", status=3)
    if kind == "counter":
        numbers["high"] = numbers["high"] or float(INTEGERS.get(words["type"], 2**16 - 1))
    if numbers.get("low", 0.0) > numbers.get("high", 0.0):
        raise EncodeError(f"motion {text!r:.60}: low is not above high", status=3)
    if kind == "replay" and not words["file"]:
        raise EncodeError("motion replay: file=PATH is missing", status=3)
    motion = Motion(
        parse_range(where_text),
        kind,
        words["type"],
        _value(kind, numbers, chance),
        words["file"],
        numbers.get("speed", 1.0),
        words["word_order"],
        words["byte_order"],
    )
    _codec(motion)
    return motion


def _value(kind: str, numbers: dict[str, float], chance: Callable[[], float]) -> Value:
    if kind == "counter":
        return _counter(numbers)
    if kind == "sine":
        offset, amplitude, period = numbers["offset"], numbers["amplitude"], numbers["period"]
        return lambda seconds: offset + amplitude * math.sin(2 * math.pi * seconds / period)
    if kind == "walk":
        return _walk(numbers, chance)
    return lambda seconds: 0.0


def _counter(numbers: dict[str, float]) -> Value:
    low, step, every = numbers["low"], numbers["step"], numbers["every"]
    span = numbers["high"] - low + 1

    def value(seconds: float) -> float:
        return low + (math.floor(seconds / every) * step) % span

    return value


def _walk(numbers: dict[str, float], chance: Callable[[], float]) -> Value:
    low, high, step, every = (numbers[key] for key in ("low", "high", "step", "every"))
    state = [(low + high) / 2, 0.0]  # value, steps taken

    def value(seconds: float) -> float:
        due = math.floor(seconds / every)
        for _ in range(min(int(due - state[1]), 1000)):
            state[0] = min(high, max(low, state[0] + step * (2 * chance() - 1)))
        state[1] = due
        return state[0]

    return value
