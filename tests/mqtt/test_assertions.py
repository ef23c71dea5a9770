"""The edge node's assertions of the Sparkplug specification, by their ids, on the wire.

    gateway ──► wire.py ──► mosquitto      every packet that the gateway sends is noted

`CHECKS` has an id of the specification (`tck-id-` left out) and what it asks of all that was seen;
`docs/sparkplug.md` publishes them, and the test compares.
"""

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpppod.protocols.sparkplug.payload import DataType, Metric, Payload, decode
from tests.brokers import Broker, Ear
from tests.gateway.running import ROOT, RunningGateway, counting_gateway
from tests.mqtt.wire import Published, Session, Wire

PLANT = """\
[gateway]
name = "gw"
id = "gw-1"
[[listener]]
name = "main"
address = "127.0.0.1:{listener}"
[metrics]
enabled = false
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:{device}"
timeout = "500ms"
retries = 0
[[device.boiler.group]]
name = "fast"
period = "50ms"
tags = [
    {{ name = "count", address = "40001", type = "UINT" }},
    {{ name = "set", address = "40002", type = "INT", writable = true }},
]
[[mqtt]]
name = "edge"
address = "127.0.0.1:{wire}"
format = "sparkplug"
group_id = "site"
commands = true
protocol = "{protocol}"
"""
NODE, DEVICE = "site/{}/gw", "site/{}/gw/boiler"
KINDS = ("NBIRTH", "DBIRTH", "DDATA", "DDEATH", "NDEATH")
REBIRTH, BD_SEQ = "Node Control/Rebirth", "bdSeq"


class Seen:
    """All that a gateway sent, in several sessions."""

    def __init__(self, sessions: list[Session]) -> None:
        self.sessions = [each for each in sessions if each.sent]
        self.messages = [each for session in self.sessions for each in session.sent]

    def of(self, *kinds: str) -> list[Published]:
        return [each for each in self.messages if kind_of(each) in kinds]

    def payloads(self, *kinds: str) -> list[Payload]:
        return [decode(each.payload) for each in self.of(*kinds)]

    def metrics(self, *kinds: str) -> list[Metric]:
        return [metric for payload in self.payloads(*kinds) for metric in payload.metrics]

    def wills(self) -> list[Published]:
        return [each.will for each in self.sessions if each.will is not None]

    def runs(self) -> Iterator[list[tuple[str, Payload]]]:
        """From each birth of the node to the next."""
        for session in self.sessions:
            told = [(kind_of(each), decode(each.payload)) for each in session.sent]
            begins = [at for at, (kind, _) in enumerate(told) if kind == "NBIRTH"]
            for at, begin in enumerate(begins):
                yield told[begin : begins[at + 1] if at + 1 < len(begins) else len(told)]


def kind_of(message: Published) -> str:
    return message.topic.split("/")[2]


def named(payload: Payload, name: str) -> Metric | None:
    return next((each for each in payload.metrics if each.name == name), None)


def is_said(kinds: tuple[str, ...], qos: int, *, retain: bool) -> Callable[[Seen], bool]:
    return lambda seen: (
        bool(seen.of(*kinds))
        and all((each.qos, each.retain) == (qos, retain) for each in seen.of(*kinds))
    )


def at_topic(kind: str, pattern: str) -> Callable[[Seen], bool]:
    topic = "spBv1.0/" + pattern.format(kind)
    return lambda seen: bool(seen.of(kind)) and all(each.topic == topic for each in seen.of(kind))


def has_seq(*kinds: str) -> Callable[[Seen], bool]:
    return lambda seen: (
        bool(seen.of(*kinds))
        and all(each.seq is not None and 0 <= each.seq <= 255 for each in seen.payloads(*kinds))
    )


def has_time(*kinds: str) -> Callable[[Seen], bool]:
    now_ms = time.time() * 1000
    return lambda seen: (
        bool(seen.of(*kinds))
        and all(abs(each.timestamp_ms - now_ms) < 3_600_000 for each in seen.payloads(*kinds))
    )


def sequence_goes_on(seen: Seen) -> bool:
    return all(
        [payload.seq for kind, payload in run if kind != "NDEATH"]
        == [at % 256 for at in range(len([kind for kind, _ in run if kind != "NDEATH"]))]
        for run in seen.runs()
    )


def chronological(seen: Seen) -> bool:
    last: dict[int | None, int] = {}
    for metric in seen.metrics("DDATA"):
        if metric.historical:
            continue
        if metric.timestamp_ms < last.get(metric.alias, 0):
            return False
        last[metric.alias] = metric.timestamp_ms
    return bool(last)


