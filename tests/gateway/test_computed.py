"""Computed tags of a running gateway: tags like others everywhere, and over a restart."""

from collections.abc import Iterator

import pytest
from pycomm3 import LogixDriver

from tests.gateway.running import RunningGateway, eventually, kill

COMPUTED = """
[[computed]]
name = "double"
expression = "boiler.pressure * 2"
unit = "bar"
history = true
flat_name = "pressure_double"

[[computed]]
name = "since"
expression = "integral(1 + 0 * boiler.pressure)"

[[computed]]
name = "broken"
expression = "double / (shift - shift)"
"""


@pytest.fixture
def computing(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """The gateway with these tags, and without them afterwards."""
    before = gateway.configuration.read_text()
    gateway.configuration.write_text(before + COMPUTED)
    gateway.ask("reload")
    eventually(lambda: gateway.value("computed.double"))
    yield gateway
    gateway.configuration.write_text(before)
    gateway.ask("reload")
    gateway.wait_until_well()


def test_a_computed_tag_is_a_tag_to_clients_operators_history_and_metrics(
    computing: RunningGateway,
) -> None:
    gateway = computing
    with LogixDriver("{}:{}".format(*gateway.address(44818))) as plc:
        assert plc.read("computed.double").value > 0
        assert plc.read("pressure_double").type == "LREAL"
    (reading,) = gateway.ask("read", tags=["computed.double"])["values"]
    assert (reading["good"], reading["unit"], reading["type"]) == (True, "bar", "LREAL")
    assert gateway.devices()["computed"]["worker"] == "computed"
    assert eventually(lambda: gateway.stored("computed.double"))


def test_the_input_to_blame_is_named(computing: RunningGateway) -> None:
    (reading,) = eventually(
        lambda: [
            each
            for each in computing.ask("read", tags=["computed.broken"])["values"]
            if "shift" in each["reason"]
        ],
        say=lambda: computing.ask("read", tags=["computed.broken"]),
    )
    assert reading["reason"] == "infinite: shift"
    assert reading["value"] is None


def test_what_is_remembered_survives_the_death_of_its_worker(computing: RunningGateway) -> None:
    gateway = computing
    kept = gateway.state / "computed" / "computed.json"
    before = eventually(lambda: gateway.value("computed.since") or 0)
    eventually(lambda: kept.exists() and gateway.value("computed.since") > before + 1.5)
    worth = gateway.value("computed.since")
    pid = gateway.workers()["computed"]["pid"]
    kill(pid)
    eventually(lambda: gateway.workers()["computed"]["pid"] not in (pid, 0, None))
    assert eventually(lambda: gateway.value("computed.since")) > worth - 1.5
