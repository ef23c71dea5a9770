"""What can go wrong with a machine or its expression.

ProtocolError
├── DecodeError
│   └── NonTerminal        the input ended, or went on, where the machine accepts neither
│       └── NoProgress     the machine turns in a circle without consuming input
└── EncodeError
    ├── ExpressionError    not a regular expression that we understand; says where
    └── LimitExceeded      the expression asks for a machine beyond our limits
RuntimeError
└── MachineInUse           a machine is being run and cannot be run a second time
"""

from typing import Any

from cpppod.protocols.model.errors import DecodeError, EncodeError


class NonTerminal(DecodeError):
    """The input ended, or went on, where the machine accepts neither.

    Attributes:
        machine, state: names of the machine that stopped and of the state that it stopped in.
        position: symbols taken from the source so far.
        symbol: the symbol that could not be taken; None where the input ended.
        context: where the machine stores its data, `a.b`.
        expected: the symbols that would have been taken, in words.
    """

    def __init__(
        self,
        what: str,
        *,
        machine: str = "",
        state: str = "",
        position: int = 0,
        symbol: Any = None,
        found: str = "",
        context: str = "",
        expected: str = "",
    ) -> None:
        found = found or ("the end of the input" if symbol is None else repr(symbol))
        text = f"{what}, after {position} symbols: found {found}"
        if expected:
            text += f", expected {expected}"
        if context:
            text += f", in context {context!r}"
        super().__init__(text, status=0)
        self.machine = machine
        self.state = state
        self.position = position
        self.symbol = symbol
        self.context = context
        self.expected = expected


class NoProgress(NonTerminal):
    """The machine turns in a circle without consuming input."""


class ExpressionError(EncodeError):
    """Not a regular expression that we understand.

    Attributes:
        expression: the whole of it; `position`: index of the character that was not understood.
    """

    def __init__(self, what: str, *, expression: str, position: int) -> None:
        super().__init__(
            f"{what} at position {position} of the expression {_shown(expression)}", status=0
        )
        self.expression = expression
        self.position = position


class LimitExceeded(EncodeError):
    """The expression asks for a machine beyond our limits; `expression` is the whole of it."""

    def __init__(self, what: str, *, expression: str) -> None:
        super().__init__(f"{what}, in the expression {_shown(expression)}", status=0)
        self.expression = expression


class MachineInUse(RuntimeError):
    """A machine keeps its current state in itself: one run at a time."""


def _shown(expression: str) -> str:
    return repr(expression if len(expression) <= 80 else expression[:77] + "...")
