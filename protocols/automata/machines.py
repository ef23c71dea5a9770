"""Machines: `dfa`, a state made of states, and the stepwise run that yields every transition.

    with machine:
        for mach, sta in machine.run(source=source, data=data):
            mach   the machine that moved
            sta    the state it moved to, or None: it needs input, or refuses what there is
        machine.terminal   whether what was read is a sentence

None is yielded when the source has run out (chain more to it and go on; going on without more says
that there is no more) and when a symbol is refused on purpose (`S[True] = None`). With
`greedy=False` a machine stops at the first point at which it is satisfied, whatever the states
within could go on with.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cpppod.protocols.automata.errors import MachineInUse
from cpppod.protocols.automata.sources import peekable
from cpppod.protocols.automata.states import (
    centered,
    state,
    state_drop,
    state_input,
)
from cpppod.protocols.automata.stepping import Stepping, Steps


class dfa_base(state):
    """A state with a machine inside. It holds where it is, so it runs in one place at a time.

    Args:
        name: of the machine.
        initial: the state that it begins in.
        repeat: how often the machine runs before its own transition: a number, a path in the data
            (`.n` below the own context, `..n` beside it) or a function; None is once.
        keywords: as for `state`; `limit` counts the symbols inside.
    """

    is_machine = True

    def __init__(
        self,
        name: Any = None,
        initial: state | None = None,
        repeat: int | str | Callable[..., int] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(name, **keywords)
        if initial is None:
            raise TypeError("a machine needs an initial state")
        self.initial = initial
        self.repeat = repeat
        self.current: state = initial
        self.cycle = 0
        self.cycles = 1
        self._in_use = False
        self._running = False

    def __enter__(self) -> "dfa_base":
        """Take the machine into use, at its beginning.

        Raises:
            MachineInUse: somebody has.
        """
        if self._in_use:
            raise MachineInUse(f"{self.own_name} is in use: a machine runs in one place at a time")
        self._in_use = True
        self.reset()
        return self

    def __exit__(self, *_: object) -> None:
        self._in_use = False

    def reset(self) -> None:
        """Go back to the initial state, before the first cycle."""
        self.current = self.initial
        self.cycle = 0
        self.cycles = 1

    @property
    def simple(self) -> bool:
        return False

    @property
    def name(self) -> str:
        """The machine's name and the state it is in: `ab+.( E )`."""
        return f"{self._name}.{self.current}"

    @property
    def own_name(self) -> str:
        """The machine's name alone."""
        return self._name

    def name_centered(self) -> str:
        """Name and initial state in a field of fixed width, for lists of transitions."""
        return centered(self.initial_name())

    def initial_name(self) -> str:
        """How the machine is shown before it has begun."""
        return f"( {self._name}.{self.initial.initial_name()} )"

    @property
    def terminal(self) -> bool:
        """Marked as terminal, its state terminal, and in its last cycle."""
        if self.cycles == 0:
            return self._terminal
        return self._terminal and self.current.terminal and self.cycle + 1 >= self.cycles

    @terminal.setter
    def terminal(self, value: bool) -> None:
        self._terminal = value

    def nodes(self, seen: set[int] | None = None) -> Iterable[state]:  # type: ignore[override]
        """This machine, all states inside, and all that can be reached from it, each once."""
        seen = set() if seen is None else seen
        for node in super().nodes(seen):
            yield node
            if isinstance(node, dfa_base):
                yield from node.initial.nodes(seen)

    def terminate(self, machine: Any, path: str, data: Any) -> None:
        """What is done when the machine inside has ended well, before the own transition."""

    def run(
        self,
        source: Iterable[Any] | None = None,
        machine: Any = None,
        path: str | None = None,
        data: Any = None,
        ending: int | None = None,
    ) -> Steps:
        """Run from the beginning; yields (machine, state), or (machine, None).

        Args:
            source: symbols; one that can be chained to where more may come.
            path: where in `data` the machine's own context lies.
            data: a dotdict that the symbols go to; None to store nothing.
            ending: `source.sent` beyond which no symbol is taken.

        Raises:
            NonTerminal: the input ends, or goes on, where the machine accepts neither.
        """
        return Stepping(peekable(source), data).steps(self, path or "", ending)


class dfa(dfa_base):
    """A machine as a state."""


class dfa_input(dfa_base, state_input):
    """A machine as a state that stores the symbol it is entered on, then runs."""


class dfa_drop(dfa_base, state_drop):
    """A machine as a state that drops the symbol it is entered on, then runs."""
