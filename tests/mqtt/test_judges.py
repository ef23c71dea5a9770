"""Sparkplug's payloads, read by a decoder that is not ours."""

import json
import subprocess

from cpppod.protocols.sparkplug.edge import Definition, EdgeNode, Message, Sample
from cpppod.protocols.sparkplug.payload import DataType
from cpppod.protocols.sparkplug.topics import Address
from tests import peers

VALUES = {
    "bool": (DataType.BOOLEAN, True),
    "i32": (DataType.INT32, -5),
    "i64": (DataType.INT64, -(2**40)),
    "u8": (DataType.UINT8, 250),
    "u16": (DataType.UINT16, 65_000),
    "u32": (DataType.UINT32, 4_000_000_000),
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
