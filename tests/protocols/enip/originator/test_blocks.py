"""A packet of reads takes nothing on trust, however often it was answered well before."""

import struct

import pytest

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.blocks import Block, BlockSource, PacketMemory
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.session import SessionViolated

DINT_5 = b"\xcc\0\0\0\xc4\0\x05\0\0\0"
INT_6 = b"\xcc\0\0\0\xc3\0\x06\0"
FAILED = b"\xcc\0\x05\x01\0\0"


def make(operation: Operation) -> Exchange:
    return make_exchange(operation, {})


def packet(*replies: bytes) -> bytes:
    offsets = [2 + 2 * len(replies) + sum(map(len, replies[:n])) for n in range(len(replies))]
    return struct.pack(f"<{len(replies) + 1}H", len(replies), *offsets) + b"".join(replies)


def answered(memory: PacketMemory, data: bytes, status: int = 0) -> Block:
    operations = parse_operations(["A", "B"])
    (block,) = BlockSource(operations, make, Carrier(), memory, limit=True)
    assert isinstance(block, Block)
    part = block.next_part(Carrier().budget)
    assert part is not None
    block.receive(part, MessageRouterReply(0x8A, status, (), data))
    return block


def test_values_come_out_of_like_and_unlike_scalars() -> None:
    memory = PacketMemory()
    for data, values in (
        (packet(DINT_5, DINT_5), [[5], [5]]),
        (packet(DINT_5, INT_6), [[5], [6]]),
        (packet(INT_6, INT_6), [[6], [6]]),
    ):
        block = answered(memory, data)
        assert block.done and block.values == values


def test_a_failure_among_them_is_one_operation_s_own() -> None:
    memory = PacketMemory()
    for data in (packet(DINT_5, FAILED), packet(DINT_5, DINT_5), packet(DINT_5, FAILED)):
        status = 0x1E if FAILED in data else 0
        block = answered(memory, data, status)
        assert block.done
        if status:
            assert [exchange.value for exchange in block.exchanges] == [[5], None]
            assert block.exchanges[1].status == 5


@pytest.mark.parametrize(
    "data",
    [
        packet(DINT_5),
        packet(DINT_5, DINT_5, DINT_5),
        packet(DINT_5, DINT_5)[:-1],
        packet(DINT_5, DINT_5 + b"\0"),
        packet(DINT_5, b"\xcd" + DINT_5[1:]),
        b"\2\0\6\0\6\0" + DINT_5 + DINT_5,
        b"\2\0\x10\0\6\0" + DINT_5 + DINT_5,
        b"",
    ],
)
def test_a_reply_that_lies_is_never_a_value(data: bytes) -> None:
    memory = PacketMemory()
    answered(memory, packet(DINT_5, DINT_5))
    with pytest.raises(SessionViolated):
        answered(memory, data)


def test_after_a_refusal_of_packets_no_more_are_made() -> None:
    memory = PacketMemory()
    block = answered(memory, b"", 0x08)
    assert not block.done and len(block.exchanges) == 2
    again = list(BlockSource(parse_operations(["A", "B"]), make, Carrier(), memory, limit=True))
    assert not any(isinstance(exchange, Block) for exchange in again)
