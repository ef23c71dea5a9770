"""Every example of docs/automata.md does what it says."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from cpppod.commands.automata import main

DOCUMENT = Path(__file__).parents[3] / "docs" / "automata.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_python_examples_give_what_they_show() -> None:
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", TEXT, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, DOCUMENT.name, str(DOCUMENT), 0)
    said: list[str] = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.attempted > 70
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("shown", re.findall(r"```console\n\$ (.*?)```", TEXT, re.DOTALL))
def test_the_commands_print_what_they_show(shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, output = shown.partition("\n")
    name, *arguments = shlex.split(command)
    assert name == "cpppod-automata"
    assert main(arguments) == 0
    assert capsys.readouterr().out == output


@pytest.mark.parametrize(
    ("expression", "given", "taken"),
    re.findall(r"\| `regex\(initial=\"(.+?)\"\)` \| `(.+?)` \| `(.+?)` \|", TEXT),
)
def test_the_table_of_what_machines_take_is_right(expression: str, given: str, taken: str) -> None:
    from cpppod.automata import compile

    assert given[: compile(expression).run().feed(given)] == taken
