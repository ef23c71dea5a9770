"""A packet of reads takes nothing on trust, however often it was answered well before."""

import struct

import pytest

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.batch import MAX_SERVICES
from cpppod.protocols.enip.originator.blocks import (
    MAX_PACKETS,
    Block,
    BlockSource,
    KnownPacket,
    PacketMemory,
)
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.session import Class3Connection, SessionViolated
from cpppod.protocols.model.errors import EncodeError

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


def source(memory: PacketMemory, *texts: str, limit: int | bool = True) -> list[Exchange]:
    return list(BlockSource(parse_operations(texts), make, Carrier(), memory, limit=limit))


def shape(exchanges: list[Exchange]) -> list[int]:
    """How many operations each exchange performs, 0 for one that goes by itself."""
    return [item.count if isinstance(item, Block) else 0 for item in exchanges]


@pytest.mark.parametrize(
    ("texts", "counts"),
    [
        (("A",), [0]),
        (("A", "B"), [2]),
        (("A=1", "A", "B"), [0, 2]),
        (("A", "B", "C=1"), [0, 0, 0]),  # an exchange's packet may carry all three
        (("A.3", "A", "B"), [0, 2]),
        (("A*200", "B"), [0, 0]),
        (("A", "B*200", "C"), [0, 0, 0]),
    ],
)
def test_only_whole_packets_of_plain_reads_become_blocks(
    texts: tuple[str, ...], counts: list[int]
) -> None:
    assert shape(source(PacketMemory(), *texts)) == counts


def test_packets_are_filled_to_the_limit_and_the_next_begins_there() -> None:
    made = source(PacketMemory(), *(f"Tag{number:03}" for number in range(100)))
    counts = shape(made)
    assert sum(counts) == 100
    assert len(counts) <= 5
    for block in made:
        part = block.next_part(Carrier().budget)
        assert part is not None
        assert len(part.request) <= Carrier().budget.request


def test_packet_carries_so_many_services_and_no_more() -> None:
    wide = Carrier(connection=Class3Connection(1, 2, 65_000, 65_000))
    texts = [f"T{number}" for number in range(MAX_SERVICES + 2)]
    memory = PacketMemory()
    made = list(BlockSource(parse_operations(texts), make, wide, memory, limit=True))
    assert shape(made) == [MAX_SERVICES, 2]


def test_operations_that_come_again_are_the_same_packet_and_others_are_not() -> None:
    memory = PacketMemory()
    packets = []
    for texts in (("A", "B"), ("A", "B"), ("A", "C"), ("A", "C", "D"), ("A",)):
        made = source(memory, *texts)
        packets.append(made[0].packet if isinstance(made[0], Block) else None)
    assert packets[0] is packets[1]
    assert packets[1] is not packets[2] is not packets[3]
    assert packets[4] is None
    assert packets[0] is not None
    assert packets[0].descriptions == ["Multi. Read  Tag  A", "Multi. Read  Tag  B"]
    assert packets[0].descriptions is packets[0].descriptions


def test_memory_holds_so_many_packets_and_the_oldest_goes() -> None:
    memory, wide = PacketMemory(), Carrier()
    for number in range(MAX_PACKETS + 1):
        memory.put((wide, number, b""), KnownPacket([], b"", full=False))
    assert memory.get((wide, 0, b"")) is None
    assert memory.get((wide, 1, b"")) is not None


def test_ranges_are_lists_and_each_reply_can_be_had() -> None:
    memory = PacketMemory()
    three = b"\xcc\0\0\0\xc3\0\1\0\2\0\3\0"
    for _ in range(2):
        (block,) = source(memory, "A*3", "B")
        assert isinstance(block, Block)
        part = block.next_part(Carrier().budget)
        assert part is not None
        assert block.next_part(Carrier().budget) is None
        block.receive(part, MessageRouterReply(0x8A, 0, (), packet(three, DINT_5)))
        assert block.values == [[1, 2, 3], [5]]
        assert [reply.data for reply in block.replies()] == [three[4:], DINT_5[4:]]


def test_packet_that_is_refused_as_a_whole_fails_every_operation_in_it() -> None:
    block = answered(PacketMemory(), b"", 0x02)
    assert block.done
    assert [(item.value, item.status) for item in block.exchanges] == [(None, 2), (None, 2)]


def test_operation_that_did_not_fit_goes_on_by_itself() -> None:
    block = answered(PacketMemory(), packet(b"\xcc\0\6\0", DINT_5))
    assert not block.done
    part = block.next_part(Carrier().budget)
    assert part is not None
    assert part.request[0] == 0x52
    part.exchange.receive(part, MessageRouterReply(0xD2, 0, (), DINT_5[4:]))
    assert block.done
    assert [exchange.value for exchange in block.exchanges] == [[5], [5]]


def test_text_at_fault_is_raised_after_the_operations_before_it() -> None:
    made = BlockSource(parse_operations(["A", "B", "["]), make, Carrier(), PacketMemory(), limit=1)
    assert [next(made).count, next(made).count] == [1, 1]
    with pytest.raises(EncodeError):
        next(made)


def test_path_that_cannot_be_said_is_told_by_its_own_exchange() -> None:
    given: list[Operation] = [{"path": [{"colour": 1}]}, {"path": "A"}, {"path": b"\x91\x01A\0"}]
    made = BlockSource(given, make, Carrier(), PacketMemory(), limit=True)
    with pytest.raises(EncodeError, match="colour"):
        next(made)
    assert shape(list(made)) == [0, 0]
