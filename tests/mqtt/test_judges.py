"""Sparkplug's payloads, read by a decoder that is not ours."""

import json
import os
import subprocess
from typing import Any

import pytest

from cpppod.protocols.sparkplug.edge import Definition, EdgeNode, Message, Sample
from cpppod.protocols.sparkplug.payload import DataType, datatype_of
from cpppod.protocols.sparkplug.topics import Address
from tests import peers

VALUES = {
    "bool": (DataType.BOOLEAN, True),
    "i32": (DataType.INT32, -5),
    "i64": (DataType.INT64, -(2**40)),
    "u8": (DataType.UINT8, 250),
    "u16": (DataType.UINT16, 65_000),
    "u32": (datatype_of("UDINT"), 4_000_000_000),
    "u64": (DataType.UINT64, 2**63),
    "float": (DataType.FLOAT, 1.5),
    "double": (DataType.DOUBLE, 2.25),
    "text": (DataType.STRING, "Kessel é"),
}
JUDGE = """
import json, sys
from pysparkplug import DBirth, DData, DDeath, NBirth, NDeath
kinds = {"NDEATH": NDeath, "NBIRTH": NBirth, "DBIRTH": DBirth, "DDATA": DData, "DDEATH": DDeath}
birth, found = None, []
for kind, data in json.load(sys.stdin):
    more = {"birth": birth} if kind == "DDATA" else {}
    message = kinds[kind].decode(bytes.fromhex(data), **more)
    birth = message if kind == "DBIRTH" else birth
    metrics = getattr(message, "metrics", None) or ()
    found.append([kind, getattr(message, "seq", None),
                  {m.name: [m.value, m.is_historical] for m in metrics}])
print(json.dumps(found))
"""


def judged(messages: list[Message | None]) -> list[tuple[str, int | None, dict[str, list[object]]]]:
    said = [(m.topic.split("/")[2], m.payload.hex()) for m in messages if m is not None]
    ran = subprocess.run(
        [peers.sparkplug_python(), "-c", JUDGE],
        input=json.dumps(said),
        capture_output=True,
        text=True,
        check=True,
    )
    return [(kind, seq, values) for kind, seq, values in json.loads(ran.stdout)]


TAHU = """
import json, sys
from tahutils.parse import parse_metric_value, payload_from_string
payloads = [payload_from_string(bytes.fromhex(data)) for data in json.load(sys.stdin)]
print(json.dumps([[p.seq, [parse_metric_value(m) for m in p.metrics]] for p in payloads]))
"""
NODE = """
const {get} = require('sparkplug-payload');
const codec = get('spBv1.0');
const plain = (value) => typeof value === 'object' && value !== null ? value.toString() : value;
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(input.map((data) => {
  const payload = codec.decodePayload(Buffer.from(data, 'hex'));
  return [Number(payload.seq), (payload.metrics || []).map((metric) => plain(metric.value))];
})));
"""


def tahu() -> list[str]:
    return [peers.tahu_python(), "-c", TAHU]


def node() -> list[str]:
    return ["node", "-e", NODE]


@pytest.mark.parametrize("decoder", [tahu, node])
def test_what_a_births_and_values_say_two_more_decoders_read(decoder: Any) -> None:
    definitions = [Definition(name, kind) for name, (kind, _) in VALUES.items()]
    edge = EdgeNode(Address("g", "n"), {"dev": definitions}, 7)
    samples = [Sample(name, value, 192, 900) for name, (_, value) in VALUES.items()]
    said = [edge.birth(1000), edge.device_birth("dev", samples, 1000)]
    said += edge.data("dev", samples, 1200)
    said += edge.data("dev", [Sample("i32", None, 0, 1300)], 1300)
    environment = {**os.environ, "NODE_PATH": str(peers.node_modules())}
    ran = subprocess.run(
        decoder(),
        input=json.dumps([message.payload.hex() for message in said]),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(ran.stdout)
    assert [seq for seq, _ in found] == [0, 1, 2, 3] and found[3][1] == [None]
    for _, values in found[1:3]:
        assert [_signed(*each) for each in zip(VALUES.values(), values, strict=True)] == [
            value for _, value in VALUES.values()
        ]


def _signed(expected: tuple[DataType, object], value: Any) -> Any:
    """As tahutils leaves it to its caller: whole numbers unsigned; and 64 bits as npm's texts."""
    kind, known = expected
    if isinstance(known, bool) or not isinstance(known, int):
        return value
    bits = 32 if kind == DataType.INT32 else 64
    number = int(value)
    return number - 2**bits if known < 0 and number > 0 else number


def test_another_decoder_reads_births_values_and_deaths() -> None:
    definitions = [Definition(name, kind) for name, (kind, _) in VALUES.items()]
    node = EdgeNode(Address("g", "n"), {"dev": definitions}, 7)
    samples = [Sample(name, value, 192, 900) for name, (_, value) in VALUES.items()]
    found = judged(
        [
            node.birth(1000),
            node.device_birth("dev", samples, 1000),
            *node.data("dev", samples, 1200),
            *node.data("dev", [Sample("i32", None, 0, 1300)], 1300),
            *node.data("dev", [Sample("i32", -7, 192, 100)], 1300, historical=True),
            node.device_death("dev", 1400),
            node.will(1000),
        ]
    )
    values = {name: [value, False] for name, (_, value) in VALUES.items()}
    assert [each[0] for each in found] == [
        "NBIRTH",
        "DBIRTH",
        "DDATA",
        "DDATA",
        "DDATA",
        "DDEATH",
        "NDEATH",
    ]
    assert [each[1] for each in found[:6]] == [0, 1, 2, 3, 4, 5]
    assert found[0][2]["bdSeq"] == [7, False]
    assert found[1][2] == found[2][2] == values
    assert found[3][2] == {"i32": [None, False]} and found[4][2] == {"i32": [-7, True]}
