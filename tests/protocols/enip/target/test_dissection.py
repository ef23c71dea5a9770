"""What tshark makes of refusals: its dissector is a reading of the specification by others."""

import struct
import subprocess
from pathlib import Path

import pytest

from cpppod.protocols.cip.epath import Port
from cpppod.protocols.cip.route_table import RoutePolicy
from tests.enip_frames import forward_open, packet, read, request, routed, rr
from tests.patience import PATIENCE_S
from tests.peers import program
from tests.protocols.enip.target.test_session import Client, make_target

RAW_IP = 101  # of libpcap's link types: packets begin with the IP header
CLIENT, TARGET = ((10, 0, 0, 1), 50_000), ((10, 0, 0, 2), 44_818)


def capture(path: Path, request: bytes, reply: bytes) -> None:
    """A capture file of one request and its reply, over TCP."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, RAW_IP)
    for source, to, sequence, confirmed, data in (
        (CLIENT, TARGET, 1, 1, request),
        (TARGET, CLIENT, 1, 1 + len(request), reply),
    ):
        ports = (source[1], to[1], sequence, confirmed, 0x50, 0x18, 65_535, 0, 0)
        tcp = struct.pack(">HHIIBBHHH", *ports) + data
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0)
        whole = head + bytes(source[0]) + bytes(to[0]) + tcp
        out += struct.pack("<IIII", 0, 0, len(whole), len(whole)) + whole
    path.write_bytes(out)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(routed(read("N"), "1/5"), id="link"),
        pytest.param(routed(read("N"), "2/5"), id="port"),
        pytest.param(routed(read("N"), "/".join(["1/3", *["1/0"] * 7])), id="long_way"),
        pytest.param(routed(read("N"), "/".join(["1/0"] * 9)), id="too_many_hops"),
        pytest.param(routed(routed(read("N"), "1/0"), "1/0"), id="nested"),
        pytest.param(routed(read("Nope"), "1/0"), id="tag"),
        pytest.param(routed(packet([read("N"), read("Nope")]), "1/0"), id="packet"),
        pytest.param(request(0x52, "Nope", struct.pack("<HI", 1, 0)), id="fragment"),
        pytest.param(forward_open(size=4), id="size"),
        pytest.param(forward_open(path="1/0/@4/100"), id="path"),
    ],
)
def test_refusals_dissect_whole(message: bytes, tmp_path: Path) -> None:
    client = Client(make_target(policy=RoutePolicy(local=(Port(1, 0),))))
    sent = rr(message, client.handle)
    file = tmp_path / "refusal.pcap"
    capture(file, sent, client.session.receive_data(sent, 0.0))
    shown = subprocess.run(
        [program("tshark"), "-r", str(file), "-V"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout
    assert shown.count("EtherNet/IP (Industrial Protocol)") == 2
    assert "alformed" not in shown
