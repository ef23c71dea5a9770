"""Reloads of the running gateway: what changes changes, and nobody else notices."""

from collections.abc import Iterator

import pytest
from pycomm3 import LogixDriver

from cpppod.control_client import ControlError
from tests.gateway.feed_watch import FeedWatch
from tests.gateway.running import RunningGateway, eventually

EXTRA = """
[device.mixer_2]
driver = "modbus-tcp"
address = "127.0.0.1:15021"
unit = 2

[[device.mixer_2.group]]
name = "fast"
period = "200ms"
tags = [{ name = "turns", address = 40001, type = "UINT" }]
"""
SLOWER = ('name = "speed_set", address = 40010', 'name = "speed_wanted", address = 40010')


@pytest.fixture
def changeable(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """The gateway, whose configuration is afterwards what it was."""
    before = gateway.configuration.read_text()
    yield gateway
    if gateway.configuration.read_text() != before:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
    gateway.wait_until_well()


def owner_of(gateway: RunningGateway, device: str) -> int:
    """The pid of the device's worker."""
    pid: int = gateway.workers()[gateway.devices()[device]["worker"]]["pid"]
    return pid


def test_another_id_needs_a_restart_and_the_same_one_does_not(changeable: RunningGateway) -> None:
    gateway = changeable
    name, text = gateway.ask("gateway")["id"], gateway.configuration.read_text()
    assert "[gateway]" in text
    gateway.configuration.write_text(text.replace("[gateway]", '[gateway]\nid = "other"', 1))
    with pytest.raises(ControlError, match="other: another one needs a restart"):
        gateway.ask("reload")
    gateway.configuration.write_text(text.replace("[gateway]", f'[gateway]\nid = "{name}"', 1))
    assert gateway.ask("reload")["applied"]
    assert gateway.ask("status")["gateway"] == name


def test_device_is_added_and_one_is_changed_without_a_gap_for_the_others(
    changeable: RunningGateway,
) -> None:
    gateway = changeable
    others = ("boiler", "meter_1", "meter_2", "meter_3", "press")
    before = {name: owner_of(gateway, name) for name in others}
    changed = gateway.configuration.read_text().replace(*SLOWER) + gateway.here(EXTRA)
    with FeedWatch(gateway) as feed:
        gateway.configuration.write_text(changed)
        dry = gateway.ask("reload", dry_run=True)
        assert not dry["applied"]
        assert dry["plan"]["devices"] == {
            "added": ["mixer_2"],
            "changed": ["mixer"],
            "removed": [],
        }
        assert gateway.ask("reload")["applied"]
        gateway.wait_until_well()
        assert eventually(lambda: feed.blocks.get("mixer_2/fast/"))
        assert gateway.value("mixer.speed_wanted") is not None
        assert (feed.lost, feed.replayed) == ([], 0)
    assert {name: owner_of(gateway, name) for name in others} == before
    generations = {worker["generation"] for worker in gateway.workers().values()}
    assert generations == {gateway.ask("status")["generation"]}


def test_removed_device_is_gone_and_its_worker_with_it(changeable: RunningGateway) -> None:
    gateway = changeable
    text = gateway.configuration.read_text()
    begin, end = text.index("[device.press]"), text.index("[feed]")
    without = text[:begin] + text[end:]
    route = without.index("[[route]]")
    gateway.configuration.write_text(without[:route] + without[without.index("[device.boiler]") :])
    plan = gateway.ask("reload")["plan"]
    assert plan["devices"]["removed"] == ["press"]
    assert plan["workers"]["removed"] == ["poller-press"]
    assert "poller-press" not in gateway.workers()
    assert gateway.ask("routes")["routes"] == []
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}") as plc:
        assert plc.read("shift").error is None
        assert "press" not in plc.tags


def test_mistake_anywhere_and_nothing_has_happened(changeable: RunningGateway) -> None:
    gateway = changeable
    generation = gateway.ask("status")["generation"]
    text = gateway.configuration.read_text()
    gateway.configuration.write_text(text + gateway.here(EXTRA).replace("200ms", "never"))
    with pytest.raises(ControlError, match="mixer_2"):
        gateway.ask("reload")
    assert gateway.ask("status")["generation"] == generation
    assert "mixer_2" not in gateway.devices()


def test_client_stays_connected_over_a_reload_that_puts_a_tag_before_all_others(
    changeable: RunningGateway,
) -> None:
    gateway = changeable
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}") as plc:
        plc._cfg["use_instance_ids"] = True  # as it does with controllers of firmware 21 and later
        gateway.ask("write", writes=[["shift", 41], ["setpoints[0]", 1.5]])
        assert plc.read("shift").value == 41
        text = gateway.configuration.read_text()
        first = '[[tag]]\nname = "aaa"\ntype = "DINT"\nvalue = 99\n\n'
        gateway.configuration.write_text(text.replace("[[tag]]", f"{first}[[tag]]", 1))
        gateway.ask("reload")
        for _ in range(20):
            found = plc.read("shift", "setpoints[0]", "boiler.limit")
            assert [each.error for each in found] == [None, None, None]
            assert [each.value for each in found[:2]] == [41, 1.5]
        assert plc.read("boiler").error is None
    with LogixDriver(f"{host}:{port}") as plc:
        assert plc.read("aaa").value == 99
