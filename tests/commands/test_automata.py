"""The command `cpppod-automata`."""

import json
import shutil
import subprocess
import sys

import pytest

from cpppod.commands.automata import main


def test_a_machine_is_drawn_as_graphviz_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dot", 'a"[0-9]+']) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("digraph machine {")
    assert 'label="a\\"[0-9]+"' in drawn
    assert "label=\"'0'-'9'\"" in drawn
    assert drawn.count("doublecircle") == 1
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tplain"], input=drawn, text=True, check=True, capture_output=True)


def test_a_machine_is_told_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--symbols", "bytes", "[0-9]+"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["symbols"] == "bytes"
    assert [state["accepts"] for state in told["states"]] == [False, True]
    assert told["states"][0]["arrows"] == [
        {"ranges": [[48, 57]], "next": told["states"][1]["name"]}
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "taken", "left"),
    [
        (["--test", "abbb,ab", "ab+"], 0, "abbb", ",ab"),
        (["--test", "abbb,ab", "--no-greedy", "ab+"], 0, "ab", "bb,ab"),
        (["--test", "a", "ab+"], 1, "a", ""),
        (["--test", "πab", "--symbols", "utf-8", "πa"], 0, "\xcf\x80a", "b"),
    ],
)
def test_a_text_is_tried(
    arguments: list[str],
    status: int,
    taken: str,
    left: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--json", *arguments]) == status
    told = json.loads(capsys.readouterr().out)
    assert (told["taken"], told["left"], told["accepted"]) == (taken, left, status == 0)
    assert main(arguments) == status
    assert ("not accepted" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize(
    "arguments", [["("], ["(a|b)*a(a|b){30}"], ["--test", "π", "--symbols", "bytes", "a"]]
)
def test_mistakes_are_explained_with_what_to_try(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("cpppod-automata: ")
    assert "; try " in said


def test_a_picture_is_drawn_where_graphviz_is_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main(["--svg", "ab+"])
    said = capsys.readouterr()
    if shutil.which("dot"):
        assert status == 0
        assert "<svg" in said.out
    else:
        assert status == 1
        assert "install Graphviz" in said.err


def test_the_package_for_pictures_may_be_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    assert main(["--svg", "ab+"]) == 1
    assert "cpppod[svg]" in capsys.readouterr().err
