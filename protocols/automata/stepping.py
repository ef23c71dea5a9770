"""The stepwise run of a machine: every transition, one after the other.

A run keeps a stack of levels, one per machine within a machine. At each level a state

    is entered ── takes its symbol ── runs its own machine, if it is one ── finds the next state
                                                                             │ none, and terminal
                                            the machine around it goes on ◄──┘

None is yielded when the source has run out (chain more to it and go on; going on without more says
that there is no more) and when a symbol is refused on purpose (`S[True] = None`).
"""

from collections.abc import Generator
from typing import Any, cast

from cpppod.protocols.automata.errors import MachineInUse, NonTerminal, NoProgress
from cpppod.protocols.automata.machine_state import MachineState
from cpppod.protocols.automata.pictures import shown_ranges
from cpppod.protocols.automata.sources import Peeking
from cpppod.protocols.automata.states import state

EXPECTED_WORDS = 8  # of an error's text
IDLE_TRANSITIONS = 1000  # transitions in a row without a symbol taken: a circle, not a machine

Step = tuple[MachineState, state | None]
Steps = Generator[Step, None, None]


class _Level:
    """One machine that is being run, within others or not."""

    __slots__ = ("ending", "machine", "outer_path", "path")

    def __init__(self, machine: MachineState, outer_path: str, ending: int | None) -> None:
        self.machine = machine
        self.outer_path = outer_path
        self.path = machine.context(outer_path)
        self.ending = ending


