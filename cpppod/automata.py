"""State machines and regular expressions over streams of symbols: the parser toolkit.

    E, A, B = state("E"), state_input("A"), state_input("B", terminal=True)
    E["a"], A["b"], B["b"] = A, B, B
    machine = dfa("ab+", initial=E, context="basic")      or: regex(initial="ab+", context="basic")

    data, source = dotdict(), chainable("abb")
    with machine:
        for mach, sta in machine.run(source=source, data=data):
            ...

    compile("ab+").run().feed("abbb")                     the same at the speed of a table

`docs/automata.md` shows every part of it at work.
"""

from cpppod.protocols.automata.captures import Captures, captures
from cpppod.protocols.automata.compiled import Compiled, Run, compile
from cpppod.protocols.automata.dotdict import dotdict
from cpppod.protocols.automata.errors import (
    ExpressionError,
    LimitExceeded,
    MachineInUse,
    NonTerminal,
    NoProgress,
)
from cpppod.protocols.automata.machines import dfa, dfa_base, dfa_drop, dfa_input
from cpppod.protocols.automata.regexes import (
    Stream,
    integer,
    integer_bytes,
    regex,
    regex_bytes,
    string,
    string_bytes,
)
from cpppod.protocols.automata.sources import (
    chainable,
    chaining,
    decoding,
    peekable,
    peeking,
    rememberable,
    remembering,
)
from cpppod.protocols.automata.states import decide, state, state_drop, state_input, state_struct
from cpppod.protocols.automata.tables import BYTES, TEXT, UTF8, Table, table

__all__ = [
    "BYTES",
    "TEXT",
    "UTF8",
    "Captures",
    "Compiled",
    "ExpressionError",
    "LimitExceeded",
    "MachineInUse",
    "NoProgress",
    "NonTerminal",
    "Run",
    "Stream",
    "Table",
    "captures",
    "chainable",
    "chaining",
    "compile",
    "decide",
    "decoding",
    "dfa",
    "dfa_base",
    "dfa_drop",
    "dfa_input",
    "dotdict",
    "integer",
    "integer_bytes",
    "peekable",
    "peeking",
    "regex",
    "regex_bytes",
    "rememberable",
    "remembering",
    "state",
    "state_drop",
    "state_input",
    "state_struct",
    "string",
    "string_bytes",
    "table",
]