def births_match_wills(seen: Seen) -> bool:
    found = []
    for session in seen.sessions:
        assert session.will is not None
        number = named(decode(session.will.payload), BD_SEQ)
        births = [decode(each.payload) for each in session.sent if kind_of(each) == "NBIRTH"]
        found += [named(birth, BD_SEQ) == number or _same(birth, number) for birth in births]
    return len(found) > 1 and all(found)


def _same(birth: Payload, number: Metric | None) -> bool:
    own = named(birth, BD_SEQ)
    return own is not None and number is not None and own.value == number.value


def bd_seqs(seen: Seen) -> list[object]:
    numbers = [named(decode(each.payload), BD_SEQ) for each in seen.wills()]
    return [each.value for each in numbers if each is not None]


def births_come_first(seen: Seen) -> bool:
    return all(kind_of(session.sent[0]) == "NBIRTH" for session in seen.sessions) and all(
        run[1][0] == "DBIRTH" for run in seen.runs() if len(run) > 1
    )


def every_metric(*kinds: str, that: Callable[[Metric], bool]) -> Callable[[Seen], bool]:
    return lambda seen: bool(seen.metrics(*kinds)) and all(map(that, seen.metrics(*kinds)))


def aliases_are_unique(seen: Seen) -> bool:
    aliases = [m.alias for m in seen.payloads("DBIRTH")[0].metrics]
    return None not in aliases and len(set(aliases)) == len(aliases)


def rebirth_metric(seen: Seen) -> bool:
    found = [named(birth, REBIRTH) for birth in seen.payloads("NBIRTH")]
    return all(
        each is not None and each.datatype == DataType.BOOLEAN and each.value is False
        for each in found
    )


def subscribes(topic: str) -> Callable[[Seen], bool]:
    return lambda seen: all((topic, 1) in each.subscribed for each in seen.sessions)


def rbe(seen: Seen) -> bool:
    """A value that is sent is another one than before in this session, not counting history."""
    for run in seen.runs():
        last: dict[int | None, object] = {}
        for kind, payload in run:
            if kind == "DBIRTH":
                last.clear()
            for metric in payload.metrics if kind == "DDATA" else ():
                told = (metric.value, metric.properties.get("Quality"))
                if metric.historical:
                    continue
                if last.get(metric.alias) == told:
                    return False
                last[metric.alias] = told
    return True


def ends_with_death(seen: Seen) -> bool:
    return any(
        session.disconnected and kind_of(session.sent[-1]) == "NDEATH" for session in seen.sessions
    )


