"""An edge node's session: births, numbers, deaths and commands as the specification has them."""

from collections.abc import Iterable

import pytest

from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.sparkplug import topics
from cpppod.protocols.sparkplug.edge import (
    REBIRTH,
    Definition,
    EdgeNode,
    Message,
    PrimaryHost,
    Rebirth,
    Refused,
    Sample,
    WriteCommand,
)
from cpppod.protocols.sparkplug.payload import DataType, Metric, Payload, decode
from cpppod.protocols.sparkplug.topics import Address

PLANT = {
    "boiler": [Definition("level", DataType.INT32), Definition("name", DataType.STRING)],
    "pump": [Definition("level", DataType.FLOAT)],
}


def node(bd_seq: int = 3) -> EdgeNode:
    return EdgeNode(Address("site", "gw"), PLANT, bd_seq)


def born(edge: EdgeNode) -> list[Message]:
    level = Sample("level", 7, 192, 900)
    return [
        edge.birth(1000),
        edge.device_birth("boiler", [level], 1000),
        edge.device_birth("pump", [], 1000),
    ]


def numbers(messages: Iterable[Message | None]) -> list[int | None]:
    return [decode(message.payload).seq for message in messages if message is not None]


def test_the_will_and_the_birth_have_one_number_and_the_will_has_no_other() -> None:
    edge = node(259)
    will, birth = edge.will(1), edge.birth(2)
    assert (will.topic, will.qos) == ("spBv1.0/site/NDEATH/gw", 1)
    dead, alive = decode(will.payload), decode(birth.payload)
    assert dead.seq is None and [each.name for each in dead.metrics] == ["bdSeq"]
    assert dead.metrics[0].value == alive.metrics[0].value == 3
    assert dead.metrics[0].datatype == DataType.INT64


def test_the_nodes_birth_is_number_0_and_offers_to_be_asked_again() -> None:
    birth = node().birth(1000)
    payload = decode(birth.payload)
    assert (birth.topic, birth.qos, payload.seq) == ("spBv1.0/site/NBIRTH/gw", 0, 0)
    rebirth = next(each for each in payload.metrics if each.name == REBIRTH)
    assert (rebirth.datatype, rebirth.value, rebirth.alias) == (DataType.BOOLEAN, False, None)


def test_a_devices_birth_names_every_metric_known_or_null() -> None:
    message = born(node())[1]
    level, name = decode(message.payload).metrics
    assert message.topic == "spBv1.0/site/DBIRTH/gw/boiler"
    assert (level.name, level.alias, level.value, level.timestamp_ms) == ("level", 1, 7, 900)
    assert (name.name, name.alias, name.value, name.datatype) == ("name", 2, None, DataType.STRING)
    assert (level.properties, name.properties) == ({"Quality": 192}, {"Quality": 0})


def test_aliases_are_the_nodes_own() -> None:
    births = born(node())[1:]
    aliases = [each.alias for birth in births for each in decode(birth.payload).metrics]
    assert len(set(aliases)) == len(aliases) == 3


def test_data_has_the_alias_and_the_type_and_no_name() -> None:
    edge = node()
    born(edge)
    samples = [Sample("level", 8, 192, 1100), Sample("gone", 1, 192, 0)]
    (message,) = edge.data("boiler", samples, 1200)
    payload = decode(message.payload)
    assert message.topic == "spBv1.0/site/DDATA/gw/boiler"
    assert payload.metrics == [Metric("", DataType.INT32, 8, 1100, alias=1)]


def test_a_quality_is_told_when_it_changes() -> None:
    edge = node()
    born(edge)
    told = []
    for value, quality in ((None, 0), (None, 0), (5, 192), (6, 192)):
        (message,) = edge.data("boiler", [Sample("level", value, quality, 1)], 1)
        told.append(decode(message.payload).metrics[0].properties)
    assert told == [{"Quality": 0}, {}, {"Quality": 192}, {}]


def test_a_historical_value_says_so_and_does_not_count_as_the_newest() -> None:
    edge = node()
    born(edge)
    (bad,) = edge.data("boiler", [Sample("level", None, 0, 1)], 1, historical=True)
    (good,) = edge.data("boiler", [Sample("level", 3, 192, 2)], 1)
    (metric,) = decode(bad.payload).metrics
    assert (metric.historical, metric.value, metric.properties) == (True, None, {"Quality": 0})
    assert decode(good.payload).metrics[0].properties == {}


