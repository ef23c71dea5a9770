"""Bytes that lie, sent to a listening target: each is refused by rule, and nobody else notices.

After every case the target still answers a well-behaved client, logs no traceback, and has spent
no more than 50 ms of its time on a frame.
"""

import contextlib
import itertools
import logging
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.simulator import Settings, Simulator
from cpppod.workers.transport import enip_endpoint
from cpppod.workers.transport.enip_endpoint import Limits
from tests.enip_frames import (
    REGISTER,
    frame,
    frames,
    packet,
    read,
    reply_of,
    request,
    routed,
    rr,
)
from tests.patience import PATIENCE_S

FEW = Limits(connections=40)
MAX_FRAME_S = 0.05


@pytest.fixture
def plc() -> Iterator[Simulator]:
    settings = Settings(limits=FEW, route_path="1/0")
    with Simulator(["SCADA=DINT[1000]", "N=DINT"], settings) as simulator:
        yield simulator


class Peer:
    """A raw TCP client."""

    def __init__(self, plc: Simulator, *, register: bool = True) -> None:
        self.socket = socket.create_connection(plc.address, PATIENCE_S)
        self.session = 0
        if register:
            self.socket.sendall(REGISTER)
            self.session = int.from_bytes(self.receive()[4:8], "little")

    def receive(self) -> bytes:
        """One frame, or b"" at the end of the connection."""
        data = b""
        wanted = HEADER.size
        while len(data) < wanted:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                return b""
            if not more:
                return b""
            data += more
            if len(data) >= HEADER.size:
                wanted = HEADER.size + int.from_bytes(data[2:4], "little")
        return data

    def ask(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        return self.receive()

    def silent(self) -> bool:
        """Whether what was sent before is left unanswered, with the connection alive."""
        reply = self.ask(frame(0x64, context=b"alive..."))
        return reply[12:20] == b"alive..."

    def closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture(autouse=True)
def survival(plc: Simulator, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A well-behaved client is served as ever, and nothing was logged that should not be."""
    yield
    peer = Peer(plc)
    with peer.socket:
        assert peer.silent()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def cpf(items: bytes, *, count: int = 2, handle: int = 0, timeout: int = 5) -> bytes:
    return struct.pack("<IHH", handle, timeout, count) + items


NULL = bytes(4)
READ = read("SCADA")
DATA = struct.pack("<HH", 0xB2, len(READ)) + READ


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(0x65, b"\1\0"), id="register_of_two_bytes"),
        pytest.param(HEADER.pack(0x63, 0xFFFF, 0, 0, bytes(8), 0), id="claims_65535_bytes"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: plc\r\nAccept: */*\r\n\r\n", id="http"),
        pytest.param(
            bytes.fromhex("1603010200010001fc0303") + bytes(range(1, 120)), id="tls_hello"
        ),
        pytest.param(frame(0x66, bytes(100)), id="unregister_with_100_bytes"),
        pytest.param(frame(0x66, session=0x12345678), id="unregister_of_a_foreign_handle"),
    ],
)
def test_nonsense_before_registering_is_closed(plc: Simulator, data: bytes) -> None:
    peer = Peer(plc, register=False)
    with peer.socket:
        peer.socket.sendall(data)
        while peer.receive():
            pass
        assert peer.closed()


@pytest.mark.parametrize("size", [1, 23, 30])
def test_frame_that_never_ends_is_cut_after_its_time(size: int) -> None:
    with Simulator(["N=DINT"], Settings(limits=Limits(frame_s=0.1))) as plc:
        peer = Peer(plc)
        with peer.socket:
            peer.socket.sendall(frame(0x65, b"\1\0\0\0\0\0\0\0")[:size])
            assert peer.closed()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (frame(0xFFFF), 0x01),
        (frame(0x65, struct.pack("<HH", 0xFFFF, 1)), 0x69),
        (frame(0x6F, cpf(NULL + DATA)), 0x64),
    ],
)
def test_encapsulation_error_without_a_session(plc: Simulator, data: bytes, status: int) -> None:
    peer = Peer(plc, register=False)
    with peer.socket:
        assert HEADER.unpack_from(peer.ask(data))[3] == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(cpf(NULL + DATA, count=1000), 0x03, id="item_count_1000"),
        pytest.param(cpf(b"", count=0), 0x03, id="no_items"),
        pytest.param(cpf(NULL, count=1), 0x03, id="one_item"),
        pytest.param(cpf(NULL + b"\xb2\0\xff\xff" + READ), 0x03, id="data_item_claims_65535"),
        pytest.param(cpf(b"\0\0\xff\xff" + DATA), 0x03, id="address_item_claims_65535"),
        pytest.param(cpf(DATA + DATA), 0x03, id="two_data_items"),
        pytest.param(cpf(b"\xa1\0\4\0\1\0\0\0" + DATA), 0x03, id="connected_address"),
        pytest.param(cpf(NULL * 16000, count=16000), 0x03, id="16000_items"),
        pytest.param(b"\0\0\0", 0x65, id="three_bytes"),
        pytest.param(b"", 0x65, id="empty"),
        pytest.param(cpf(NULL + DATA, handle=0xDEADBEEF), 0x03, id="interface_handle"),
        pytest.param(cpf(NULL + DATA + b"\1\x80\3\0abc", count=3), 0x03, id="short_sockaddr"),
    ],
)
def test_malformed_items_are_an_encapsulation_error(
    plc: Simulator, body: bytes, status: int
) -> None:
    peer = Peer(plc)
    with peer.socket:
        assert HEADER.unpack_from(peer.ask(frame(0x6F, body, peer.session)))[3] == status
        assert peer.silent()


def test_session_of_another_socket_serves_nobody(plc: Simulator) -> None:
    victim, thief = Peer(plc), Peer(plc)
    with victim.socket, thief.socket:
        reply = thief.ask(rr(READ, victim.session))
        assert HEADER.unpack_from(reply)[3] == 0x64
        assert reply_of(victim.ask(rr(READ, victim.session))).status == 0


def test_handles_are_neither_zero_nor_in_a_row(plc: Simulator) -> None:
    peers = [Peer(plc) for _ in range(8)]
    handles = [peer.session for peer in peers]
    for peer in peers:
        peer.socket.close()
    assert 0 not in handles
    assert len({after - before for before, after in itertools.pairwise(handles)}) > 3


def test_second_registration_has_the_same_handle(plc: Simulator) -> None:
    peer = Peer(plc)
    with peer.socket:
        assert int.from_bytes(peer.ask(REGISTER)[4:8], "little") == peer.session


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(0, b"A" * 65_511), id="large_nop"),
        pytest.param(HEADER.pack(0x63, 0, 0, 0, bytes(8), 0xFFFFFFFF), id="options"),
        pytest.param(bytes(24) * 2000, id="2000_nops"),
    ],
)
def test_what_needs_no_answer_gets_none(plc: Simulator, data: bytes) -> None:
    peer = Peer(plc)
    with peer.socket:
        peer.socket.sendall(data)
        assert peer.silent()


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(b"\xa1\0\4\0\x78\x56\x34\x12\xb1\0\4\0\1\0" + b"\x4c\0", id="never_opened"),
        pytest.param(b"\xa1\0\3\0\1\2\3\xb1\0\1\0\1", id="short_address"),
        pytest.param(b"\xa1\0\4\0\1\0\0\0\xb1\0\0\0", id="no_sequence"),
    ],
)
def test_connection_that_is_none_is_ignored(plc: Simulator, item: bytes) -> None:
    peer = Peer(plc)
    with peer.socket:
        peer.socket.sendall(frame(0x70, cpf(item), peer.session))
        assert peer.silent()


def nested(message: bytes, depth: int) -> bytes:
    for _ in range(depth):
        message = routed(message, "1/0")
        if len(message) > 40_000:
            break
    return message


def nested_packets(depth: int) -> bytes:
    message = read("N")
    for _ in range(depth):
        message = packet([message, read("N")])
        if len(message) > 60_000:
            break
    return message


_ALIASED = struct.pack("<H", 200) + struct.pack("<H", 402) * 200 + READ
_MANY = struct.pack("<H", 30_000) + struct.pack("<H", 2) * 25_000
CASES = [
    pytest.param(b"\x4c\xff\x91\x05SCADA\0\1\0", 0x13, id="path_of_255_words"),
    pytest.param(b"\x4c", 0x13, id="service_alone"),
    pytest.param(b"\x4c\x03\x91\xffSCAD\1\0", 0x04, id="symbol_of_255"),
    pytest.param(b"\x4c\x01\x91\0\1\0", 0x04, id="symbol_of_0"),
    pytest.param(b"\x4c\x01\x3f\0\1\0", 0x04, id="reserved_logical"),
    pytest.param(b"\x4c\x01\xe0\0\1\0", 0x04, id="reserved_segment"),
    pytest.param(
        request(0x0E, bytes.fromhex("2200ffffffff2600ffffffff3001")), 0x05, id="class_ffffffff"
    ),
    pytest.param(
        request(0x4C, b"\x91\x05SCADA\0" + bytes.fromhex("2a00ffffffff"), b"\1\0"),
        0xFF,
        id="element",
    ),
    pytest.param(request(0x4C, b"\x91\1N\0" + b"\x28\0" * 120, b"\1\0"), 0x04, id="120_dimensions"),
    pytest.param(request(0x4C, b"\x91\1N\0" * 63, b"\1\0"), 0x04, id="63_members"),
    pytest.param(request(0x4C, b"\x91\4\xff\xfe\0\n", b"\1\0"), 0x05, id="symbol_of_control_bytes"),
    pytest.param(request(0x4C, b"\x34\4\0\0", b"\1\0"), 0x04, id="short_key"),
    pytest.param(request(0, "N"), 0x08, id="service_0"),
    pytest.param(request(0xCC, "N", b"\1\0"), 0x08, id="reply_as_request"),
    pytest.param(request(0x52, "@6/1", b"\5\x9d\xff\xff" + READ), 0x13, id="inner_of_65535"),
    pytest.param(request(0x52, "@6/1", b"\5\x9d\0\0"), 0x13, id="inner_of_0"),
    pytest.param(
        request(0x52, "@6/1", b"\5\x9d\x0c\0" + READ + b"\xff\0\1\0"), 0x13, id="route_of_255_words"
    ),
    pytest.param(
        request(0x52, "@6/1", b"\5\x9d\x0c\0" + READ + b"\x78\0" + b"\1\0" * 120),
        0x04,
        id="120_hops",
    ),
    pytest.param(routed(READ, "2/10.0.0.1"), 0x01, id="address_out_of_the_packet"),
    pytest.param(nested(READ, 50), 0x08, id="unconnected_sends_50_deep"),
    pytest.param(nested(READ, 3000), 0x08, id="unconnected_sends_as_deep_as_fits"),
    pytest.param(nested_packets(2), 0x1E, id="packets_nested"),
    pytest.param(nested_packets(2000), 0x1E, id="packets_as_deep_as_fits"),
    pytest.param(request(0x0A, "@2/1", _ALIASED), 0x20, id="aliased_offsets"),
    pytest.param(request(0x0A, "@2/1", _MANY), 0x20, id="25000_offsets"),
    pytest.param(
        request(0x03, "@1/1", struct.pack("<H", 30_000) + b"\1\0" * 30_000),
        0x20,
        id="30000_attributes",
    ),
]


@pytest.mark.parametrize(("message", "status"), CASES)
def test_request_that_lies_is_refused_by_its_status(
    plc: Simulator, message: bytes, status: int
) -> None:
    peer = Peer(plc)
    with peer.socket:
        reply = reply_of(peer.ask(rr(message, peer.session)))
        assert reply.status == status
        assert peer.silent()


@pytest.mark.parametrize(("message", "status"), CASES)
def test_request_that_lies_costs_little_time(plc: Simulator, message: bytes, status: int) -> None:
    from cpppod.protocols.cip.request import Origin

    origin = Origin(plc.target.image, "10.0.0.1")
    costs = []
    for _ in range(3):
        begun = time.process_time()
        plc.target.execute(message, origin)
        costs.append(time.process_time() - begun)
    assert min(costs) < MAX_FRAME_S, status


def test_every_prefix_of_a_conversation_is_survived(plc: Simulator) -> None:
    conversation = rr(READ, 0) + rr(packet([READ, READ]), 0)
    for size in range(1, len(conversation), 7):
        peer = Peer(plc)
        with peer.socket:
            data = bytearray(conversation)
            struct.pack_into("<I", data, 4, peer.session)
            peer.socket.sendall(bytes(data[:size]))


def test_one_byte_at_a_time_works(plc: Simulator) -> None:
    peer = Peer(plc)
    with peer.socket:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in rr(READ, peer.session):
            peer.socket.sendall(bytes((byte,)))
        assert reply_of(peer.receive()).status == 0


def test_end_of_the_stream_after_a_request_still_brings_its_reply(plc: Simulator) -> None:
    peer = Peer(plc)
    with peer.socket:
        peer.socket.sendall(rr(READ, peer.session))
        peer.socket.shutdown(socket.SHUT_WR)
        assert reply_of(peer.receive()).status == 0
        assert peer.closed()


def test_reader_that_never_reads_is_cut_and_others_are_served() -> None:
    with Simulator(["SCADA=DINT[1000]"], Settings(limits=Limits(stuck_s=0.5))) as plc:
        flood_without_reading(plc)
        assert plc.endpoint is not None
        assert plc.endpoint.rejected["stuck"] == 1


def flood_without_reading(plc: Simulator) -> None:
    """Send reads of long replies until the connection is cut."""
    peer = Peer(plc)
    with peer.socket:
        peer.socket.setblocking(False)
        batch = rr(read("SCADA", 122), peer.session) * 50
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() < deadline:
                try:
                    peer.socket.send(batch)
                except BlockingIOError:
                    with Peer(plc).socket:  # others are served meanwhile
                        select.select([], [peer.socket], [], 0.05)
            pytest.fail("it was not cut")


def test_half_open_connections_give_way_to_new_ones(plc: Simulator) -> None:
    idle = [Peer(plc, register=False) for _ in range(60)]
    try:
        with Peer(plc).socket:
            pass
        assert plc.endpoint is not None
        assert plc.endpoint.rejected["gave_way"] >= 1
    finally:
        for peer in idle:
            peer.socket.close()


def test_session_that_registered_does_not_give_way(plc: Simulator) -> None:
    keeper = Peer(plc)
    with keeper.socket:
        idle = [Peer(plc, register=False) for _ in range(60)]
        assert reply_of(keeper.ask(rr(READ, keeper.session))).status == 0
        for peer in idle:
            peer.socket.close()


def test_session_that_never_asked_makes_room_and_the_one_that_asks_stays() -> None:
    with Simulator(["SCADA=DINT[1000]"], Settings(limits=Limits(connections=20))) as plc:
        keeper = Peer(plc)
        with keeper.socket, contextlib.ExitStack() as stack:
            assert reply_of(keeper.ask(rr(READ, keeper.session))).status == 0
            for _ in range(60):
                newcomer = Peer(plc)
                stack.enter_context(newcomer.socket)
                assert newcomer.session
            assert reply_of(newcomer.ask(rr(READ, newcomer.session))).status == 0
            assert reply_of(keeper.ask(rr(READ, keeper.session))).status == 0
            assert plc.endpoint is not None
            assert plc.endpoint.rejected["gave_way"] == 41


def test_sessions_that_ask_do_not_give_way_until_they_are_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulator(["SCADA=DINT[1000]"], Settings(limits=Limits(connections=3))) as plc:
        peers = [Peer(plc) for _ in range(3)]
        with contextlib.ExitStack() as stack:
            for peer in peers:
                stack.enter_context(peer.socket)
                assert reply_of(peer.ask(rr(READ, peer.session))).status == 0
            refused = Peer(plc, register=False)
            with refused.socket:
                assert refused.closed()
            monkeypatch.setattr(enip_endpoint, "GIVES_WAY_S", 0.0)
            with Peer(plc).socket:
                assert peers[0].closed(), "the one that has been silent for longest"
            assert reply_of(peers[2].ask(rr(READ, peers[2].session))).status == 0


@pytest.mark.parametrize(("configured", "most"), [({}, 20), ({"per_address": 3}, 3)])
def test_limit_of_one_address_holds_on_loopback_where_it_is_configured(
    configured: dict[str, Any], most: int
) -> None:
    limits = Limits.configured(configured)
    with Simulator(["N=DINT"], Settings(limits=limits)) as plc, contextlib.ExitStack() as stack:
        for _ in range(most):
            peer = Peer(plc)
            stack.enter_context(peer.socket)
            assert peer.session
        if configured:
            one_more = Peer(plc, register=False)
            stack.enter_context(one_more.socket)
            assert one_more.closed()
            assert plc.endpoint is not None
            assert plc.endpoint.rejected["per_address"] == 1
            assert peer.silent()


def test_connection_that_never_registers_is_closed() -> None:
    with Simulator(["N=DINT"], Settings(limits=Limits(unregistered_s=0.1))) as plc:
        peer = Peer(plc, register=False)
        with peer.socket:
            assert peer.closed()


def test_ten_thousand_pipelined_requests_come_back_in_order(plc: Simulator) -> None:
    peer = Peer(plc)
    with peer.socket:
        contexts = [struct.pack("<Q", number) for number in range(2000)]
        got = b""
        for at in range(0, len(contexts), 100):
            chunk = contexts[at : at + 100]
            peer.socket.sendall(b"".join(rr(read("N"), peer.session, one) for one in chunk))
            wanted = len(got) + 100 * 50
            while len(got) < wanted:
                got += peer.socket.recv(65536)
        assert [item[12:20] for item in frames(got)] == contexts


def test_unknown_names_leave_nothing_behind(plc: Simulator) -> None:
    peer = Peer(plc)
    with peer.socket:
        for number in range(300):
            peer.ask(rr(read(f"nothing_{number}"), peer.session))
        assert len(plc.target.replies.entries) < 100
