"""The image built and run by a real engine, as documented: `make container-check`.

    podman          on storage of its own in .hosts, in a network namespace of its own
    base            debootstrap's Debian in the place of python:3.11-slim-bookworm
    compose.yaml    its services one by one, each in a network of its own, joined by a cable

Without an index and without a registry: the Dockerfile's FROM loses its digest, since the base is
not that one, and prometheus is left out. Needs root and Debian's debootstrap, podman, runc,
iproute2 and python3-yaml.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.installation.hosts import (
    HOSTS,
    MOUNTED,
    PIP_CONF,
    ROOT,
    WHEELS,
    CheckError,
    Steps,
    commands_of,
    debian,
    need,
    run,
    shelve_wheels,
)

PROGRAMS = {name: name for name in ("debootstrap", "podman", "runc", "unshare")} | {
    "ip": "iproute2"
}
PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")
BASE = "docker.io/library/python:3.11-slim-bookworm"
FOLDER = HOSTS / "podman"
PLANT = """
[gateway]
name = "trial"
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:1502"
[[device.boiler.group]]
name = "all"
period = "100ms"
tags = [ { name = "level", address = 40001, type = "UINT" } ]
"""
BARE = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
PATIENCE_S = 60.0
STOPPED_S = 5.0  # what Ctrl-C is given; the engine kills after ten


def podman(*words: str, within_s: float = 300.0) -> str:
    """What podman says."""
    environment = {
        "STORAGE_DRIVER": "vfs",
        "CONTAINERS_CONF": str(FOLDER / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(FOLDER / "registries.conf"),
    }
    own = ("--root", str(FOLDER / "root"), "--runroot", str(FOLDER / "run"))
    engine = ("podman", *own, "--cgroup-manager=cgroupfs", "--runtime", "runc")
    return run(*engine, *words, environment=environment, within_s=within_s)


def main() -> int:
    """Run the check; the exit status."""
    steps = Steps()
    try:
        need(PROGRAMS)
        if "--inside" not in sys.argv:
            _shelve(steps)
            into = 'ip link set lo up && exec "$@"'
            words = ("unshare", "--net", "--mount", "sh", "-c", into, "sh", sys.executable, "-m")
            os.execvp(words[0], [*words, "tests.installation.container_check", "--inside"])
        _build(steps)
        _demo(steps)
        _gateway(steps)
        _simulators(steps)
        _compose(steps)
    except CheckError as error:
        print(f"container-check: {error}", file=sys.stderr)
        return 1
    finally:
        if FOLDER.exists() and "--inside" in sys.argv:
            podman("rm", "--all", "--force", "--time=0")
    print("well")
    return 0


def _shelve(steps: Steps) -> None:
    """All that needs the network."""
    base = debian("container", PACKAGES)
    for name in ("python", "pip"):
        with contextlib.suppress(FileExistsError):
            (base / "usr/bin" / name).symlink_to(f"{name}3")
    for marker in base.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # the real base's Python is its own
    shelve_wheels()
    steps.done("a base, the wheels of the locks")


def _build(steps: Steps) -> None:
    """The image, by `docker build -t cpppod .`."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "containers.conf").write_text("[containers]\ndefault_ulimits = []\n")
    registries = 'unqualified-search-registries = ["docker.io"]\n'
    (FOLDER / "registries.conf").write_text(registries)
    (FOLDER / "pip.conf").write_text(PIP_CONF)
    (FOLDER / "etc").mkdir()
    (FOLDER / "etc" / "cpppod.toml").write_text(PLANT)
    archive = FOLDER / "base.tar"
    run("tar", "-C", str(HOSTS / "container"), "-cf", str(archive), ".")
    podman("import", str(archive), BASE)
    archive.unlink()
    file = FOLDER / "Dockerfile"
    file.write_text(re.sub(r"@sha256:[0-9a-f]{64}", "", (ROOT / "Dockerfile").read_text("utf-8")))
    build, *_ = documented()
    podman(
        *(
            *build[:1],
            "--format=docker",
            "--pull=never",
            "--isolation=chroot",
            "--network=host",
            f"--file={file}",
        ),
        *(f"--volume={WHEELS}:{MOUNTED}:ro", f"--volume={FOLDER}/pip.conf:/etc/pip.conf:ro"),
        *(*build[1:-1], str(ROOT)),
    )
    steps.done(f"docker {' '.join(build)}")


def documented() -> list[list[str]]:
    """The page's commands, without `docker`."""
    return [shlex.split(line)[1:] for line in commands_of("In a container")]


@contextlib.contextmanager
def running(name: str, *words: str, network: str = "host") -> Iterator[Callable[..., str]]:
    """A container with these words of `run`; gives what runs a command in it."""
    podman("run", "--detach", f"--name={name}", "--ulimit=host", f"--network={network}", *words)
    try:
        yield lambda *command: podman("exec", name, *command)
    except CheckError as error:
        raise CheckError(f"{error}\n{podman('logs', name)[-1500:]}") from None
    finally:
        podman("rm", "--force", "--time=0", name)


def until(ask: Callable[[], object], what: str) -> None:
    """Wait until `ask` gives something true, and does not fail."""
    deadline, why = time.monotonic() + PATIENCE_S, ""
    while True:
        try:
            if ask():
                return
        except CheckError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise CheckError(f"not {what} within {PATIENCE_S:g} s: {why}")
        time.sleep(0.2)


def healthy(name: str) -> bool:
    """Whether the engine's own health check passes."""
    podman("healthcheck", "run", name)
    return True


