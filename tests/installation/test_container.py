"""The container's files, as far as they can be tested without an engine."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cpppod import configuration
from tests import peers

ROOT = Path(__file__).parents[2]
ENTRYPOINT = ROOT / "docker-entrypoint.sh"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = ROOT / "examples" / "compose"


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment whose commands only tell how they were called."""
    for name in ("cpppod", "cpppoctl", "enip_server", "modbus_sim"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["cpppod"], "cpppod"),
        (["--check"], "cpppod --check"),
        (["enip_server"], "enip_server SCADA=DINT[1000]"),
        (["enip_server", "A=INT"], "enip_server A=INT"),
        (["modbus_sim", "40001=1"], "modbus_sim 40001=1"),
    ],
)
def test_the_entrypoint_runs_its_arguments(
    commands: dict[str, str], arguments: list[str], called: str
) -> None:
    told = subprocess.run(
        [ENTRYPOINT, *arguments], env=commands, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == called


def test_where_no_gateway_is_the_main_process_the_container_is_healthy(
    commands: dict[str, str],
) -> None:
    told = subprocess.run([ENTRYPOINT, "healthy"], env=commands, capture_output=True, check=True)
    assert told.stdout == b""


def stages() -> list[str]:
    """The Dockerfile's stages, without comments and with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return re.split(r"(?m)^(?=FROM )", text)[1:]


def test_the_image_is_slim_and_runs_without_root() -> None:
    build, final = stages()
    assert "AS build" in build
    assert "-slim" in final.splitlines()[0]
    user, *_after = re.findall(r"(?m)^USER (\S+)", final)
    assert user == "cpppod"
    assert "pip" not in final
    instructions = re.findall(r"(?m)^[A-Z]+", final)
    last_root = max(index for index, word in enumerate(instructions) if word in ("RUN", "COPY"))
    assert instructions.index("USER") > last_root


def test_the_base_is_named_by_digest_and_every_package_is_checked_against_a_hash() -> None:
    for stage in stages():
        assert re.match(r"FROM \S+@sha256:[0-9a-f]{64}(?: AS \w+)?$", stage.splitlines()[0])
    build, final = stages()
    for command in re.findall(r"pip (?:install|wheel) [^&\n]*", build):
        hashed = "--require-hashes" in command
        own = "--no-deps" in command and re.search(
            r"(?:/wheels/\*\.whl|--no-build-isolation.* \.)", command
        )
        assert hashed or own, command
    assert not re.search(r"apt-get|curl|wget|pip install", final)


def test_the_state_is_on_a_named_volume() -> None:
    compose = (COMPOSE / "compose.yaml").read_text()
    (name,) = re.findall(r"- (\w+):/var/lib/cpppod\b", compose)
    assert re.search(rf"(?m)^volumes:\n(?:  \w+:\n)*  {name}:$", compose)
    assert "-v cpppod:/var/lib/cpppod" in DOCKERFILE
    assert configuration.load([COMPOSE / "cpppod.toml"], old_files=[]).plant.id == "compose"


def test_the_image_has_a_healthcheck_and_the_documented_ports() -> None:
    final = stages()[1]
    assert re.search(r"HEALTHCHECK .*\[\"docker-entrypoint.sh\", \"healthy\"\]", final)
    for port in ("44818/tcp", "44818/udp", "44880/tcp", "44881/tcp", "9880/tcp"):
        assert port in final
    for line in re.findall(r"(?m)^(?:CMD|ENTRYPOINT) (.*)", final):
        assert isinstance(json.loads(line), list), "exec form: signals reach the process"


def test_what_the_build_copies_is_not_ignored() -> None:
    allowed = (ROOT / ".dockerignore").read_text().split()
    locks = re.findall(r"-r (\S+)", stages()[0])
    assert locks == ["requirements.lock", "requirements-build.lock"]
    for name in (
        *locks,
        "cpppod",
        "protocols",
        "workers",
        "etc",
        "setup.cfg",
        "docker-entrypoint.sh",
    ):
        assert f"!{name}" in allowed
        assert (ROOT / name).exists()
    assert "*" in allowed


def test_the_gateway_of_the_compose_example_is_well() -> None:
    plant = configuration.load([COMPOSE / "cpppod.toml"], old_files=[]).plant
    compose = (COMPOSE / "compose.yaml").read_text()
    (device,) = plant.devices
    host, _colon, port = device.address.partition(":")
    assert re.search(rf"(?m)^  {host}:$", compose), "a service of the device's name"
    for tag in device.groups[0].tags:
        assert re.search(rf'"{tag.address}={tag.type}"', compose)
    assert port == "44818"
    assert plant.options("metrics").split(":")[1] in (COMPOSE / "prometheus.yml").read_text()


def test_prometheus_accepts_the_example() -> None:
    promtool = peers.program("promtool", package="prometheus")
    subprocess.run([promtool, "check", "config", str(COMPOSE / "prometheus.yml")], check=True)
