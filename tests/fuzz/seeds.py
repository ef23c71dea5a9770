"""The corpus: inputs per target as lists of hex, unpacked into a folder for the fuzzer.

python tests/fuzz/seeds.py      makes them anew out of the recorded frames in tests/vectors
"""

import json
import pathlib
import sys

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
    return {name: _some(sorted(inputs, key=len)) for name, inputs in found.items()}


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
