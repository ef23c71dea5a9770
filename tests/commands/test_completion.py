"""What Tab completes: every program, by its parser."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from cpppod.commands import completion
from tests.patience import PATIENCE_S
from tests.peers import program

ROOT = Path(__file__).parents[2]
ASK = """
source /dev/stdin
completed() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _shtab_$1 "$1" "${!#}" ""
    echo "${COMPREPLY[@]}"
}
completed $WORDS "$LAST"
"""


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """Shell -> its script."""
    command = [sys.executable, "-m", "cpppod.commands.cpppod", "completion"]
    return {
        shell: subprocess.run(
            [*command, shell], capture_output=True, text=True, check=True, timeout=PATIENCE_S
        ).stdout
        for shell in completion.SHELLS
    }


def test_every_program_is_completed_in_every_shell(scripts: dict[str, str]) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    names = [line.partition("=")[0].strip() for line in filter(None, lines)]
    for name in names:
        assert f" {name}\n" in scripts["bash"]
        assert f"#compdef {name}\n" in scripts["zsh"]
        assert f"complete -c {name} " in scripts["fish"]


@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        ("cpppod", "inst", {"install-service"}),
        ("cpppod completion", "", {"bash", "zsh", "fish"}),
        ("cpppod tags", "", {"import", "export", "browse"}),
        ("cpppoctl", "re", {"read", "restart", "reload", "resume"}),
        ("cpppoctl export", "--comp", {"--compress"}),
        ("cpppoctl export --compress", "", {"gz", "bz2", "xz"}),
        ("enip_client", "--list-i", {"--list-identity", "--list-interfaces"}),
        ("modbus_sim", "--mo", {"--move"}),
    ],
)
def test_bash_completes_words_options_and_choices(
    scripts: dict[str, str], words: str, last: str, expected: set[str]
) -> None:
    done = subprocess.run(
        [program("bash"), "-c", ASK],
        input=scripts["bash"],
        env={"WORDS": words, "LAST": last, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert set(done.stdout.split()) == expected


def test_without_its_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert completion.main(["bash"]) == 1
    assert "pip install 'cpppod[completion]'" in capsys.readouterr().err
