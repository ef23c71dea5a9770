"""Who wrote what through the whole gateway, by CIP and by the control socket; workers killed."""

import subprocess
import sys
from typing import Any

from cpppod.feed import subscribe
from tests.gateway.running import RunningGateway, eventually, kill
from tests.patience import PATIENCE_S


def client(gateway: RunningGateway, *arguments: str) -> None:
    host, port = gateway.address(44818)
    command = [sys.executable, "-m", "cpppod.commands.enip_client", "-a", f"{host}:{port}"]
    subprocess.run([*command, *arguments], capture_output=True, timeout=PATIENCE_S, check=False)


def newest(gateway: RunningGateway, new: float, **question: Any) -> dict[str, Any]:
    """The record of that new value, once it is the newest that answers the question."""

    def found() -> dict[str, Any] | None:
        records: list[dict[str, Any]] = gateway.ask("audit", limit=1, **question)["records"]
        return records[0] if records and records[0]["new"] == [new] else None

    return eventually(found) or {}


def last_told(gateway: RunningGateway, worker: str, number: int) -> str:
    """The hash of the worker's record `number`, as the feed tells it."""
    host, port = gateway.address(44880)
    requests = "tcp://{}:{}".format(*gateway.address(44881))
    url = f"tcp://{host}:{port}"
    for update in subscribe(url, "cpppod/audit", requests=requests, timeout_s=PATIENCE_S):
        told = {name: sample.value for name, sample in update.values.items()}
        if told.get(f"{worker}_record") == number:
            return str(told[f"{worker}_hash"])
    raise AssertionError("the feed has ended")


def test_every_way_to_write_leaves_a_record(gateway: RunningGateway) -> None:
    client(gateway, "setpoints[2]=(REAL)4.5")
    local = newest(gateway, 4.5, tag="setpoints", way="cip")
    assert (local["first"], local["outcome"]) == (2, "done")
    assert local["address"] == "127.0.0.1"
    assert local["session"].startswith("0x")

    client(gateway, "boiler.limit=(REAL)6.5")
    device = newest(gateway, 6.5, tag="boiler.limit", way="cip")
    assert device["outcome"] == "done"

    client(gateway, "boiler.limit=(REAL)99")
    beyond = newest(gateway, 99.0, tag="boiler.limit", way="cip", outcome="failed")
    assert (beyond["old"], beyond["status"]) == ([6.5], 0x09)
    assert "above 12" in beyond["why"]

    client(gateway, "kettle=(INT)1")
    assert newest(gateway, 1, tag="kettle")["status"] == 0x05

    client(gateway, "--route-path", "1/1", "Recipe[4]=(INT)44")
    routed = newest(gateway, 44, tag="1/1/Recipe", way="cip")
    assert (routed["first"], routed["outcome"]) == (4, "done")
    assert routed["session"].startswith("0x")

    gateway.ask("write", writes=[["boiler.limit", 7.25]])
    operator = newest(gateway, 7.25, tag="boiler.limit", way="control")
    told = last_told(gateway, "control", operator["n"])
    assert gateway.ask("audit", verify=True, newest={"control": [operator["n"], told]})["ok"]
    later = {"control": [operator["n"] + 1, told]}
    assert not gateway.ask("audit", verify=True, newest=later)["ok"]


def test_audit_of_killed_workers_goes_on_and_verifies(gateway: RunningGateway) -> None:
    before = {name: worker["pid"] for name, worker in gateway.workers().items()}
    listener = next(name for name in before if name.startswith("listener-"))

    def began_anew() -> bool:
        if gateway.unwell():
            return False
        now = gateway.workers()
        return all(now[name]["pid"] != before[name] for name in ("control", listener))

    for number in range(3):
        client(gateway, f"setpoints[0]=(REAL){number}")
        gateway.ask("write", writes=[["setpoints[1]", number]])
    kill(before[listener])
    kill(before["control"])
    eventually(began_anew)
    gateway.ask("write", writes=[["setpoints[1]", 9.0]])
    answer = gateway.ask("audit", verify=True)
    assert answer["ok"], answer
    counts = {each["writer"]: each["records"] for each in answer["writers"]}
    assert counts[listener] >= 3
    assert counts["control"] >= 4
