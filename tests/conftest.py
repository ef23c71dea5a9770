"""What all tests need of the process that runs them, and what many of them share."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.running import RunningGateway, running_gateway

# Beginning of a test's name -> the group whose tests run one after the other, in one worker of
# pytest-xdist: they share what is dear to start.
GROUPS = {
    "tests/gateway/": "gateway",
    "tests/contract/test_extending.py": "gateway",
    "tests/contract/test_outlets.py": "gateway",
    "tests/client/test_cpppo_peer.py": "cpppo",
    "tests/installation/test_set_up.py": "set-up",
    "tests/installation/test_wheel.py": "wheel",
    "tests/mqtt/test_mqtt.py": "mqtt",
    "tests/mqtt/test_assertions.py": "mqtt assertions",
    "tests/mqtt/test_refusals.py": "mqtt refusals",
    "tests/fleet/test_fleet.py": "fleet",
    "tests/fleet/test_refusals.py": "fleet refusals",
    "tests/tags/test_l5x.py": "l5x",
    "tests/contract/test_stores.py": "stores",
    "tests/workers/historian/stores/test_postgresql.py": "stores",
    "tests/workers/historian/test_old_stores.py": "old stores",
    "tests/workers/historian/test_positions.py": "positions",
}


def group_of(name: str) -> str:
    """The group of the test `name`; a test of none is a group of its own."""
    return next((group for path, group in GROUPS.items() if name.startswith(path)), name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Groups by name, for `--dist loadgroup`.

    pytest-xdist 3.8 goes by marks, which it adds to the names of tests; pytest 9.2 does not let it,
    and without a word every test goes to any worker.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return GroupScheduling(config, log)


def pytest_configure() -> None:
    """Programs that tests start can be interrupted, also where the tests run in the background.

    A shell without job control starts what is to run there with SIGINT ignored, and that is
    inherited: Ctrl-C is for what stands in front.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The demo's plant and one gateway on it, for all tests that leave it as they found it."""
    folder = tmp_path_factory.getbasetemp()
    taken = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "gateway"
    assert not taken.exists(), "two workers want the gateway: give pytest --dist loadgroup"
    taken.touch()
    with running_gateway() as running:
        yield running