class Stepping:
    """One stepwise run: the source, the data and the stack of levels."""

    def __init__(self, source: Peeking, data: Any) -> None:
        self._source = source
        self._data = data
        self._levels: list[_Level] = []
        self._taken: list[MachineState] = []
        self._impatient = 0  # levels whose machine is not greedy
        self._idle = 0
        self._idle_since = -1

    def steps(self, machine: MachineState, path: str, ending: int | None) -> Steps:
        """The steps of a machine from its start on, those of machines inside it too.

        Raises:
            MachineInUse: it is being run already.
        """
        if machine._running:
            raise MachineInUse(
                f"{machine.own_name} is being run: a machine runs in one place at a time"
            )
        if machine._in_use:
            machine.reset()
        else:
            machine.__enter__()
            self._taken.append(machine)
        machine._running = True
        try:
            yield from self._run(machine, path, ending)
        finally:
            machine._running = False
            for taken in self._taken:
                taken._in_use = False

    def _run(self, machine: MachineState, path: str, ending: int | None) -> Steps:
        if not self._push(machine, path, ending):
            return
        current = machine.initial
        yield machine, current
        while True:
            following: state | None
            if self._is_simple(current):
                target = self._simple_step(current)
                if target is not None:
                    yield self._levels[-1].machine, target
                    current = target
                    continue
                following = yield from self._transition(current)
            else:
                following = yield from self._enter(current)
            if following is None:
                following = yield from self._leave(current)
            if following is None:
                return
            current = following

    def _is_simple(self, current: state) -> bool:
        """Whether nothing but the next symbol decides what follows a state, and it is there."""
        return (
            current.simple
            and not self._impatient
            and self._levels[-1].ending is None
            and (not current.consumes or self._source.peek() is not None)
        )

    def _simple_step(self, current: state) -> state | None:
        """Do what entering a simple state does; the state that follows, if a symbol decides it."""
        source, level = self._source, self._levels[-1]
        machine = level.machine
        machine.current = current
        current.process(source, machine, level.path, self._data)
        symbol = source.peek()
        if symbol is None:
            return None
        target = current.target(source, machine, level.path, self._data, symbol)
        if not isinstance(target, state):
            return None
        self._check_progress(target)
        machine.current = target
        return target

    def _enter(self, current: state) -> Generator[Step, None, state | None]:
        """Take the state's symbol, begin its machine; the state to enter next, if any."""
        level = self._levels[-1]
        level.machine.current = current
        if current.consumes:
            yield from self._acceptable(current, level)
        current.process(self._source, level.machine, level.path, self._data)
        if (inner := _machine(current)) is not None:
            inner.__enter__()
            self._taken.append(inner)
            if self._push(inner, level.path, level.ending):
                yield inner, inner.initial
                return inner.initial
            self._release(inner)
        return (yield from self._transition(current))

    def _leave(self, current: state) -> Generator[Step, None, state | None]:
        """No arrow leads on: end the machine, or its cycle, and let the one around it go on."""
        while True:
            level = self._levels[-1]
            if not current.terminal:
                raise self._error(NonTerminal, current, "terminated in a non-terminal state")
            machine = level.machine
            if machine.cycle + 1 < machine.cycles:
                machine.cycle += 1
                machine.current = machine.initial
                self._check_progress(machine.initial)
                yield machine, machine.initial
                return machine.initial
            machine.terminate(machine, level.outer_path, self._data)
            self._levels.pop()
            self._impatient -= not machine.greedy
            if not self._levels:
                return None
            self._release(machine)
            current = machine
            following = yield from self._transition(machine)
            if following is not None:
                return following

    def _transition(self, current: state) -> Generator[Step, None, state | None]:
        """The state that follows `current`, announced; None where nothing does."""
        source, level = self._source, self._levels[-1]
        ending = level.ending
        if current.limit is not None and not current.is_machine:
            ending = _earlier(ending, source.sent + self._number(current.limit, current, level))
        tried: tuple[int, Any] | None = None
        machine, path = level.machine, level.path
        while not self._satisfied(current):
            limited = ending is not None and source.sent >= ending
            symbol = None if limited else source.peek()
            if symbol is None and not limited and tried != (source.sent, None) and current.waits:
                tried = (source.sent, None)
                yield machine, None
                continue
            target = current.target(source, machine, path, self._data, symbol)
            if isinstance(target, state):
                self._check_progress(target)
                machine.current = target
                yield machine, target
                return target
            if target is None or tried == (source.sent, symbol):
                return None
            tried = (source.sent, symbol)
            yield machine, None
        return None

    def _acceptable(self, current: state, level: _Level) -> Steps:
        """Wait until the next symbol is there, and refuse it if the state is not for it."""
        limited = level.ending is not None and self._source.sent >= level.ending
        if not limited and self._source.peek() is None:
            yield level.machine, None
        symbol = self._source.peek()
        if limited or symbol is None:
            raise self._error(NonTerminal, current, "found no symbol for a state that takes one")
        if not current.validate(symbol):
            raise self._error(NonTerminal, current, "found a symbol outside the state's alphabet")

    def _push(self, machine: MachineState, path: str, ending: int | None) -> bool:
        """Begin a machine inside; False where it is to run no cycle at all."""
        level = _Level(machine, path, ending)
        if machine.limit is not None:
            count = self._number(machine.limit, machine, level)
            level.ending = _earlier(ending, self._source.sent + count)
        if machine.repeat is not None:
            machine.cycles = self._number(machine.repeat, machine, level)
        if machine.cycles <= 0:
            machine.cycles = 0
            return False
        _check_free(machine.initial)
        self._levels.append(level)
        self._impatient += not machine.greedy
        return True

    def _release(self, machine: MachineState) -> None:
        machine._in_use = False
        self._taken.remove(machine)

    def _satisfied(self, current: state) -> bool:
        """Whether a machine, or this state, that is not greedy has what it wants."""
        if current.greedy and not self._impatient:
            return False
        if not current.terminal:
            return False
        if not current.greedy:
            return True
        for level in reversed(self._levels):
            if not level.machine.greedy:
                break
            if not level.machine.terminal:
                return False
        return True

    def _number(self, given: Any, machine: state, level: _Level) -> int:
        """A limit or a repetition: a number, a path in the data, or a function."""
        path = level.path
        if callable(given):
            given = given(machine=machine, source=self._source, path=path, data=self._data)
        if isinstance(given, str):
            where = path + given if given.startswith(".") else given
            given = self._data[where]
        return int(given)

    def _check_progress(self, target: state) -> None:
        _check_free(target)
        if self._source.sent != self._idle_since:
            self._idle_since, self._idle = self._source.sent, 0
            return
        self._idle += 1
        if self._idle > IDLE_TRANSITIONS:
            raise self._error(NoProgress, target, "turns in a circle without taking a symbol")

    def _error(self, kind: type[NonTerminal], current: state, what: str) -> NonTerminal:
        level, source = self._levels[-1], self._source
        limited = level.ending is not None and source.sent >= level.ending
        symbol = None if limited else source.peek()
        inner = _machine(current)
        return kind(
            f"{level.machine} sub-machine {what}",
            machine=level.machine.own_name,
            state=inner.own_name if inner else current.name,
            position=source.sent,
            symbol=symbol,
            found="its limit of symbols" if limited else "",
            context=level.path,
            expected=_expected(current, text=not isinstance(symbol, int)),
        )


def _check_free(target: state) -> None:
    machine = _machine(target)
    if machine is not None and machine._in_use:
        raise MachineInUse(f"{machine.own_name} is in use: a machine runs in one place at a time")


def _machine(target: state) -> MachineState | None:
    """The state as the machine that it is, if it is one."""
    return cast(MachineState, target) if target.is_machine else None


def _earlier(ending: int | None, other: int) -> int:
    return other if ending is None else min(ending, other)


def _expected(current: state, *, text: bool) -> str:
    """The symbols that lead on from a state, in words."""
    words = []
    ranges: list[tuple[int, int]] = []
    for symbol, target in current.edges():
        if target is None or symbol is None:
            continue
        if isinstance(symbol, tuple):
            ranges.append(symbol)
        elif symbol is True:
            words.append("any other symbol")
        elif callable(symbol):
            words.append(getattr(symbol, "__name__", "a predicate"))
        else:
            words.append(repr(symbol))
    if ranges:
        words.insert(0, shown_ranges(tuple(ranges), text))
    return ", ".join(words[:EXPECTED_WORDS]) + (", ..." if len(words) > EXPECTED_WORDS else "")
