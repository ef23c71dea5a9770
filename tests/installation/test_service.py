"""`cpppod install-service`: what it writes, and what it leaves alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpppod.commands import install_service
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def test_unit_users_sysctl_and_an_example_are_written_below_a_root(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cpppod.commands.cpppod", "install-service", "--root", tmp_path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / install_service.UNIT).read_text()
    shipped = (ROOT / "systemd" / "cpppod.service").read_text()
    assert unit == shipped.replace("/opt/cpppod/bin/", f"{sys.prefix}/bin/")
    assert unit.count(f"{sys.prefix}/bin/") == 3
    for name in ("sysusers.d", "sysctl.d"):
        written = (tmp_path / "etc" / name / "cpppod.conf").read_text()
        assert written == (ROOT / "systemd" / name / "cpppod.conf").read_text()
    assert (tmp_path / "etc/cpppod/cpppod.toml").read_text() == (
        ROOT / "etc" / "cpppod.toml"
    ).read_text()
    assert "systemctl enable --now cpppod" in done.stdout


def test_a_configuration_is_kept_and_an_older_unit_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (install_service.UNIT, install_service.CONFIGURATION):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("mine\n")
    for told in ("installed", "unchanged"):
        assert install_service.main(["--root", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert f"{told} {tmp_path / install_service.UNIT}" in said
        assert f"kept      {tmp_path / install_service.CONFIGURATION}" in said
    assert (tmp_path / install_service.CONFIGURATION).read_text() == "mine\n"
    assert "[Service]" in (tmp_path / install_service.UNIT).read_text()


def test_an_environment_that_the_unit_hides_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/ada/.venv")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(install_service, "FILES", {})
    assert install_service.main([]) == 1
    assert "try an environment such as /opt/cpppod" in capsys.readouterr().err


def test_where_there_is_no_systemd_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(install_service, "FILES", {})
    assert install_service.main([]) == 1
    assert "no systemd here" in capsys.readouterr().err


def test_who_may_not_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("no directory\n")
    assert install_service.main(["--root", str(tmp_path)]) == 1
    assert "try it as root" in capsys.readouterr().err
