"""Workers that are killed, hang, or wait: who comes back, when, and that nobody else notices."""

import contextlib
import os
import signal
import time
import urllib.request
from typing import Any

import pytest

from cpppod.control_client import ControlError
from tests.gateway.feed_watch import FeedWatch
from tests.gateway.running import RunningGateway, eventually, is_alive, kill
from tests.patience import PATIENCE_S

ROLES = ("listener", "router", "poller", "serial", "feed", "historian", "control")
OTHERS_MISS = 1  # slots that a poll of another worker may miss meanwhile, on a quiet machine


def pick(gateway: RunningGateway, role: str) -> dict[str, Any]:
    """The first worker of that role."""
    return next(worker for worker in gateway.workers().values() if worker["role"] == role)


def quietly(gateway: RunningGateway, verb: str) -> Any:
    """The answer to `verb`; None while control itself is away."""
    with contextlib.suppress(ControlError):
        return gateway.ask(verb)
    return None


def is_back(gateway: RunningGateway, name: str, pid: int) -> float:
    """When the worker runs as another process: its age then, which says when that began."""
    status = quietly(gateway, "status")
    workers = {worker["name"]: worker for worker in status["workers"]} if status else {}
    row = workers.get(name)
    return time.monotonic() if row and row["state"] == "running" and row["pid"] != pid else 0.0


def overruns(gateway: RunningGateway, owned_by: str) -> dict[str, int]:
    """Missed slots by group, of the devices of all other workers."""
    return {
        f"{device['name']}/{group}": told["overruns"]
        for device in gateway.ask("devices")["devices"]
        if device["worker"] != owned_by
        for group, told in gateway.told(device["name"])["groups"].items()
    }


def kill_and_wait(gateway: RunningGateway, role: str) -> float:
    """Seconds from the kill of a worker of that role until it runs again; the others stay."""
    worker = pick(gateway, role)
    eventually(lambda: pick(gateway, role)["up_s"] > 1.5)  # younger ones count as crash-looping
    others = {row["name"]: row["pid"] for row in gateway.workers().values()}
    began = time.monotonic()
    kill(worker["pid"])
    back = eventually(lambda: is_back(gateway, worker["name"], worker["pid"]))
    gateway.wait_until_well()
    now = {row["name"]: row["pid"] for row in gateway.workers().values()}
    assert {name for name in now if now[name] != others[name]} == {worker["name"]}
    return back - began


def kill_and_count(gateway: RunningGateway, role: str) -> float:
    """As `kill_and_wait`; polls of the others keep their time."""
    name = pick(gateway, role)["name"]
    missed = overruns(gateway, name)
    took = kill_and_wait(gateway, role)
    for group, count in overruns(gateway, name).items():
        assert count - missed[group] <= OTHERS_MISS, group
    return took


def polls(gateway: RunningGateway, device: str) -> int:
    """Good polls of all groups of a device since its worker began."""
    return sum(group["cycles_good"] for group in gateway.told(device)["groups"].values())


def polls_of_others(gateway: RunningGateway, owned_by: str) -> dict[str, int]:
    """Good polls by device, of the devices of all other workers."""
    return {
        row["name"]: polls(gateway, row["name"])
        for row in gateway.ask("devices")["devices"]
        if row["worker"] != owned_by
    }


@pytest.mark.parametrize("role", ROLES)
def test_killed_worker_comes_back_and_the_others_do_not_notice(
    gateway: RunningGateway, role: str
) -> None:
    polled = polls_of_others(gateway, pick(gateway, role)["name"])
    kill_and_wait(gateway, role)
    eventually(lambda: all(polls(gateway, device) > polled[device] for device in polled))


@pytest.mark.campaign
@pytest.mark.parametrize("role", ROLES)
def test_killed_worker_is_back_within_a_second_thirty_times(
    gateway: RunningGateway, role: str, record_property: Any
) -> None:
    took = sorted(kill_and_count(gateway, role) for _ in range(30))
    record_property("seconds", took)
    print(f"{role}: median {took[15]:.2f} s, p97 {took[28]:.2f} s, longest {took[29]:.2f} s")
    assert took[28] < 1.0


def test_loss_by_a_killed_poller_is_declared_and_nobody_else_has_one(
    gateway: RunningGateway,
) -> None:
    """A new epoch of that publisher, and of no other: what the old one did not send is gone.

    Control, where a test killed it before, may tell its heads of the audit anew meanwhile.
    """
    worker = pick(gateway, "poller")
    polling = {row["worker"] for row in gateway.devices().values()}
    device = next(
        row["name"] for row in gateway.devices().values() if row["worker"] == worker["name"]
    )
    with FeedWatch(gateway) as feed:
        kill_and_wait(gateway, "poller")
        seen = dict(feed.blocks)
        eventually(lambda: feed.blocks[f"{device}/fast/"] > seen.get(f"{device}/fast/", 0) + 2)
        anew = {name for name, epochs in feed.epochs.items() if len(epochs) > 1}
        assert anew & polling == {worker["name"]}
        assert {each.publisher for each in feed.lost} <= {worker["name"]}
        assert gateway.value(f"{device}.cycles") is not None


