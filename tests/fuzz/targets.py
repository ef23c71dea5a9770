"""What is fuzzed: every decoder of the EtherNet/IP target, a session as a whole, what is read back
from disks (journals, history files), what subscribers ask the feed; and
the asking sides (`clients`).

A target takes any bytes. It may refuse them by a `ProtocolError`; anything else that it raises, a
reply that does not decode, or more than `BUDGET_S` of processor time for one input is a finding.
"""

import io
import time
from collections.abc import Callable

from cpppod.history.files import DataError, lines, parse_record
from cpppod.history.loader import _register as register
from cpppod.history.loader import _values as registers
from cpppod.protocols.bus import feed
from cpppod.protocols.bus.feed_requests import decode_reply, decode_request
from cpppod.protocols.bus.groups import ReplyGroup
from cpppod.protocols.bus.journal import (
    Kind,
    Record,
    decode_hole,
    decode_segment,
    decode_stop,
    scan,
)
from cpppod.protocols.bus.replay import ReplayRing
from cpppod.protocols.cip import connection_manager, epath, structures, types
from cpppod.protocols.cip.image import Reply, Variable
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest
from cpppod.protocols.cip.objects.pccc import pccc_class
from cpppod.protocols.cip.request import CallNeeded, ForwardNeeded, Origin
from cpppod.protocols.cip.route_table import RoutePolicy, split_packet
from cpppod.protocols.cip.symbols import declare
from cpppod.protocols.cip.target import Target
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip import cpf, discovery
from cpppod.protocols.enip.encapsulation import HEADER, FrameReader
from cpppod.protocols.enip.target.list_commands import answer_datagram
from cpppod.protocols.enip.target.session import Session
from cpppod.protocols.model.errors import ProtocolError
from cpppod.workers.feed.exchange import Exchange
from cpppod.workers.historian.stores.sqlite.store import day_of
from cpppod.workers.journal.reader import reading_of
from tests.fuzz.clients import CLIENTS

BUDGET_S = 0.05
HANDLE = 7
_REGISTER = HEADER.pack(0x65, 4, 0, 0, bytes(8), 0) + b"\1\0\0\0"


def make_target() -> Target:
    """A controller with a tag of each kind."""
    ids = iter(range(0x5000, 1 << 31))
    target = Target(
        random_u32=lambda: next(ids),
        clock_us=lambda: 0,
        policy=RoutePolicy(epath.parse_route_path("1/0"), forwards=True),
    )
    point = structures.define(
        "Point",
        [("x", types.REAL, 0), ("on", types.BOOL, 0), ("n", types.INT, 5)],
        template_id=target.symbols.allotment.template("point"),
    )
    for variable in (
        Variable("SCADA", types.INT, (1000,)),
        Variable("TEXT", types.SSTRING, (4,)),
        Variable("LONG", types.STRING, (4,)),
        Variable("S", structures.STRING),
        Variable("P", point, (3,)),
        Variable("Cube", types.DINT, (2, 3, 4)),
        Variable("B", types.BOOL),
        Variable("Program:Main.X", types.LREAL),
        declare("Bits", types.BOOL, (96,)),
    ):
        target.add_tag(variable)
    target.add_class(pccc_class("1747-L552/C"))
    return target


def encapsulation(data: bytes) -> None:
    """The frame reader and the datagrams."""
    reader = FrameReader(4096)
    reader.receive_data(data)
    while reader.next_frame() is not None:
        pass
    answer_datagram(_TARGET, data, "10.0.0.1", 44818)


def common_packet_format(data: bytes) -> None:
    """Items, and what stands in those of the list replies."""
    for decode in (cpf.UnconnectedMessage.decode, cpf.ConnectedMessage.decode):
        try:
            decode(data)
        except ProtocolError:
            pass
    for item in cpf.decode_items(data):
        for kind in (discovery.IdentityItem, discovery.ServiceItem, discovery.LegacyItem):
            try:
                kind.decode(item)
            except ProtocolError:
                pass


def paths(data: bytes) -> None:
    """EPATHs: what is read is written and read again the same, and has a text."""
    segments = epath.decode(data)
    epath.to_text(segments)
    try:
        raw = epath.encode(segments)
    except ProtocolError:
        return
    assert epath.decode(raw) == segments


