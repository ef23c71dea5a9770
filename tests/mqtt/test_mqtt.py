"""MQTT against a real broker: what is journalled arrives once, in order, whatever the broker does.

A simulated device counts; a client that is not ours listens.
"""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.sparkplug.payload import DataType, Metric, Payload, decode
from tests.brokers import Broker, Ear
from tests.gateway.running import RunningGateway, counting_gateway, counting_plant, eventually

PLANT = (
    counting_plant(
        "plant1",
        "gw-test",
        'name = "set", address = "40002", writable = true, maximum = 100',
        'name = "name", address = "40010", type = "STRING", size = 8',
    )
    + """\
[[mqtt]]
name = "blocks"
address = "{broker}"
timeout = "2s"
commands = true
[[mqtt]]
name = "tags"
address = "{broker}"
topic = "t/{{gateway}}/{{device}}/{{tag}}"
timeout = "2s"
[[mqtt]]
name = "edge"
address = "{broker}"
format = "sparkplug"
commands = true
group_id = "site"
timeout = "2s"
"""
)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as folder:
        broker = Broker(Path(folder)).start()
        yield broker
        broker.kill()


@pytest.fixture(scope="module")
def plant(broker: Broker) -> Iterator[RunningGateway]:
    with counting_gateway(PLANT.replace("{broker}", broker.address), broker.port) as gateway:
        yield gateway


@pytest.fixture
def ear(broker: Broker) -> Iterator[Ear]:
    ear = Ear(broker.address, "cpppod/#", "t/#", "spBv1.0/#")
    yield ear
    ear.close()


def blocks(messages: list[tuple[str, bytes, bool]]) -> list[dict[str, Any]]:
    return [
        json.loads(payload)
        for topic, payload, _ in messages
        if topic == "cpppod/plant1/boiler/fast"
    ]


def outlet(gateway: RunningGateway, name: str) -> dict[str, Any]:
    row: dict[str, Any] = gateway.workers()[f"mqtt-{name}"]["extra"]["outlet"]
    return row


def write_another(plant: RunningGateway) -> int:
    """Write a value that `set` does not have; which one."""
    value: int = (plant.value("boiler.set") or 0) % 10 + 1
    plant.ask("write", writes=[["boiler.set", value]])
    return value


def test_a_block_names_itself_and_its_values(plant: RunningGateway, ear: Ear) -> None:
    block = ear.wait(lambda seen: [b for b in blocks(seen) if "count" in b["tags"]])[0]
    assert (block["gateway"], block["publisher"], block["members"]) == (
        "gw-test",
        "poller-boiler",
        3,
    )
    assert block["tags"]["count"]["quality"] == "good" and block["source_us"] > 1e15


def test_the_last_value_of_a_tag_is_kept_by_the_broker(
    plant: RunningGateway, broker: Broker
) -> None:
    topics = {"t/plant1/boiler/set", "t/plant1/-/status"}
    first = Ear(broker.address, *topics)
    first.wait(lambda seen: {topic for topic, _, _ in seen} >= topics)
    written = write_another(plant)
    first.wait(lambda seen: any(json.loads(data).get("value") == written for _, data, _ in seen))
    first.close()
    late = Ear(broker.address, *topics)
    late.wait(lambda seen: {topic for topic, _, kept in seen if kept} >= topics)
    late.close()
    seen = {topic: json.loads(data) for topic, data, kept in late.messages if kept}
    value = seen["t/plant1/boiler/set"]
    assert (value["value"], value["quality"]) == (written, "good")
    assert value["source_us"] <= value["gateway_us"]
    assert seen["t/plant1/-/status"]["online"] is True


def test_a_broker_that_was_away_gets_all_that_it_missed_in_order(
    plant: RunningGateway, broker: Broker
) -> None:
    ear = Ear(broker.address, "cpppod/plant1/boiler/fast", name="durable")
    ear.wait(lambda seen: len(blocks(seen)) > 5)
    broker.kill(signal.SIGTERM)
    journal = plant.state / "journal" / "poller-boiler"
    size = sum(each.stat().st_size for each in journal.glob("*.journal"))
    eventually(lambda: sum(e.stat().st_size for e in journal.glob("*.journal")) > size + 3_000)
    known = len(ear.messages)
    broker.start()
    ear.wait(lambda seen: len(blocks(seen[known:])) > 60)
    sequences = [block["sequence"] for block in blocks(ear.messages)]
    once = sorted(set(sequences))
    assert once == list(range(once[0], once[-1] + 1))  # none is missing
    fresh = [
        number
        for number in sequences
        if number not in sequences[: len(blocks(ear.messages[:known]))]
    ]
    assert fresh == sorted(fresh)  # in order
    ear.close()


