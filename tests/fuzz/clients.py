"""What is fuzzed of the asking sides: replies to Modbus requests, frames of text, an originator.

Targets as in `tests.fuzz.targets`; the first byte of an input says which question it answers.
"""

import tomllib
from pathlib import Path

from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import parse_operations
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.modbus import pdu, rtu
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.pdu import ModbusException, ReplyMismatch, decode_reply
from cpppod.protocols.modbus.tcp import MbapStream
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.text.formats import settings
from cpppod.protocols.text.framer import Framer
from tests.protocols.enip.originator.scripted_target import echoing, requests, rr_reply

REQUESTS = (
    pdu.read(Table.HOLDING_REGISTERS, 0, 10),
    pdu.read(Table.COILS, 0, 17),
    pdu.write_register(1, 2),
    pdu.write_registers(1, [2, 3]),
    pdu.mask_write_register(1, 0xFFFE, 1),
)
OPERATIONS = ("A", "B[0-9]", "C.3", "Bits[33]", "@1/1/7", "D=(DINT)5", "E[3]=(BOOL)1")
MODELS = Path(__file__).parents[2] / "etc" / "models"
FRAMES = [settings(tomllib.loads((MODELS / name).read_text()), {})
          for name in ("sics.toml", "nmea0183.toml")]  # fmt: skip


def modbus_replies(data: bytes) -> None:
    """A reply over TCP, and one on a line with noise around it."""
    first, rest = (data[0] if data else 0), data[1:]
    request = REQUESTS[first % len(REQUESTS)]
    heard = bytearray(rest)
    found = rtu.find_reply(heard, 1, request)
    rtu.diagnose(heard, b"\1\3\0\0\0\1", 1)
    replies = [found.pdu] if found is not None else []
    try:
        replies += [adu.pdu for adu in MbapStream().receive_data(rest)]
    except ProtocolError:
        pass
    for reply in replies:
        try:
            decode_reply(request, reply)
        except (ModbusException, ReplyMismatch):
            pass


def text_frames(data: bytes) -> None:
    """Bytes of a text device, in pieces."""
    first, rest = (data[0] if data else 0), data[1:]
    framer = Framer(FRAMES[first % len(FRAMES)])
    step = first // 2 + 1
    for start in range(0, len(rest), step):
        for found in framer.feed(rest[start : start + step]):
            assert found.data


def originator(data: bytes) -> None:
    """Answers to operations in flight: whole frames, or bodies that go in frames that fit."""
    first, rest = (data[0] if data else 0), data[1:]
    session = echoing()
    operations = parse_operations(OPERATIONS)
    multiple = 500 if first & 2 else 0
    pipeline = Pipeline(
        session, (make_exchange(each, {}) for each in operations), Carrier(), depth=3,
        multiple=multiple,
    )  # fmt: skip
    waiting: list[Frame] = []
    while rest:
        pipeline.issue(0.0)
        waiting += requests(session)
        if first & 1 or not waiting:
            body, rest = rest, b""
        else:
            size = rest[0] + 1
            body, rest = rr_reply(waiting.pop(0), rest[1:size]), rest[size:]
        session.receive_data(body)
        while (answer := session.next_answer()) is not None:
            answer.owner.receive(answer)
        while pipeline.next_result() is not None:
            pass


CLIENTS = {
    "modbus_replies": modbus_replies,
    "text_frames": text_frames,
    "originator": originator,
}
