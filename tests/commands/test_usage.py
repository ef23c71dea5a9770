"""What cannot be meant on a command line: exit status 2 and one line that says what to do."""

import configparser
import sys
from importlib import import_module
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "setup.cfg"
TAG = "A=INT"


def scripts() -> dict[str, str]:
    """Console script -> `module:function`, as setup.cfg has them."""
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    return {
        name.strip(): where.strip() for name, _, where in (line.partition("=") for line in lines)
    }


# of each script: what lacks an argument, and values that cannot be
WRONG: dict[str, list[list[str]]] = {
    "cpppod": [
        ["plnt"],
        ["--config"],
        ["tags"],
        ["tags", "import"],
        ["tags", "browse", "x", "--unit", "y"],
        ["tags", "browse", "127.0.0.1:1", "--period", "soon"],
        ["completion", "tcsh"],
        ["install-service", "now"],
    ],
    "cpppoctl": [
        [],
        ["history"],
        ["history", "a", "--since", "soon"],
        ["history", "a", "--csv", "--wide"],
        ["export", "a", "a.csv", "--from", "soon"],
        ["history", "a", "--limit", "x"],
        ["write", "a"],
        ["log", "loud"],
        ["watch", "a", "--count", "0"],
        ["export", "a.sqlite"],
    ],
    "cpppod-automata": [[], ["("], ["--symbols", "words", "a"]],
    "enip_server": [
        ["--size"],
        ["--no-config", "A=FOO"],
        ["--no-config", "A=INT[x]"],
        ["--no-config", "A.B=INT"],
        ["--no-config", "-d", "x", TAG],
        ["--no-config", "-d", "1s-1ms", TAG],
        ["--no-config", "--move", "A=counter,every=soon", TAG],
        ["--no-config", "--move", "A=counter,step=nan", TAG],
        ["--no-config", "--move", "A=sine,amplitude=1e400", TAG],
        ["--no-config", "--move", "A=sine,period=0", TAG],
        ["--no-config", "--move", "A=walk,low=5,high=1", TAG],
        ["--no-config", "-s", "x", TAG],
        ["--no-config", "-a", "nowhere", TAG],
        ["--no-config", "-w", "x:y", TAG],
        ["--no-config", "--route-path", "x", TAG],
        ["--no-config", "--move", "B=counter", TAG],
        ["--no-config", "--attribute-class", "nowhere:X", TAG],
    ],
    "enip_client": [
        [],
        ["-t"],
        ["-t", "soon", "A"],
        ["-t", "0", "A"],
        ["-t", "inf", "A"],
        ["-d", "-1", "A"],
        ["-r", "0", "A"],
        ["-a", ":x", "A"],
        ["-L", "x"],
        ["--timeout-ticks", "0", "A"],
        ["--priority-time-tick", "16", "A"],
        ["--route-path", "x", "A"],
        ["--source", "x:y:z:", "A"],
        ["A=(SINT)300"],
    ],
    "enip_get_attribute": [[], ["-d", "x", "@1/1"], ["@1"], ["@1/x"], ["@1/1/7=(INT)x"]],
    "enip_list_services": [["-t", "x"], ["-a", ":x"], ["surplus"]],
    "enip_poll": [["-c", "0"], ["-c", "nan"], ["-g", "nowhere.x"], ["Unknown", "-a", ":1"]],
    "enip_thruput": [[], ["-r", "x", "A"], ["-m", "-1", "A"], ["A[1"]],
    "enip_historize": [[], ["--print"], ["{tmp}/a.hst", "A=FOO"], ["{tmp}/a.hst", "--size", "x"]],
    "modbus_sim": [
        [],
        ["-a"],
        ["4x"],
        ["-a", "127.0.0.1:x", "40001"],
        ["-r", "0", "40001"],
        ["-e", "x", "40001"],
        ["-f", "x", "40001"],
        ["-m", "x", "40001"],
        ["-c", "{", "40001"],
        ["--baudrate", "x", "40001"],
    ],
    "modbus_poll": [
        [],
        ["4x"],
        ["-a", "x:y", "40001"],
        ["-u", "300", "40001"],
        ["-R", "soon", "40001"],
        ["-t", "0", "40001"],
        ["-T", "FOO", "40001"],
        ["-c", "{", "40001"],
        ["--broadcast", "40001"],
    ],
    "modbus_scan": [
        [],
        ["x:y"],
        ["127.0.0.1", "-u", "z"],
        ["/dev/x", "-b", "fast"],
        ["/dev/x", "-p", "X"],
        ["127.0.0.1", "-t", "0"],
        ["127.0.0.1", "-L", "x"],
    ],
}


