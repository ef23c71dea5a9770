"""`cpppod-automata REGEX`: draw the machine of a regular expression, or try it on a text.

cpppod-automata '(ab+)((,[ ]*)(ab+))*'                  its states and arrows, as a table
cpppod-automata --dot '[0-9]+(\\.[0-9]*)?' | dot -Tsvg   as Graphviz text
cpppod-automata --svg '[0-9]+' > machine.svg            as a picture (extra `svg`)
cpppod-automata --test '12.3x' '[0-9]+(\\.[0-9]*)?'      what it takes of a text, and why it stops
"""

import argparse
import json
import sys
from typing import Any

from cpppod.automata import (
    BYTES,
    TEXT,
    UTF8,
    ExpressionError,
    LimitExceeded,
    NonTerminal,
    Table,
    captures,
    compile,
    table,
)
from cpppod.commands.parser import CommandParser
from cpppod.protocols.automata.pictures import dot, shown_state, shown_symbols, transitions

DONE, REFUSED, USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status: 0 done, 1 the text is no sentence, 2 usage."""
    options = parser().parse_args(arguments)
    try:
        machine = table(options.expression, options.symbols)
        if options.test is not None:
            return test(machine, options)
        return show(machine, options)
    except (ExpressionError, LimitExceeded) as error:
        return _fail(str(error), "see docs/automata.md for what an expression may say", USAGE)
    except BrokenPipeError:
        sys.stderr.close()
        return REFUSED


EPILOG = """\
examples:
  cpppod-automata '(ab+)((,[ ]*)(ab+))*'
  cpppod-automata --test 12.5kg '(?P<whole>[0-9]+)(\\.(?P<part>[0-9]*))?'
  cpppod-automata --symbols bytes --dot '[0-9]+\\r\\n' | dot -Tpng > machine.png

exit status: 0 done, 1 the text is not accepted or the picture cannot be drawn, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = CommandParser(
        prog="cpppod-automata",
        description="Draw the state machine of a regular expression, or try it on a text.",
        epilog=EPILOG,
    )
    made.add_argument("expression", metavar="REGEX", help="the regular expression")
    kind = made.add_mutually_exclusive_group()
    kind.add_argument("--table", action="store_true", help="states and arrows (the default)")
    kind.add_argument("--dot", action="store_true", help="Graphviz text")
    kind.add_argument("--svg", action="store_true", help="a picture (needs the package graphviz)")
    made.add_argument(
        "--symbols",
        choices=(TEXT, BYTES, UTF8),
        default=TEXT,
        help="what the machine reads: characters, bytes, or the bytes of UTF-8 (%(default)s)",
    )
    made.add_argument(
        "--test", metavar="TEXT", help="run the machine on TEXT and say what it takes"
    )
    made.add_argument(
        "--no-greedy",
        dest="greedy",
        action="store_false",
        help="with --test: stop at the first point that satisfies the expression",
    )
    made.add_argument("--json", action="store_true", help="for programs")
    return made


def show(machine: Table, options: argparse.Namespace) -> int:
    """Print the machine in the form that was asked for."""
    if options.dot:
        print(dot(machine), end="")
        return DONE
    if options.svg:
        return _draw(machine)
    if options.json:
        print(json.dumps(description(machine), ensure_ascii=False))
        return DONE
    rows = [("state", "symbols", "next"), *transitions(machine)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(
        f"{len(machine.rows)} states, {len(set(machine.classes))} classes of symbols; (n) accepts"
    )
    return DONE


def test(machine: Table, options: argparse.Namespace) -> int:
    """Run the machine on the text and print what came of it."""
    given: Any = options.test
    if options.symbols != TEXT:
        encoding = "latin-1" if options.symbols == BYTES else "utf-8"
        try:
            given = given.encode(encoding)
        except UnicodeEncodeError:
            return _fail("a character is no byte", "--symbols text or utf-8", USAGE)
    run = compile(machine.expression, options.symbols, options.greedy).run()
    taken = run.feed(given)
    problem = ""
    try:
        run.finish()
    except NonTerminal as error:
        problem = str(error)
    result = {
        "expression": machine.expression,
        "accepted": not problem,
        "taken": _text(given[:taken]),
        "left": _text(given[taken:]),
        "state": run.state,
        "captures": _captures(machine, given[:taken]) if not problem else {},
        "problem": problem,
    }
    _print_test(machine, result, options.json)
    return REFUSED if problem else DONE


def description(machine: Table) -> dict[str, Any]:
    """The machine as `--json` gives it."""
    return {
        "expression": machine.expression,
        "symbols": machine.symbols,
        "states": [
            {
                "name": name,
                "accepts": index in machine.accepting,
                "arrows": [
                    {"ranges": [list(held) for held in ranges], "next": machine.names[target]}
                    for target, ranges in machine.targets(index).items()
                ],
            }
            for index, name in enumerate(machine.names)
        ],
    }


def _print_test(machine: Table, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    state = machine.names.index(result["state"])
    print(f"taken     {result['taken']!r}")
    print(f"left      {result['left']!r}")
    print(
        f"state     {shown_state(machine, state)}, next: {shown_symbols(machine, state) or 'none'}"
    )
    for name, text in result["captures"].items():
        print(f"{name:<9} {text!r}")
    print("accepted" if result["accepted"] else f"not accepted: {result['problem']}")


def _captures(machine: Table, taken: Any) -> dict[str, str | None]:
    if "(?P<" not in machine.expression or machine.symbols == UTF8:
        return {}
    found = captures(machine.expression, machine.symbols).texts(taken)
    return {name: None if text is None else _text(text) for name, text in found.items()}


def _text(data: Any) -> str:
    return data if isinstance(data, str) else bytes(data).decode("latin-1")


def _draw(machine: Table) -> int:
    try:
        import graphviz
    except ImportError:
        return _fail("--svg needs the package graphviz", "pip install 'cpppod[svg]', or --dot")
    try:
        sys.stdout.write(graphviz.Source(dot(machine)).pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound:
        return _fail("Graphviz's program dot is not installed", "install Graphviz, or --dot")
    return DONE


def _fail(why: str, advice: str, status: int = REFUSED) -> int:
    print(f"cpppod-automata: {why}; try {advice}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
