"""`[[mqtt]]` in the configuration: what is journalled for it, and what is refused by its key."""

import json
from pathlib import Path
from typing import Any

import pytest

from cpppod import configuration
from cpppod.gateway.topology import Directories, workers
from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.batch import Batch, Reading
from cpppod.workers.mqtt.plain import PlainForm

PLANT = """\
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:1502"
[[device.boiler.group]]
name = "fast"
period = "1s"
history = {history}
tags = [{{ name = "level", address = "40001" }}, {{ name = "low", address = "40002" }}]
[[device.boiler.group]]
name = "slow"
period = "1s"
tags = [{{ name = "level_2", address = "40003" }}]
"""


def load(tmp_path: Path, *sections: str, history: str = "false") -> dict[str, Worker]:
    path = tmp_path / "plant.toml"
    path.write_text(PLANT.format(history=history) + "".join(sections))
    plant = configuration.load([path], old_files=[]).plant
    directories = Directories(tmp_path / "run", tmp_path / "state")
    return {worker.name: worker for worker in workers(plant, 1, directories)}


def section(name: str = "one", **keys: Any) -> str:
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return f'\n[[mqtt]]\nname = "{name}"\naddress = "broker:1883"\n' + "\n".join(lines) + "\n"


def test_its_groups_are_journalled_for_it_without_history(tmp_path: Path) -> None:
    found = load(tmp_path, section(groups='["boiler/fast"]'))
    poller = found["poller-boiler"].options
    assert poller["journalled"] == ["boiler/fast"] and poller["journal_bytes"] > 1_000_000
    assert found["mqtt-one"].options["groups"] == ["boiler/fast"]
    assert "historian" not in found


def test_the_historian_leaves_out_what_is_journalled_for_others(tmp_path: Path) -> None:
    found = load(tmp_path, section(), section("two"), history="true")
    historian = found["historian"].options
    assert historian["unstored"] == ["boiler/slow"]
    assert sorted(historian["readers"]) == ["historian", "mqtt-one", "mqtt-two"]
    assert found["mqtt-two"].options["readers"] == historian["readers"]


def test_without_outlets_nothing_is_told_of_readers(tmp_path: Path) -> None:
    found = load(tmp_path, history="true")
    assert not {"readers", "unstored"} & found["historian"].options.keys()
    assert "journalled" not in found["poller-boiler"].options


def test_one_that_is_not_enabled_runs_nothing(tmp_path: Path) -> None:
    assert "mqtt-one" not in load(tmp_path, section(enabled="false"))


@pytest.mark.parametrize(
    ("keys", "key", "expected"),
    [
        ({"groups": '["boiler/none"]'}, "groups", "matches a group"),
        ({"topic": '"a/{plant}"'}, "topic", "{gateway}"),
        ({"topic": '"a/#"'}, "topic", "without +"),
        ({"topic": '"a//{group}"'}, "topic", "empty levels"),
        ({"topic": '"$SYS/{group}"'}, "topic", "in front"),
        ({"topic": '"a/{gateway}/{device}"'}, "topic", "boiler/fast and boiler/slow"),
        ({"ca_file": '"/x"'}, "ca_file", "tls = true"),
        ({"tls": "true", "cert_file": '"/x"'}, "key_file", "both"),
        ({"expiry": '"1h"', "protocol": '"3.1.1"'}, "expiry", 'protocol = "5"'),
        ({"format": '"sparkplug"', "group_id": '"a/b"'}, "group_id", "without"),
        ({"standby": '["nowhere"]'}, "standby", "host:port"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(
    tmp_path: Path, keys: dict[str, str], key: str, expected: str
) -> None:
    with pytest.raises(configuration.ConfigurationError) as refused:
        load(tmp_path, section(**keys))
    (problem,) = refused.value.problems
    assert problem.path[:3] == ("mqtt", 0, key) and expected in problem.expected


def test_the_input_that_a_computed_tag_suffers_from_is_named() -> None:
    worth = 18 | 2 << 16  # a time-out of the second input
    reading = Reading("computed", 1, 1, "c", "g", 1, 2, 3, 1, ["sum"], [None], worth)
    form = PlainForm(
        {"topic": "t/{device}/{tag}", "retain": None},
        "plant1",
        "gw",
        {("c", "sum"): ["boiler.a", "pump.b"]},
    )
    (message,) = form.messages(Batch([reading]))
    assert json.loads(message.payload)["quality"].endswith(": pump.b")


def test_computed_tags_are_journalled_for_it_within_the_same_limits(tmp_path: Path) -> None:
    computed = '\n[[computed]]\nname = "total"\nexpression = "boiler.level + 1"\n'
    found = load(tmp_path, computed, section(), history="true")
    (journalled,) = found["computed"].options["journalled"]
    assert journalled in found["mqtt-one"].options["groups"]
    assert (
        found["computed"].options["journal_bytes"]
        == found["poller-boiler"].options["journal_bytes"]
    )


@pytest.mark.parametrize("topic", ["t/{device}", "t/{device}/{tag}"])
def test_what_a_broker_does_not_take_at_once_comes_in_parts_and_nothing_is_left_out(
    topic: str,
) -> None:
    values: list[object] = [f"value {at} " + "x" * 60 for at in range(20)]
    values[7] = "y" * 1_000
    tags = [f"t{at}" for at in range(20)]
    reading = Reading("poller-boiler", 1, 8, "boiler", "g", 1, 2, 3, 20, tags, values, 0)
    form = PlainForm({"topic": topic, "retain": None}, "plant1", "gw")
    form.largest = 600
    messages = list(form.messages(Batch([reading])))
    assert all(len(each.topic) + len(each.payload) < 600 for each in messages)
    told = [json.loads(each.payload) for each in messages]
    if "{tag}" in topic:
        found = {m.topic.rpartition("/")[2]: t for m, t in zip(messages, told, strict=True)}
    else:
        assert [each["part"] for each in told] == list(range(1, len(told) + 1))
        assert {each["parts"] for each in told} == {len(told)}
        assert {(each["sequence"], each["members"]) for each in told} == {(8, 20)}
        found = {tag: value for each in told for tag, value in each["tags"].items()}
    assert list(found) == tags
    assert found["t7"]["value"] is None and "larger" in found["t7"]["quality"]
    values[7] = None
    assert [each["value"] for each in found.values()] == values