CHECKS: dict[str, Callable[[Seen], bool]] = {
    "principles-persistence-clean-session-311": lambda s: all(
        each.clean for each in s.sessions if each.version == 4
    ),
    "principles-persistence-clean-session-50": lambda s: all(
        each.clean and not each.expiry_s for each in s.sessions if each.version == 5
    ),
    "principles-birth-certificates-order": births_come_first,
    "principles-rbe-recommended": rbe,
    "topic-structure-namespace-a": lambda s: all(
        each.topic.startswith("spBv1.0/") for each in s.messages
    ),
    "topics-nbirth-topic": at_topic("NBIRTH", NODE),
    "topics-dbirth-topic": at_topic("DBIRTH", DEVICE),
    "topics-ddata-topic": at_topic("DDATA", DEVICE),
    "topics-ddeath-topic": at_topic("DDEATH", DEVICE),
    "topics-ndeath-topic": lambda s: all(
        each.topic == "spBv1.0/site/NDEATH/gw" for each in [*s.wills(), *s.of("NDEATH")]
    ),
    "topics-nbirth-mqtt": is_said(("NBIRTH",), 0, retain=False),
    "topics-dbirth-mqtt": is_said(("DBIRTH",), 0, retain=False),
    "topics-ddata-mqtt": is_said(("DDATA",), 0, retain=False),
    "topics-ddeath-mqtt": is_said(("DDEATH",), 0, retain=False),
    "payloads-nbirth-qos": is_said(("NBIRTH",), 0, retain=False),
    "payloads-nbirth-retain": is_said(("NBIRTH",), 0, retain=False),
    "payloads-dbirth-qos": is_said(("DBIRTH",), 0, retain=False),
    "payloads-dbirth-retain": is_said(("DBIRTH",), 0, retain=False),
    "payloads-ddata-qos": is_said(("DDATA",), 0, retain=False),
    "payloads-ddata-retain": is_said(("DDATA",), 0, retain=False),
    "topics-nbirth-seq-num": has_seq("NBIRTH"),
    "topics-dbirth-seq": has_seq("DBIRTH"),
    "topics-ddata-seq-num": has_seq("DDATA"),
    "topics-ddeath-seq-num": has_seq("DDEATH"),
    "payloads-nbirth-seq": lambda s: all(each.seq == 0 for each in s.payloads("NBIRTH")),
    "payloads-dbirth-seq": has_seq("DBIRTH"),
    "payloads-dbirth-seq-inc": sequence_goes_on,
    "payloads-ddata-seq": has_seq("DDATA"),
    "payloads-ddata-seq-inc": sequence_goes_on,
    "payloads-ddeath-seq": has_seq("DDEATH"),
    "payloads-ddeath-seq-inc": sequence_goes_on,
    "payloads-ddeath-seq-number": has_seq("DDEATH"),
    "payloads-sequence-num-always-included": has_seq("NBIRTH", "DBIRTH", "DDATA", "DDEATH"),
    "payloads-sequence-num-zero-nbirth": has_seq("NBIRTH"),
    "payloads-sequence-num-incrementing": sequence_goes_on,
    "topics-ndeath-seq": lambda s: all(
        decode(each.payload).seq is None for each in [*s.wills(), *s.of("NDEATH")]
    ),
    "payloads-ndeath-seq": lambda s: all(
        decode(each.payload).seq is None for each in [*s.wills(), *s.of("NDEATH")]
    ),
    "topics-ndeath-payload": lambda s: all(
        [m.name for m in decode(each.payload).metrics] == [BD_SEQ] for each in s.wills()
    ),
    "payloads-ndeath-bdseq": lambda s: len(bd_seqs(s)) == len(s.sessions),
    "payloads-ndeath-will-message": lambda s: len(s.wills()) == len(s.sessions),
    "payloads-ndeath-will-message-qos": lambda s: all(each.qos == 1 for each in s.wills()),
    "payloads-ndeath-will-message-retain": lambda s: not any(each.retain for each in s.wills()),
    "message-flow-edge-node-birth-publish-will-message": lambda s: (
        len(s.wills()) == len(s.sessions)
    ),
    "message-flow-edge-node-birth-publish-will-message-topic": lambda s: all(
        each.topic == "spBv1.0/site/NDEATH/gw" for each in s.wills()
    ),
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq": lambda s: (
        len(bd_seqs(s)) == len(s.sessions)
    ),
    "message-flow-edge-node-birth-publish-will-message-qos": lambda s: all(
        each.qos == 1 for each in s.wills()
    ),
    "message-flow-edge-node-birth-publish-will-message-will-retained": lambda s: (
        not any(each.retain for each in s.wills())
    ),
    "topics-nbirth-bdseq-included": lambda s: all(
        named(birth, BD_SEQ) is not None for birth in s.payloads("NBIRTH")
    ),
    "topics-nbirth-bdseq-matching": births_match_wills,
    "payloads-nbirth-bdseq-repeat": births_match_wills,
    "topics-nbirth-bdseq-increment": lambda s: bd_seqs(s) == list(range(len(s.sessions))),
    "topics-nbirth-rebirth-metric": rebirth_metric,
    "payloads-nbirth-rebirth-req": rebirth_metric,
    "operational-behavior-data-commands-rebirth-name": rebirth_metric,
    "operational-behavior-data-commands-rebirth-datatype": rebirth_metric,
    "operational-behavior-data-commands-rebirth-value": rebirth_metric,
    "operational-behavior-data-commands-rebirth-name-aliases": lambda s: all(
        (metric := named(birth, REBIRTH)) is not None and metric.alias is None
        for birth in s.payloads("NBIRTH")
    ),
    "operational-behavior-data-commands-rebirth-action-2": lambda s: any(
        len([each for each in session.sent if kind_of(each) == "NBIRTH"]) > 1
        for session in s.sessions
    ),
    "operational-behavior-data-commands-rebirth-action-3": births_match_wills,
    "topics-nbirth-timestamp": has_time("NBIRTH"),
    "topics-dbirth-timestamp": has_time("DBIRTH"),
    "topics-ddata-timestamp": has_time("DDATA"),
    "payloads-nbirth-timestamp": has_time("NBIRTH"),
    "payloads-dbirth-timestamp": has_time("DBIRTH"),
    "payloads-ddata-timestamp": has_time("DDATA"),
    "payloads-ddeath-timestamp": has_time("DDEATH"),
    "payloads-timestamp-in-UTC": has_time("NBIRTH", "DBIRTH", "DDATA", "DDEATH"),
    "payloads-name-birth-data-requirement": every_metric(
        "NBIRTH", "DBIRTH", "DDATA", that=lambda m: m.timestamp_ms > 0
    ),
    "payloads-metric-datatype-req": every_metric("NBIRTH", "DBIRTH", that=lambda m: m.datatype > 0),
    "payloads-metric-datatype-not-req": every_metric("DDATA", that=lambda m: not m.datatype),
    "payloads-metric-datatype-value": every_metric(
        "NBIRTH", "DBIRTH", "DDATA", that=lambda m: m.datatype in set(DataType)
    ),
    "payloads-name-requirement": every_metric("NBIRTH", "DBIRTH", that=lambda m: bool(m.name)),
    "payloads-alias-uniqueness": aliases_are_unique,
    "payloads-alias-birth-requirement": every_metric(
        "NBIRTH", "DBIRTH", that=lambda m: m.alias is not None
    ),
    "payloads-alias-data-cmd-requirement": every_metric(
        "DDATA", that=lambda m: m.alias is not None and not m.name
    ),
    "payloads-propertyset-quality-value-value": every_metric(
        "DBIRTH", "DDATA", that=lambda m: m.properties.get("Quality", 192) in (0, 192, 500)
    ),
    "topics-dbirth-metrics": lambda s: all(
        [m.name for m in birth.metrics] == ["count", "set"] for birth in s.payloads("DBIRTH")
    ),
    "operational-behavior-data-publish-dbirth": lambda s: all(
        {m.alias for m in s.metrics("DDATA")} <= {m.alias for m in birth.metrics}
        for birth in s.payloads("DBIRTH")
    ),
    "operational-behavior-data-publish-dbirth-order": chronological,
    "operational-behavior-data-publish-dbirth-change": rbe,
    "operational-behavior-device-ddeath": lambda s: bool(s.of("DDEATH")),
    "operational-behavior-edge-node-intentional-disconnect-ndeath": ends_with_death,
    "operational-behavior-edge-node-intentional-disconnect-packet": ends_with_death,
    "message-flow-edge-node-ncmd-subscribe": subscribes("spBv1.0/site/NCMD/gw"),
    "message-flow-device-dcmd-subscribe": subscribes("spBv1.0/site/DCMD/gw/+"),
    "message-flow-device-birth-publish-nbirth-wait": births_come_first,
}