def services(data: bytes) -> None:
    """One request to a target, and each decoder of a service's data."""
    origin = Origin(_TARGET.image, "10.0.0.1", session=_NOBODY)
    outcome = _TARGET.execute(data, origin)
    _TARGET.manager.drop_session(_NOBODY)
    if isinstance(outcome, Reply):
        outcome = outcome.render()
    if isinstance(outcome, bytes):
        MessageRouterReply.decode(outcome)
    for decode in (
        MessageRouterRequest.decode,
        UnconnectedSend.decode,
        connection_manager.ForwardClose.decode,
        split_packet,
        types.unpack_tag,
        lambda raw: connection_manager.ForwardOpen.decode(raw, large=False),
        lambda raw: connection_manager.ForwardOpen.decode(raw, large=True),
    ):
        try:
            decode(data)
        except ProtocolError:
            pass


def pccc(data: bytes) -> None:
    """PCCC commands on data files."""
    found = _TARGET.classes[0x67]
    reply = found.services[0x4B](found.instances[1], data, Origin(_TARGET.image))
    assert isinstance(reply, bytes)
    MessageRouterReply.decode(reply)


def session(data: bytes) -> None:
    """A registered session; the first byte says in what pieces the rest arrives."""
    peer = Session(
        _TARGET,
        address="10.0.0.1",
        local=("10.0.0.2", 44818),
        random_u32=lambda: HANDLE,
        now=0.0,
    )
    peer.receive_data(_REGISTER, 0.0)
    step = (data[0] if data else 0) * 8 + 1
    out = b""
    for at in range(1, len(data), step):
        out += peer.receive_data(data[at : at + step], at / 10)
        commands, peer.commands = peer.commands, []
        for ticket, command in commands:
            out += peer.complete(ticket, _result(command), at / 10)
        for group in peer.departures.take_groups():
            replies = [b"\xcc\0\0\0"] * group.count
            peer.departures.replied(ReplyGroup.of(group.id, 0, replies), at / 10)
        out += peer.take_output(at / 10)
    while out:
        _, length, *_ = HEADER.unpack_from(out)
        assert len(out) >= HEADER.size + length
        out = out[HEADER.size + length :]
    peer.close()


def journal(data: bytes) -> None:
    """A journal segment: its head, then its records, each as its kind is read."""
    try:
        decode_segment(data)
    except ProtocolError:
        pass
    records, end, _ = scan(data)
    assert 0 <= end <= len(data)
    for record in records or (Record(Kind.BLOCK, 1, 1, b"boiler/fast/", data),):
        for decode in (decode_hole, decode_stop):
            try:
                decode(record.body)
            except ProtocolError:
                pass
        try:
            feed.decode(record.body)
            feed.gateway_of(record.body)
            reading = reading_of("p", record)
        except ProtocolError:
            continue
        days = {day_of(reading.gateway_us): [reading]}
        assert len(reading.tags) == len(reading.values) and days


def feed_requests(data: bytes) -> None:
    """What a subscriber asks, answered by a feed, and a page as a subscriber reads it."""
    decode_reply(_EXCHANGE.answer(data))
    try:
        decode_reply(data)
    except ProtocolError:
        pass
    decode_request(data)


def history(data: bytes) -> None:
    """Lines of a history file, and the registers in them."""
    for line in lines(io.BytesIO(data)):
        try:
            record = parse_record(line)
            if record is not None:
                for name in registers(record.time, record.text) or {}:
                    register(name)
        except DataError:
            continue


def _result(command: object) -> object:
    if isinstance(command, ForwardNeeded):
        return b"\xcc\0\0\0"
    if isinstance(command, CallNeeded):
        return RuntimeError("no")
    return (0, [])


_TARGET = make_target()
_NOBODY = object()
_EXCHANGE = Exchange(5, ReplayRing(max_bytes=10_000, max_age_s=60.0), "gw-a")
TARGETS: dict[str, Callable[[bytes], None]] = {
    "encapsulation": encapsulation,
    "cpf": common_packet_format,
    "epath": paths,
    "services": services,
    "pccc": pccc,
    "session": session,
    "journal": journal,
    "feed": feed_requests,
    "history": history,
    **CLIENTS,
}


def run(name: str, data: bytes) -> None:
    """One input; refusals are fine, all else is a finding."""
    begun = time.process_time()
    try:
        TARGETS[name](data)
    except ProtocolError:
        pass
    spent = time.process_time() - begun
    assert spent < BUDGET_S * 10, f"{spent:.3f} s for {len(data)} bytes"
