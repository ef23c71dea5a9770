"""Faults of simulated devices: their text, and which of them strike a reply.

    KIND[:ARGUMENT][,option=value...][,rate=0.1][,times=N]

The kinds and the other options are each protocol's own (`protocols.modbus.faults`,
`protocols.enip.target.faults`). Several faults may be set; those that apply to a request change its
reply in the order given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from cpppod.protocols.model.durations import parse_seconds, parse_span
from cpppod.protocols.model.errors import EncodeError

DEFAULT_LATE_S = 5.0
DRIP_S = 0.01  # between single bytes
SPLIT_S = 0.06  # between pieces
DEFAULT_NOISE = 8  # bytes
MAX_NOISE = 65_536  # bytes: hundreds of frames, and no memory to speak of
Chance = Callable[[], float]  # 0 to below 1
Number = Callable[[str], Any]
SHARED_OPTIONS: dict[str, Number] = {"rate": float, "times": lambda value: int(value, 0)}


class AnyFault(Protocol):
    """What every protocol's faults have; they are frozen dataclasses.

    Attributes:
        rate: share of the replies concerned; times: how many more, None without end.
    """

    @property
    def kind(self) -> str: ...

    @property
    def argument(self) -> str: ...

    @property
    def rate(self) -> float: ...

    @property
    def times(self) -> int | None: ...


FaultT = TypeVar("FaultT", bound=AnyFault)
MessageT = TypeVar("MessageT")


def split_fault(
    text: str, kinds: Collection[str], options: Mapping[str, Number]
) -> tuple[str, str, dict[str, Any]]:
    """Kind, argument and options of the fault that `text` describes.

    Raises:
        EncodeError: there is no such kind or option, or an option is no number.
    """
    head, *rest = text.strip().split(",")
    kind, _, argument = head.partition(":")
    if kind not in kinds:
        raise EncodeError(f"fault {kind!r}: one of {', '.join(sorted(kinds))}", status=3)
    known = {**options, **SHARED_OPTIONS}
    given: dict[str, Any] = {}
    for option in rest:
        name, _, value = option.partition("=")
        if name not in known:
            raise EncodeError(f"fault option {name!r}: {', '.join(known)}", status=3)
        try:
            given[name] = known[name](value)
        except ValueError:
            raise EncodeError(f"fault option {name}={value!r} is no number", status=3) from None
    return kind, argument, given


class FaultList(ABC, Generic[FaultT, MessageT]):
    """The faults in force; they may change while the simulator runs.

    Args:
        kinds: what each kind makes of a message, by its argument.
    """

    def __init__(
        self, chance: Chance, kinds: Mapping[str, Callable[[MessageT, str, Chance], MessageT]]
    ) -> None:
        self.chance = chance
        self._kinds = kinds
        self.active: list[FaultT] = []

    @abstractmethod
    def concerns(self, fault: FaultT, message: MessageT) -> bool:
        """Whether a fault is meant for a message at all."""

    def add(self, fault: FaultT) -> None:
        """One more fault."""
        self.active.append(fault)

    def end(self, unwanted: Callable[[FaultT], bool]) -> int:
        """End those faults; returns how many."""
        kept = [fault for fault in self.active if not unwanted(fault)]
        gone = len(self.active) - len(kept)
        self.active = kept
        return gone

    def apply(self, fault: FaultT, message: MessageT) -> MessageT:
        """What a fault makes of a message that it is meant for."""
        return self._kinds[fault.kind](message, fault.argument, self.chance)

    def strike(self, message: MessageT) -> MessageT:
        """The message as the faults that apply leave it."""
        for at, fault in enumerate(list(self.active)):
            if not self.concerns(fault, message):
                continue
            if fault.rate < 1.0 and self.chance() >= fault.rate:
                continue
            if fault.times is not None:
                if fault.times <= 0:
                    continue
                changed: Any = fault
                self.active[at] = replace(changed, times=fault.times - 1)
            message = self.apply(fault, message)
        self.active = [fault for fault in self.active if fault.times != 0]
        return message


def shared_kinds(*, piece: int) -> dict[str, Callable[[Any, str, Chance], Any]]:
    """What every protocol's replies can suffer on their way, whatever they say.

    Args:
        piece: bytes that `split` sends at a time.
    """
    return {
        "late": lambda message, argument, chance: replace(
            message, delay_s=message.delay_s + seconds(argument, chance, DEFAULT_LATE_S)
        ),
        "silent": lambda message, argument, chance: replace(message, silent=True),
        "half-open": lambda message, argument, chance: replace(message, half_open=True),
        "drip": lambda message, argument, chance: replace(
            message, pause_s=seconds(argument, chance, DRIP_S), piece=1
        ),
        "split": lambda message, argument, chance: replace(
            message, pause_s=seconds(argument, chance, SPLIT_S), piece=piece
        ),
        "hang-up": lambda message, argument, chance: replace(
            message, hang_up_s=parse_seconds(argument or "0")
        ),
        "noise-before": lambda message, argument, chance: replace(
            message, before=noise(argument, chance) + message.before
        ),
        "noise-after": lambda message, argument, chance: replace(
            message, after=message.after + noise(argument, chance)
        ),
    }


def seconds(argument: str, chance: Chance, default: float) -> float:
    """What `0.5` or `100ms-2s` says, between the two by chance.

    Raises:
        ValueError: it is neither.
    """
    if not argument:
        return default
    least, most = parse_span(argument)
    return least + chance() * (most - least)


def noise(argument: str, chance: Chance) -> bytes:
    """Bytes that belong to nobody: so many by chance, or those in hexadecimal.

    Raises:
        ValueError: they are neither, or more than `MAX_NOISE`.
    """
    if argument.isdecimal() or not argument:
        count = int(argument or DEFAULT_NOISE)
        if count > MAX_NOISE:
            raise ValueError(count)
        return bytes(int(chance() * 256) for _ in range(count))
    return bytes.fromhex(argument)