@pytest.fixture(scope="module", params=["5", "3.1.1"])
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """A life with data, a rebirth, a command, a device that dies and comes back, and two ends."""
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as folder:
        broker = Broker(Path(folder), "allow_anonymous true\n").start()
        wire = Wire(broker.port)
        text = PLANT.replace("{wire}", str(wire.port)).replace("{protocol}", request.param)
        try:
            with counting_gateway(text, wire.port) as plant:
                _live(plant, wire, broker)
            yield Seen(wire.sessions)
        finally:
            wire.close()
            broker.kill()


def _live(plant: RunningGateway, wire: Wire, broker: Broker) -> None:
    def count(kind: str) -> int:
        return len(Seen(wire.sessions).of(kind))

    wire.wait(lambda _: count("DDATA") > 5)
    ear = Ear(broker.address, "spBv1.0/site/STATE/none")
    ask = Payload(1, [Metric(REBIRTH, DataType.BOOLEAN, True)])
    ear.say("spBv1.0/site/NCMD/gw", ask.encode())
    wire.wait(lambda _: count("NBIRTH") > 1 and count("DBIRTH") > 1)
    order = Payload(0, [Metric("set", DataType.INT32, 77)])
    ear.say("spBv1.0/site/DCMD/gw/boiler", order.encode())
    wire.wait(lambda sessions: 77 in [m.value for m in Seen(sessions).metrics("DDATA")])
    os.kill(plant.simulators["boiler"].process.pid, signal.SIGSTOP)
    try:
        wire.wait(lambda _: count("DDEATH"))
    finally:
        os.kill(plant.simulators["boiler"].process.pid, signal.SIGCONT)
    births = count("DBIRTH")
    wire.wait(lambda _: count("DBIRTH") > births)
    os.kill(plant.workers()["mqtt-edge"]["pid"], signal.SIGKILL)
    births, data = count("NBIRTH"), count("DDATA")
    wire.wait(lambda _: count("NBIRTH") > births and count("DDATA") > data + 3)
    ear.close()


def published() -> dict[str, str]:
    """Id -> pass or fail, as docs/sparkplug.md has it."""
    text = (ROOT / "docs" / "sparkplug.md").read_text("utf-8")
    return dict(re.findall(r"^\| `([\w-]+)` \| (pass|fail) \|", text, re.MULTILINE))


def test_what_is_published_of_the_assertions_is_so(seen: Seen) -> None:
    found = {name: "pass" if check(seen) else "fail" for name, check in CHECKS.items()}
    assert found == published()