def test_what_the_server_does_not_take_at_once_is_in_several_messages() -> None:
    names = [f"t{at}" for at in range(9)]
    edge = EdgeNode(
        Address("site", "gw"), {"boiler": [Definition(name, DataType.STRING) for name in names]}, 0
    )
    edge.birth(1)
    edge.device_birth("boiler", [], 1)
    edge.room = 120
    samples = [Sample(name, "x" * 20, 192, 1) for name in names]
    messages = edge.data("boiler", [*samples[:4], Sample("t4", "y" * 500, 192, 1), *samples[5:]], 1)
    assert len(messages) > 3 and all(len(each.payload) <= edge.room for each in messages)
    payloads = [decode(each.payload) for each in messages]
    assert [each.seq for each in payloads] == list(range(2, 2 + len(messages)))
    told = {m.alias: (m.value, m.properties.get("Quality")) for p in payloads for m in p.metrics}
    assert told == {at + 1: ("x" * 20, 192) for at in range(9)} | {5: (None, 0)}
    assert edge.longest_topic() == "spBv1.0/site/DBIRTH/gw/boiler"


def test_numbers_go_over_all_messages_without_a_hole_and_around() -> None:
    edge = node()
    sent: list[Message | None] = [*born(edge)]
    sent += [edge.data("pump", [Sample("level", 1.0, 192, 1)], 1)[0] for _ in range(252)]
    sent += [edge.device_death("boiler", 1), edge.device_birth("boiler", [], 1)]
    assert numbers(sent) == [*range(256), 0]
    assert numbers(born(edge)) == [0, 1, 2]


def test_a_device_that_is_not_born_says_nothing_and_dies_once() -> None:
    edge = node()
    sample = [Sample("level", 1, 192, 1)]
    assert edge.data("boiler", sample, 1) == [] and edge.device_death("boiler", 1) is None
    born(edge)
    death = edge.device_death("boiler", 5)
    assert death is not None and death.topic == "spBv1.0/site/DDEATH/gw/boiler"
    assert edge.device_death("boiler", 5) is None and not edge.is_born("boiler")
    assert edge.data("boiler", sample, 1) == [] and edge.is_born("pump")
    assert edge.data("unknown", sample, 1) == [] and not edge.is_born("unknown")
    assert edge.data("pump", [Sample("other", 1, 192, 1)], 1) == []


def ask(edge: EdgeNode, topic: str, *metrics: Metric) -> list[Rebirth | WriteCommand | Refused]:
    return edge.command(topic, Payload(77, metrics).encode())


def test_commands_are_rebirths_and_writes_by_name_or_alias() -> None:
    edge = node()
    assert edge.subscriptions() == ["spBv1.0/site/NCMD/gw", "spBv1.0/site/DCMD/gw/+"]
    rebirth = Metric(REBIRTH, DataType.BOOLEAN, True)
    assert ask(edge, "spBv1.0/site/NCMD/gw", rebirth) == [Rebirth()]
    by_name = Metric("level", DataType.INT32, 5, 70)
    by_alias = Metric("", DataType.INT32, 6, alias=1)
    assert ask(edge, "spBv1.0/site/DCMD/gw/boiler", by_name, by_alias) == [
        WriteCommand("boiler", "level", 5, 70),
        WriteCommand("boiler", "level", 6, 77),
    ]


@pytest.mark.parametrize(
    ("topic", "metric", "why"),
    [
        ("spBv1.0/site/NCMD/gw", Metric(REBIRTH, DataType.BOOLEAN, False), "Rebirth"),
        ("spBv1.0/site/NCMD/gw", Metric("", DataType.BOOLEAN, True, alias=9), "9"),
        ("spBv1.0/site/DCMD/gw/none", Metric("level", 3, 1), "no device none"),
        ("spBv1.0/site/DCMD/gw/pump", Metric("", 3, 1, alias=1), "no metric 1 of pump"),
        ("spBv1.0/site/DCMD/other/pump", Metric("level", 3, 1), "topic"),
        ("spBv1.0/site/DCMD/gw/a/b", Metric("level", 3, 1), "topic"),
    ],
)
def test_a_command_for_nothing_that_there_is_is_refused(
    topic: str, metric: Metric, why: str
) -> None:
    (refused,) = ask(node(), topic, metric)
    assert isinstance(refused, Refused) and why in refused.reason


def test_a_command_that_is_no_payload_is_refused() -> None:
    (refused,) = node().command("spBv1.0/site/NCMD/gw", b"\xff")
    assert isinstance(refused, Refused)


def test_the_primary_host_is_there_when_its_newest_word_says_so() -> None:
    host = PrimaryHost()
    said = [(True, 5), (False, 4), (True, 6), (False, 6)]
    changes = [host.told({"online": on, "timestamp": at}) for on, at in said]
    assert changes == [True, False, False, True] and not host.online
    assert topics.state("scada") == "spBv1.0/STATE/scada"


@pytest.mark.parametrize("plain", [None, [], {"online": True}, {"online": 1, "timestamp": 1}])
def test_a_word_of_the_host_without_both_is_none(plain: object) -> None:
    with pytest.raises(DecodeError):
        PrimaryHost().told(plain)