def test_what_all_readers_have_passed_is_deleted_and_positions_are_kept(
    plant: RunningGateway,
) -> None:
    names = ["mqtt-blocks.json", "mqtt-edge.json", "mqtt-tags.json"]
    readers = plant.state / "readers"
    eventually(lambda: sorted(path.name for path in readers.glob("*.json")) == names)
    eventually(lambda: outlet(plant, "blocks")["sent"] > 0)


def test_a_killed_worker_goes_on_where_it_was(plant: RunningGateway, ear: Ear) -> None:
    ear.wait(blocks)
    os.kill(plant.workers()["mqtt-blocks"]["pid"], signal.SIGKILL)
    ear.wait(
        lambda seen: any(
            t == "cpppod/plant1/-/status" and b'"online":false' in p for t, p, _ in seen
        )
    )
    known = len(ear.messages)
    ear.wait(lambda seen: len(blocks(seen[known:])) > 20)
    once = sorted({block["sequence"] for block in blocks(ear.messages)})
    assert once == list(range(once[0], once[-1] + 1))


def edge(messages: list[tuple[str, bytes, bool]], kind: str) -> list[Payload]:
    return [decode(data) for topic, data, _ in messages if f"/{kind}/" in topic]


def told(messages: list[tuple[str, bytes, bool]], since: str) -> list[tuple[str, Payload]]:
    """What the edge node has said from the last message of a kind on: kind and payload."""
    found = [
        (topic.split("/")[2], decode(data))
        for topic, data, _ in messages
        if topic.startswith("spBv1.0/") and "CMD" not in topic
    ]
    begins = [at for at, (kind, _) in enumerate(found) if kind == since]
    return found[begins[-1] :] if begins else []


def test_the_edge_node_is_born_again_when_a_host_asks(plant: RunningGateway, ear: Ear) -> None:
    written = write_another(plant)
    ear.wait(lambda seen: [m for p in edge(seen, "DDATA") for m in p.metrics if m.value == written])
    ask = Payload(1, [Metric("Node Control/Rebirth", DataType.BOOLEAN, True)])
    known = len(ear.messages)
    ear.say("spBv1.0/site/NCMD/plant1", ask.encode())
    ear.wait(lambda seen: len(told(seen[known:], "NBIRTH")) > 7)
    life = told(ear.messages[known:], "NBIRTH")
    assert [kind for kind, _ in life][:2] == ["NBIRTH", "DBIRTH"]
    assert [payload.seq for _, payload in life] == [at % 256 for at in range(len(life))]
    birth = life[1][1]
    assert [metric.name for metric in birth.metrics] == ["count", "set", "name"]
    assert birth.metrics[1].value == written and birth.metrics[1].datatype == DataType.INT32
    live = [each for kind, p in life[2:] if kind == "DDATA" for each in p.metrics]
    counts = [each.value for each in live if each.alias == birth.metrics[0].alias]
    assert counts == sorted(counts) and len(counts) > 2


def test_a_silent_device_dies_and_is_born_again(plant: RunningGateway, ear: Ear) -> None:
    ear.wait(lambda seen: edge(seen, "DDATA"))
    boiler = plant.simulators["boiler"]
    os.kill(boiler.process.pid, signal.SIGSTOP)
    try:
        ear.wait(lambda seen: edge(seen, "DDEATH"))
    finally:
        os.kill(boiler.process.pid, signal.SIGCONT)
    ear.wait(lambda seen: edge(seen, "DBIRTH"))


def test_the_death_of_the_node_has_the_number_of_its_birth(plant: RunningGateway, ear: Ear) -> None:
    ear.wait(lambda seen: edge(seen, "DDATA"))
    known = len(ear.messages)
    os.kill(plant.workers()["mqtt-edge"]["pid"], signal.SIGKILL)
    ear.wait(lambda seen: "NBIRTH" in dict(told(seen[known:], "NDEATH")))
    after = dict(told(ear.messages[known:], "NDEATH"))
    death, birth = after["NDEATH"], after["NBIRTH"]
    before = (death.metrics[0].value + 1) % 256
    assert birth.metrics[0].name == "bdSeq" and birth.metrics[0].value == before


def replies(messages: list[tuple[str, bytes, bool]]) -> list[dict[str, Any]]:
    return [json.loads(data) for topic, data, _ in messages if topic == "cpppod/plant1/-/reply"]


