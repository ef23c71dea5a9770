"""The recorded requests of real clients, answered by our target as the recorded servers did."""

import json
import pathlib
import struct
from typing import Any

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.protocols.enip.target.session import Session

VECTORS = pathlib.Path(__file__).parents[3] / "vectors"
TAGS = {
    **{f"{name}A": (name, 20) for name in "SINT INT DINT LINT USINT UINT UDINT ULINT".split()},
    "REALA": ("REAL", 20),
    "LREALA": ("LREAL", 20),
    "BOOLA": ("BOOL", 20),
    "SSTR": ("SSTRING", 10),
    "STR": ("STRING", 10),
    "SC": ("DINT", 0),
    "F": ("REAL", 0),
    "BIG": ("DINT", 1000),
    "BIGR": ("REAL", 600),
    "SCADA": ("INT", 1000),
}
ADDRESSED = {"DINTX": ("DINT", 8, (22, 1, 1)), "FX": ("REAL", 0, (22, 1, 3))} | {
    "BX": ("BOOL", 0, (22, 1, 4)),
    "P": ("REAL", 0, (0x93, 3, 10)),
    "P1": ("REAL", 0, (0x93, 1, 10)),
}
# what cpppo did, and why ours differs
BETTER = {
    "encapsulation status": "a CIP status answers where cpppo fails the frame and hangs up",
    "@0x66/1": "cpppo's own vendor object; a controller has none there",
    "@0x99/1/1": "cpppo answers zeros for a class that is not there",
    "@0x64/1": "cpppo answers zeros; ours is the program's name, which pycomm3 asks for",
    "@0x8b/1": "cpppo answers zeros; ours is the time",
    "Set Attribute Single @0x16/1/1": "too few bytes is 0x13, not 0x08",
    "Get Attribute Single F": "a tag's name leads to its bytes; cpppo answers 0x08",
    "Get Attributes All @0x01/1": "ours ends with the state, where pylogix looks for it",
    "Get Attributes All @0xf5/1": "the path to the link object is there; cpppo leaves it empty",
    "Get Attribute Single @0x01/0/1": "the Identity object's revision is 1; cpppo answers 0",
    "Write Tag INTA[0] x1 INT (connected) -> status 0xff": "pycomm3's excess is ignored",
    "libplctag: Write Tag SINTA x3": "libplctag's pad byte: the excess is ignored",
    "Read Tag BIG[0] x1000 (connected)": "the reply fills the connection; cpppo cuts at 488 bytes",
    "Read Tag Fragmented BIG": "the reply fills the connection; cpppo cuts at 488 bytes",
    "Read Tag BIG[0] x300 (connected)": "the reply fills the connection; cpppo cuts at 488 bytes",
    "+99999": "an offset beyond the end is 0x2104, as Logix has it",
    "Forward Close": "no such connection is open here",
}


def make_session() -> Session:
    ids = iter(range(1, 1 << 31))
    target = Target(random_u32=lambda: next(ids), clock_us=lambda: 0)
    for name, (kind, length) in TAGS.items():
        target.add_tag(Variable(name, types.by_name(kind), (length,) if length else ()))
    for name, (kind, length, address) in ADDRESSED.items():
        variable = Variable(name, types.by_name(kind), (length,) if length else ())
        target.add_tag(variable, address)
    session = Session(
        target, address="10.0.0.1", local=("10.0.0.2", 44818), random_u32=lambda: 7, now=0.0
    )
    session.receive_data(HEADER.pack(0x65, 4, 0, 0, bytes(8), 0) + struct.pack("<HH", 1, 0), 0.0)
    return session


def recorded() -> list[Any]:
    found: list[Any] = []
    for path in sorted(VECTORS.glob("enip_*.json")):
        for pair in json.loads(path.read_text()):
            ours = pair["server"].startswith("cpppo") and pair["transport"] == "tcp"
            if ours and pair["reply_hex"] and pair["decoded"].get("service"):
                found.append(pytest.param(pair, id=pair["id"]))
    return found


def message_of(frame: bytes) -> bytes:
    if frame[0] == 0x6F:
        return UnconnectedMessage.decode(frame[24:]).message
    return ConnectedMessage.decode(frame[24:]).message


def answer(session: Session, request: bytes) -> bytes:
    """Our reply; a connected request travels on a connection opened for it."""
    frame = bytearray(request)
    struct.pack_into("<I", frame, 4, session.handle)
    if frame[0] == 0x70:
        opening = (
            "5402200624010a0e 00000000 01000000 0100 0100 01000000 03000000"
            "80841e00 f643 80841e00 f643 a3 03 010020022401"
        )
        data = UnconnectedMessage(bytes.fromhex(opening)).encode()
        head = HEADER.pack(0x6F, len(data), session.handle, 0, bytes(8), 0)
        opened = session.receive_data(head + data, 0.0)
        frame[36:40] = opened[44:48]
    return session.receive_data(bytes(frame), 0.0)


@pytest.mark.parametrize("pair", recorded())
def test_recorded_request_is_answered_as_recorded_or_better(pair: dict[str, Any]) -> None:
    session = make_session()
    reply = answer(session, bytes.fromhex(pair["request_hex"]))
    assert not session.closing
    assert HEADER.unpack_from(reply)[3] == 0, "never an encapsulation error"
    ours = MessageRouterReply.decode(message_of(reply))
    described = f"{pair['name']} {pair['decoded'].get('service')} {pair['decoded'].get('path')}"
    if any(known in described for known in BETTER):
        return
    theirs = MessageRouterReply.decode(message_of(bytes.fromhex(pair["reply_hex"])))
    assert (ours.service, ours.status, ours.extended) == (
        theirs.service,
        theirs.status,
        theirs.extended,
    )
    if pair["decoded"].get("type") and pair["decoded"]["type"] not in ("STRING", "SSTRING"):
        assert len(ours.data) == len(theirs.data)
        assert ours.data[:2] == theirs.data[:2]
