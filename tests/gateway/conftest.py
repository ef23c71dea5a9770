"""One gateway for all tests of this folder: they share it, and leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.gateway.running import RunningGateway, running_gateway


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningGateway]:
    """The demo's plant and the gateway on it."""
    with running_gateway() as running:
        yield running


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here run in one worker of pytest-xdist, for they share the gateway."""
    for item in items:
        if item.path.match("tests/gateway/*") or item.path.match("tests/contract/test_outlets.py"):
            item.add_marker(pytest.mark.xdist_group("gateway"))
