"""The corpus: inputs per target as lists of hex, unpacked into a folder for the fuzzer.

python tests/fuzz/seeds.py      makes them anew: out of the recorded frames in tests/vectors, and of
                                what our own encoders write
"""

import json
import pathlib
import sys

from cpppod.protocols.bus.feed_requests import (
    Refused,
    ReplayPage,
    ReplayRequest,
    SnapshotPage,
    SnapshotRequest,
)
from cpppod.protocols.bus.journal import Hole, Segment, encode_record, encode_stop
from cpppod.protocols.bus.journal import Kind as JournalKind
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.cip.message_router import MessageRouterRequest
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.model.errors import ProtocolError

FOLDER = pathlib.Path(__file__).parent / "corpus"
VECTORS = pathlib.Path(__file__).parents[1] / "vectors"
MOST = 60  # of one target: what differs only in numbers, the fuzzer finds itself


def load(name: str) -> list[bytes]:
    """The inputs of a target."""
    return [bytes.fromhex(text) for text in json.loads((FOLDER / f"{name}.json").read_text())]


def unpack(name: str, folder: pathlib.Path) -> None:
    """Write the inputs as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(load(name)):
        (folder / f"{number:03d}").write_bytes(data)


def make() -> dict[str, list[bytes]]:
    """Inputs out of the recorded frames."""
    found: dict[str, dict[bytes, None]] = {
        name: {} for name in ("encapsulation", "cpf", "epath", "services", "pccc", "session")
    }
    for path in sorted(VECTORS.glob("enip_*.json")):
        for pair in json.loads(path.read_text()):
            if pair["request_hex"]:
                _add(bytes.fromhex(pair["request_hex"]), found)
    logical = "07 4d00 a14ec330 0f00 0100"
    for command in ("a202078901 00", "ab020789 0100 ffff 0500", "aa02078901000500", "a10400012300",
                    "0100000100060708 02", "26 06070100ff00", "6800000100060701 0100"):  # fmt: skip
        found["pccc"][bytes.fromhex(logical + command)] = None
    found["pccc"][bytes.fromhex("074d00a14ec330060001000300")] = None
    made = {name: _some(sorted(inputs, key=len)) for name, inputs in found.items()}
    return made | {"journal": journal(), "feed": feed_requests(), "history": history()}


def journal() -> list[bytes]:
    """Segments of one life, and the bodies of their records."""
    publisher = Publisher("p", 7, "gw-a")
    blocks = [
        publisher.block(
            "boiler", "fast", 3, samples, source_us=1_700_000_000_000_000, gateway_us=1, mono_us=1
        )
        for samples in ({"a": (1, 0)}, {"a": (1.5, 0), "b": (None, 20)}, {"t": ("text", 0)})
    ]
    records = [
        encode_record(JournalKind.BLOCK, topic, payload, sequence=number, samples=1)
        for number, (topic, payload) in enumerate(blocks, start=1)
    ]
    hole = Hole(2, 5, 4, 8, "not journalled", 1, 2).encode()
    records.append(encode_record(JournalKind.GAP, b"boiler/fast/", hole, sequence=5, samples=8))
    records.append(encode_record(JournalKind.STOPPED, b"", encode_stop(9), sequence=5, samples=0))
    whole = Segment(7, 1, gateway="gw-a").encode() + b"".join(records)
    return [whole, *records, *(payload for _, payload in blocks), hole, encode_stop(9)]


def feed_requests() -> list[bytes]:
    """What a subscriber asks, and the pages that it gets."""
    page: list[tuple[bytes, bytes]] = [(b"boiler/fast/", b"payload")]
    asked = (
        SnapshotRequest(1),
        SnapshotRequest(2, (b"boiler/", b"x"), b"boiler/fast/"),
        ReplayRequest(3, "p", 7, 1, 100),
        Refused(4, "too many requests"),
        SnapshotPage(5, 9, {"p": [7, 3, True]}, page, b""),
        ReplayPage(6, 9, "p", 7, 1, 3, page, 0),
    )
    return [each.encode() for each in asked]


def history() -> list[bytes]:
    """Lines as a logger writes them, and the oddest that it may."""
    texts = (
        '2024-01-02 03:04:05.678 UTC\t1\t{"40001": 5, "40002": 1.5}\n',
        '# comment\n\n2024-01-02 03:04:05.678 America/Edmonton\tnull\t"note"\n',
        '\ufeff2024-01-02 03:04:05 UTC\t{"a": [1, 2]}\t{"boiler.t": null}\n',
        "2024-01-02 03:04:05 UTC\t1\t" + "[" * 50 + "\n",
    )
    return [text.encode() for text in texts]


def _some(inputs: list[bytes]) -> list[bytes]:
    """Short ones and long ones, at most `MOST`."""
    return inputs[:: -(-len(inputs) // MOST)] if inputs else []


def _add(frame: bytes, found: dict[str, dict[bytes, None]]) -> None:
    found["encapsulation"][frame] = None
    found["session"][b"\xff" + frame[:4] + b"\7\0\0\0" + frame[8:]] = None
    found["cpf"][frame[24:]] = None
    try:
        if frame[0] == 0x6F:
            message = UnconnectedMessage.decode(frame[24:]).message
        elif frame[0] == 0x70:
            message = ConnectedMessage.decode(frame[24:]).message
        else:
            return
        request = MessageRouterRequest.decode(message)
    except ProtocolError:
        return
    found["services"][message] = None
    found["services"][request.data] = None
    found["epath"][request.path] = None


def main() -> int:
    """Write the corpus."""
    FOLDER.mkdir(exist_ok=True)
    for name, inputs in make().items():
        text = json.dumps([data.hex() for data in inputs], indent=0)
        (FOLDER / f"{name}.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
