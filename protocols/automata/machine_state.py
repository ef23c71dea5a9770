"""The state that holds a machine: where it begins, where it is, and in which cycle.

    machine ──┬─ initial ──► state inside        current   the state that it is in
              └─ repeat      cycles, cycle       in use    by one run at a time

`machines` has what is run; `stepping` how.
"""

from collections.abc import Callable
from typing import Any, Self

from cpppod.protocols.automata.errors import MachineInUse
from cpppod.protocols.automata.states import centered, state


class MachineState(state):
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

    def __enter__(self) -> Self:
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

    def terminate(self, machine: Any, path: str, data: Any) -> None:
        """What is done when the machine inside has ended well, before the own transition."""