def stopped(name: str) -> float:
    """Seconds that `stop` takes."""
    begun = time.monotonic()
    podman("stop", name)
    took = time.monotonic() - begun
    code = podman("inspect", "--format={{.State.ExitCode}}", name).strip()
    if took > STOPPED_S or code != "0":
        raise CheckError(f"{name}: stopped after {took:.1f} s with exit status {code}")
    return took


def online(told: str) -> bool:
    """Whether there are devices, and all of them answer."""
    return {device["state"] for device in json.loads(told)["devices"]} == {"online"}


def _demo(steps: Steps) -> None:
    demo = next(words for words in documented() if words[-1] == "--demo")
    with running("demo", *(word for word in demo[1:] if word not in ("--rm", "-it"))) as inside:
        until(lambda: online(inside("cpppoctl", "--json", "devices")), "all devices online")
        until(lambda: healthy("demo"), "healthy")
        who = inside("id").strip()
        lines = podman("logs", "demo")
        seconds = stopped("demo")
    refused = [line for line in lines.splitlines() if "Address already in use" in line]
    if "uid=990" not in who or "dialout" not in who or refused:
        raise CheckError(f"demo: {who} {refused}")
    steps.done(f"docker {' '.join(demo)}: all online, healthy, {who}, stop {seconds:.2f} s")


def _gateway(steps: Steps) -> None:
    words = [word.replace("/etc/cpppod:", f"{FOLDER}/etc:", 1) for word in documented()[1]]
    words = [word for word in words[1:] if word not in ("--network", "host")]
    image = words.pop()
    found = []
    with running("boiler", image, "modbus_sim", "-a", "127.0.0.1:1502", "40001=7"):
        for more in ((), (*BARE, "--mount=type=tmpfs,dst=/run/cpppod,U=true")):
            with running("gateway", *words, *more, image) as inside:
                until(lambda: inside("cpppoctl", "read", "boiler.level"), "a good value")
                until(lambda: healthy("gateway"), "healthy")
                found.append(json.loads(inside("cpppoctl", "--json", "status"))["gateway"])
                seconds = stopped("gateway")
            steps.done(f"docker {' '.join(documented()[1])} {' '.join(more)}: stop {seconds:.2f} s")
    if len(set(found)) != 1:
        raise CheckError(f"another gateway on the same volume: {found}")


def _simulators(steps: Steps) -> None:
    lines = re.findall(r"^docker (run -p .*)$", (ROOT / PAGE).read_text("utf-8"), re.MULTILINE)
    for line in lines:
        words = shlex.split(line)[3:]  # run -p HOST:CONTAINER
        with running("simulator", *words) as inside:
            if "enip_server" in words:
                tag = words[2].partition("=")[0] if len(words) > 2 else "SCADA[0]"
                until(lambda: inside("enip_client", "--print", tag), f"{tag} read")  # noqa: B023
            else:
                ask = ("modbus_scan", "127.0.0.1:5020", "--help")
                until(lambda: inside(*ask), "asked")  # noqa: B023
        steps.done(f"docker {line}")


def _compose(steps: Steps) -> None:
    """The services of the example, each with what its file says of it."""
    folder = ROOT / "examples" / "compose"
    reader = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    text = shlex.quote(str(folder / "compose.yaml"))
    services = json.loads(run("sh", "-c", f"/usr/bin/python3 -c '{reader}' < {text}"))["services"]
    cable = (
        "ip netns add gw; ip netns add tank; ip link add g type veth peer name t;"
        "ip link set dev g netns gw; ip link set dev t netns tank;"
        "ip -n gw addr add 10.88.0.1/24 dev g; ip -n tank addr add 10.88.0.2/24 dev t;"
        "for n in gw tank; do ip -n $n link set lo up; done;"
        "ip -n gw link set dev g up; ip -n tank link set dev t up"
    )
    run("sh", "-ec", f"mkdir -p /run/netns; mount -t tmpfs none /run/netns; {cable}")
    tank = _words(services["tank"], folder)
    gateway = ["--add-host=tank:10.88.0.2", *_words(services["cpppod"], folder)]
    try:
        with (
            running("tank", *tank, network="ns:/run/netns/tank"),
            running("cpppod", *gateway, network="ns:/run/netns/gw") as inside,
        ):
            until(lambda: inside("cpppoctl", "read", "tank.level"), "a good value")
            until(lambda: healthy("cpppod"), "healthy")
            inside("enip_client", "--print", "tank.level")
            seconds = stopped("cpppod")
    finally:
        run("sh", "-c", "ip netns del gw; ip netns del tank")
    steps.done(f"compose.yaml: tank and cpppod: a value, healthy, stop {seconds:.2f} s")


def _words(service: dict[str, Any], folder: Path) -> list[str]:
    """What `run` is told for a service of the file."""
    words = ["--read-only"] if service.get("read_only") else []
    words += [f"--cap-drop={each}" for each in service.get("cap_drop", ())]
    words += [f"--security-opt={each}" for each in service.get("security_opt", ())]
    words += [f"--tmpfs={each}" for each in service.get("tmpfs", ())]
    words += [f"--env={name}={value}" for name, value in service.get("environment", {}).items()]
    for volume in service.get("volumes", ()):
        words.append(f"--volume={volume.replace('./', f'{folder}/', 1)}")
    return [*words, service["image"], *service.get("command", ())]


PAGE = "docs/installation.md"

if __name__ == "__main__":
    sys.exit(main())