def run(
    where: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    """The exit status of a script that is called so."""
    module, _, name = where.partition(":")
    filled = [text.replace("{tmp}", str(tmp_path)) for text in arguments]
    monkeypatch.setattr(sys, "argv", ["script", *filled])
    try:
        code: int | str | None = getattr(import_module(module), name)()
    except SystemExit as ended:
        code = ended.code
    return code


@pytest.mark.parametrize(("script", "where"), scripts().items(), ids=list(scripts()))
def test_wrong_usage_is_one_line_that_says_what_to_do_and_exit_status_2(
    script: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in [["--no-such-option"], *WRONG[script]]:
        code = run(where, arguments, tmp_path, monkeypatch)
        out, err = capsys.readouterr()
        said = err.splitlines()
        assert (code, out) == (2, ""), (arguments, code, out, err)
        pointer = len(said) == 3 and said[2].strip() == "^"  # of a mistyped operation
        assert len(said) == 1 or pointer, (arguments, said)
        assert "; try " in said[0] or "; then as " in said[0], (arguments, said)


GONE = {
    "cpppod": ["--config", "{tmp}/none.toml"],
    "cpppod-automata": ["--test", "b", "a"],
    "enip_server": ["--no-config", "-c", "{tmp}/none.toml"],
    "enip_client": ["-a", "127.0.0.1:1", "A"],
    "enip_get_attribute": ["-a", "127.0.0.1:1", "@1/1"],
    "enip_list_services": ["-a", "127.0.0.1:1"],
    "enip_thruput": ["-a", "127.0.0.1:1", "A"],
    "modbus_sim": ["--tell", "{tmp}/none", "status"],
    "modbus_poll": ["-a", "127.0.0.1:1", "--once", "40001"],
    "modbus_scan": ["127.0.0.1:1", "-u", "1"],
}


@pytest.mark.parametrize("script", GONE)
def test_what_fails_while_it_runs_is_exit_status_1(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(scripts()[script], GONE[script], tmp_path, monkeypatch) == 1


@pytest.mark.parametrize("form", [["{0}"], ["{0}", "--check"], ["--config", "{0}"]])
def test_a_first_argument_that_is_a_file_is_the_configuration(
    form: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant = tmp_path / "tags"  # also called as a command is, where its path says that it is a file
    plant.write_text("[gateway]\nnome = 1\n")
    arguments = [text.format(plant) for text in form]
    assert run(scripts()["cpppod"], arguments, tmp_path, monkeypatch) == 1
    assert f"{plant}:2: gateway.nome: 1: expected no such key" in capsys.readouterr().err


LOGGING = {
    "enip_server": ["--no-config", TAG],
    "enip_client": ["A"],
    "enip_get_attribute": ["@1/1"],
    "enip_list_services": [],
    "enip_poll": ["-g", "proxy", "Identity"],
    "enip_thruput": ["A"],
    "enip_historize": ["{tmp}/a.hst", "--no-config", TAG],
    "modbus_sim": ["40001"],
    "modbus_poll": ["40001"],
}


@pytest.mark.parametrize("script", LOGGING)
def test_a_log_that_cannot_be_written_is_one_line_that_names_it(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for log, why in ((tmp_path / "none" / "a.log", "no such file"), (tmp_path, "is a directory")):
        arguments = [*LOGGING[script], "--log", str(log)]
        assert run(scripts()[script], arguments, tmp_path, monkeypatch) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and f"-l/--log: {log}: {why}" in said[0], said


def test_the_table_has_every_script() -> None:
    assert WRONG.keys() == scripts().keys()
    for where in scripts().values():
        module, _, name = where.partition(":")
        assert callable(getattr(import_module(module), name))