def command(ear: Ear, order: object, *, kept: bool = False) -> dict[str, Any]:
    known = len(replies(ear.messages))
    payload = order if isinstance(order, bytes) else json.dumps(order).encode()
    ear.say("cpppod/plant1/-/write", payload, retain=kept)
    answer: dict[str, Any] = ear.wait(lambda seen: replies(seen)[known:])[0]
    return answer


def values_of_set(messages: list[tuple[str, bytes, bool]]) -> set[int]:
    return {b["tags"]["set"]["value"] for b in blocks(messages) if "set" in b["tags"]}


def test_a_write_arrives_is_answered_and_is_done_once(plant: RunningGateway, ear: Ear) -> None:
    order = {"id": "w1", "tag": "boiler.set", "value": 42}
    answer = command(ear, order)
    assert (answer["id"], answer["outcome"], answer["writes"][0]["now"]["value"]) == (
        "w1",
        "done",
        42,
    )
    eventually(lambda: plant.value("boiler.set") == 42)
    plant.ask("write", writes=[["boiler.set", 43]])
    assert command(ear, order) == answer and plant.value("boiler.set") == 43
    ear.wait(lambda seen: values_of_set(seen) >= {42, 43})


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"id": "a", "tag": "boiler.set", "value": 101}, "above 100"),
        ({"id": "b", "tag": "boiler.count", "value": 1}, "writ"),
        ({"id": "c", "tag": "boiler.none", "value": 1}, "no such tag"),
        ({"id": "d", "tag": "boiler.set", "value": 5, "expires_us": 1}, "expire"),
        ({"id": "e", "tag": "boiler.set"}, "value"),
        ({"id": 5, "tag": "boiler.set", "value": 5}, "expected texts"),
        (b"\xff", "no command"),
        (b"[" * 60_000, "no command"),
        (b'{"id": "h", "tag": "boiler.set", "value": NaN}', "no whole number"),
        (b'{"id": "i", "tag": "boiler.set", "value": 1e400}', "no whole number"),
        ({"id": "j", "tag": "boiler.\ud800", "value": 1}, "cannot be passed on"),
        ([], "expected an object"),
        ({"id": "f", "tag": "boiler.set", "value": [[[[[[[[[1]]]]]]]]]}, "cannot be passed on"),
        ({"id": "g", "tag": "boiler.set", "value": 2**70}, "cannot be passed on"),
    ],
)
def test_a_write_that_may_not_be_is_answered_with_the_reason(
    plant: RunningGateway, ear: Ear, order: object, why: str
) -> None:
    answer = command(ear, order)
    assert answer["outcome"] == "failed" and why in answer["error"]


def test_whatever_comes_by_a_broker_is_refused_and_few_lines_of_it_logged(
    plant: RunningGateway, ear: Ear
) -> None:
    before = plant.workers()["mqtt-edge"]["pid"]
    known = len(plant.log.read_text().splitlines())
    refused = outlet(plant, "edge")["refused"]
    for data in [b"[" * 60_000, b"\xff\xfe", b"null", b"{}"] * 20:
        for topic in ("NCMD/plant1", "DCMD/plant1/boiler"):
            ear.say(f"spBv1.0/site/{topic}", data)
    eventually(lambda: outlet(plant, "edge")["refused"] >= refused + 80)
    assert plant.workers()["mqtt-edge"]["pid"] == before
    assert len(plant.log.read_text().splitlines()) - known < 40


def test_a_host_writes_a_metric_and_sees_it(plant: RunningGateway, ear: Ear) -> None:
    order = Payload(0, [Metric("set", DataType.INT32, 77)])
    ear.say("spBv1.0/site/DCMD/plant1/boiler", order.encode())
    ear.wait(lambda seen: [m for p in edge(seen, "DDATA") for m in p.metrics if m.value == 77])
    eventually(lambda: plant.value("boiler.set") == 77)


def test_a_broker_that_refuses_is_told_in_words(plant: RunningGateway, tmp_path: Path) -> None:
    strict = Broker(tmp_path, "allow_anonymous false\n").start()
    text = plant.configuration.read_text()
    try:
        more = f'\n[[mqtt]]\nname = "strict"\naddress = "{strict.address}"\n'
        plant.configuration.write_text(text + more)
        plant.ask("reload")
        rows = eventually(
            lambda: [
                row["error"]
                for row in plant.ask("outlets")["outlets"]
                if row["name"] == "mqtt-strict" and "authori" in row["error"].lower()
            ]
        )
        assert not rows[0].startswith("[")
    finally:
        plant.configuration.write_text(text)
        plant.ask("reload")
        strict.kill()
