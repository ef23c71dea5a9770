"""A gateway's id: made once, kept with its state, and said when it is another one."""

import json
import os
from pathlib import Path

import pytest

from cpppod.workers.identity import IdentityError, hold, instance, read, settle


def test_an_id_is_made_once_and_kept(tmp_path: Path) -> None:
    made = settle(tmp_path)
    assert made.id.startswith("gw-")
    assert "made in" in made.news and "adopt" not in made.news
    again = settle(tmp_path)
    assert (again.id, again.made_us, again.news) == (made.id, made.made_us, "")


def test_two_state_directories_are_two_gateways(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert settle(tmp_path / "a").id != settle(tmp_path / "b").id


def test_the_configured_id_goes_before_the_kept_one_which_is_said(tmp_path: Path) -> None:
    made = settle(tmp_path)
    other = settle(tmp_path, "press-7")
    assert other.id == "press-7"
    assert f"it was {made.id}: cpppoctl gateway adopt {made.id}" in other.news
    assert settle(tmp_path, "press-7").news == ""
    assert settle(tmp_path).id == "press-7"  # and stays when it is configured no more


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "id": 5}'])
def test_a_lost_id_is_a_new_gateway_which_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "epochs").mkdir()
    (tmp_path / "gateway").write_text(text)
    made = settle(tmp_path)
    assert made.id.startswith("gw-")
    assert "cpppoctl gateway adopt ID" in made.news
    assert json.loads((tmp_path / "gateway").read_text())["id"] == made.id


def test_an_id_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    text = json.dumps({"version": 2, "id": "gw-x", "made_us": 1})
    (tmp_path / "gateway").write_text(text)
    with pytest.raises(IdentityError, match="newer"):
        settle(tmp_path)
    assert (tmp_path / "gateway").read_text() == text


def test_an_id_that_cannot_be_kept_serves_this_start_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = settle(tmp_path / "file" / "state")
    assert made.id.startswith("gw-")
    assert "not kept" in made.news


def test_a_state_directory_has_one_gateway_and_says_which(tmp_path: Path) -> None:
    name = settle(tmp_path).id
    first = hold(tmp_path, Path("/run/one"))
    with pytest.raises(IdentityError) as refused:
        hold(tmp_path, Path("/run/two"))
    assert f"gateway {name} runs on this state directory" in str(refused.value)
    assert f"process {os.getpid()}, runtime directory /run/one" in str(refused.value)
    os.close(first)
    os.close(hold(tmp_path, Path("/run/two")))


def test_a_copy_of_a_directory_is_another_instance(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert instance(tmp_path / "a") == instance(tmp_path / "a") != instance(tmp_path / "b")
    assert read(tmp_path / "a") is None
