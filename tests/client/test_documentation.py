"""`docs/client.md` says what happens: its Python examples and shell lines are run."""

import doctest
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cpppod.simulator import Simulator
from tests.patience import PATIENCE_S

DOCS = pathlib.Path(__file__).parents[2] / "docs"
TAGS = "SCADA=INT[1000] TEXT=SSTRING[100] FLOAT=REAL Word=DINT Motor_Velocity@0x93/3/10=REAL"


@pytest.fixture
def plc() -> Iterator[Simulator]:
    with Simulator(TAGS.split()) as running:
        yield running


def test_the_examples_print_what_the_page_says() -> None:
    text = (DOCS / "client.md").read_text()
    assert TAGS in text
    code = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.S))
    with Simulator(TAGS.split()) as plc:
        globs = {"host": plc.address[0], "port": plc.address[1]}
        found = doctest.DocTestParser().get_doctest(code, globs, "client.md", None, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(found)
    assert runner.summarize(verbose=False).failed == 0


def lines() -> list[str]:
    (block,) = re.findall(r"```sh\n(.*?)```", (DOCS / "client.md").read_text(), re.S)
    return [line for line in block.splitlines() if line]


@pytest.mark.parametrize("line", lines())
def test_the_shell_lines_work(plc: Simulator, line: str) -> None:
    command, *arguments = shlex.split(line, comments=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"cpppod.commands.{command}"),
            *("-a", f"{plc.address[0]}:{plc.address[1]}"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_what_the_migration_page_names_exists() -> None:
    import cpppod.automata
    import cpppod.client
    import cpppod.history
    import cpppod.modbus
    import cpppod.poll
    import cpppod.proxy
    import cpppod.simulator

    text = (DOCS / "migration.md").read_text()
    modules = {
        "cpppod.automata": cpppod.automata,
        "cpppod.client": cpppod.client,
        "cpppod.history": cpppod.history,
        "cpppod.modbus": cpppod.modbus,
        "cpppod.poll": cpppod.poll,
        "cpppod.proxy": cpppod.proxy,
        "cpppod.simulator": cpppod.simulator,
    }
    named = re.findall(r"`(cpppod\.[a-z]+)\.([A-Za-z_0-9]+)", text)
    named += [
        ("cpppod.modbus", name) for name in "PlcOffline ModbusException merge shatter".split()
    ]
    named += [("cpppod.modbus", name) for name in "ParameterException Client Server".split()]
    named += [
        ("cpppod.history", name) for name in "timestamp duration logger reader loader".split()
    ]
    named += [("cpppod.history", name) for name in "parse_seconds parse_offset".split()]
    named += [("cpppod.automata", name) for name in "dfa regex decide compile captures".split()]
    named += [("cpppod.automata", name) for name in "chainable peekable rememberable".split()]
    for module, name in named:
        if module in modules and (module, name) != ("cpppod.history", "query"):
            assert hasattr(modules[module], name), f"{module}.{name}"
    for program in re.findall(r"`examples/([a-z_]+\.py)`", text):
        assert (DOCS.parent / "examples" / program).exists(), program