def test_killed_feed_costs_no_subscriber_a_block_that_is_not_declared(
    gateway: RunningGateway,
) -> None:
    with FeedWatch(gateway) as feed:
        kill_and_wait(gateway, "feed")
        polled = tuple(f"{device}/" for device in gateway.devices())
        seen = {name: count for name, count in feed.blocks.items() if name.startswith(polled)}
        eventually(lambda: all(feed.blocks[name] > seen[name] for name in seen))


def stop_and_wait(gateway: RunningGateway, role: str) -> float:
    """Seconds from stopping a worker of that role until another process of it runs."""
    worker = pick(gateway, role)
    began = time.monotonic()
    kill(worker["pid"], signal.SIGSTOP)
    if role == "control":  # its socket takes the connection, and nobody answers
        eventually(lambda: not is_alive(worker["pid"]))
    back = eventually(lambda: is_back(gateway, worker["name"], worker["pid"]))
    gateway.wait_until_well()
    return back - began


def test_stopped_worker_is_killed_and_replaced(
    gateway: RunningGateway,
) -> None:
    before = watchdog_kills(gateway, "poller")
    stop_and_wait(gateway, "poller")
    assert watchdog_kills(gateway, "poller") == before + 1


def test_stopped_control_is_killed_by_supervisord_itself(gateway: RunningGateway) -> None:
    stop_and_wait(gateway, "control")


@pytest.mark.campaign
@pytest.mark.parametrize("role", ROLES)
def test_stopped_worker_of_each_kind_is_replaced_within_eight_seconds(
    gateway: RunningGateway, role: str
) -> None:
    took = [stop_and_wait(gateway, role) for _ in range(3)]
    print(f"{role}: " + ", ".join(f"{each:.2f} s" for each in took))
    assert max(took) < (9.0 if role == "control" else 8.0)


def watchdog_kills(gateway: RunningGateway, role: str) -> float:
    """Workers of that role that the watchdog has killed, by the metrics page."""
    host, port = gateway.address(9880)
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
    labels = f'reason="watchdog",role="{role}"'
    lines = [line for line in text.splitlines() if labels in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_worker_that_waits_for_a_slow_device_is_not_killed(gateway: RunningGateway) -> None:
    worker = gateway.workers()["poller-mixer"]
    simulator = gateway.simulators["mixer"]
    os.kill(simulator.process.pid, signal.SIGSTOP)  # it accepts, and never answers
    try:
        eventually(lambda: gateway.devices()["mixer"]["state"] != "online")
        longer = gateway.workers()["poller-mixer"]["up_s"] + 6.0  # than the watchdog's 5 s
        eventually(lambda: gateway.workers()["poller-mixer"]["up_s"] > longer)
    finally:
        os.kill(simulator.process.pid, signal.SIGCONT)
    gateway.wait_until_well()
    assert gateway.workers()["poller-mixer"]["pid"] == worker["pid"]
    assert gateway.workers()["poller-mixer"]["restarts"] == worker["restarts"]


def test_one_silent_unit_does_not_stop_the_others_on_its_line(gateway: RunningGateway) -> None:
    hall = gateway.simulators["hall"]
    assert hall.tell("fault silent,unit=2")["ok"]
    try:
        eventually(lambda: gateway.devices()["meter_2"]["state"] == "demoted")
        before = {name: polls(gateway, name) for name in ("meter_1", "meter_3")}
        eventually(lambda: all(polls(gateway, name) > before[name] + 5 for name in before))
        verdict = gateway.ask("device", name="meter_2")
        assert verdict["last_error"]
        assert verdict["told"]["next_probe_s"] is not None or verdict["told"]["failures"]
    finally:
        hall.tell("clear")
    gateway.wait_until_well()


@pytest.mark.parametrize("name", ["poller-mixer", "control"])
def test_operator_restarts_one_worker(gateway: RunningGateway, name: str) -> None:
    before = {row["name"]: row["pid"] for row in gateway.workers().values()}
    assert gateway.ask("restart", worker=name)["done"] == "restart"
    eventually(lambda: is_back(gateway, name, before[name]))
    gateway.wait_until_well()
    now = {row["name"]: row["pid"] for row in gateway.workers().values()}
    assert {each for each in now if now[each] != before[each]} == {name}


@pytest.mark.campaign
def test_one_silent_unit_costs_the_others_less_than_five_percent_of_their_rate(
    gateway: RunningGateway,
) -> None:
    hall = gateway.simulators["hall"]
    undisturbed = polls_in(gateway, ("meter_1", "meter_3"), 40.0)
    assert hall.tell("fault silent,unit=2")["ok"]
    try:
        disturbed = polls_in(gateway, ("meter_1", "meter_3"), 40.0)
    finally:
        hall.tell("clear")
    print(f"polls a second, all well: {undisturbed:.3f}; with a silent unit: {disturbed:.3f}")
    assert disturbed >= 0.95 * undisturbed
    gateway.wait_until_well()


def polls_in(gateway: RunningGateway, devices: tuple[str, ...], seconds: float) -> float:
    """Good polls a second of these devices together."""

    def count() -> int:
        return sum(polls(gateway, name) for name in devices)

    first, began = count(), time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, within_s=2 * seconds)
    return (count() - first) / (time.monotonic() - began)
