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

from collections.abc import Iterable
from typing import Any

from cpppod.protocols.automata.machine_state import MachineState
from cpppod.protocols.automata.sources import peekable
from cpppod.protocols.automata.states import (
    state,
    state_drop,
    state_input,
)
from cpppod.protocols.automata.stepping import Stepping, Steps


class dfa_base(MachineState):
    """A state with a machine inside that can be run."""

    def nodes(self, seen: set[int] | None = None) -> Iterable[state]:  # type: ignore[override]
        """This machine, all states inside, and all that can be reached from it, each once."""
        seen = set() if seen is None else seen
        for node in super().nodes(seen):
            yield node
            if isinstance(node, dfa_base):
                yield from node.initial.nodes(seen)

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
