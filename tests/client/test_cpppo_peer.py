"""Our client and commands against cpppo's simulator: documented shell lines, ours for theirs."""

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cpppod import client
from tests.patience import PATIENCE_S
from tests.peers import cpppo_python
from tests.ports import free_port

TAGS = (
    "SCADA=INT[1000] TEXT=SSTRING[100] FLOAT=REAL FLOATX@22/1/3=REAL Tag=DINT[10] "
    "Motor_Velocity@0x93/3/10=REAL Volume=REAL Temperature=REAL BIG=DINT[10000] "
    "Blob@0x4/0x96/3=INT[18]"
)


@contextlib.contextmanager
def cpppo_server(*options: str) -> Iterator[str]:
    """The address of cpppo's simulator, running in its own environment."""
    address = f"127.0.0.1:{free_port()}"
    command = [cpppo_python(), "-m", "cpppo.server.enip", "-a", address, *options, *TAGS.split()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host, port = address.split(":")
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection((host, int(port)), 1.0).close()
                break
            except OSError:
                assert process.poll() is None, "cpppo's simulator did not start"
                assert time.monotonic() < deadline, "cpppo's simulator does not listen"
                time.sleep(0.1)  # nothing can be awaited: it prints when it has bound, not serves
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with cpppo_server() as address:
        host, port = address.split(":")
        connection = client.connector(host, int(port), timeout=PATIENCE_S)
        texts = ["SCADA[1]=99", "FLOAT=1.5", "FLOATX=1.0", "Motor_Velocity=1.0"]
        assert connection.process(texts)[0] == 0  # no line depends on those before it
        connection.close()
        yield address


@pytest.fixture(scope="module")
def simple_server() -> Iterator[str]:
    with cpppo_server("-S") as address:
        yield address


STAMP = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}: "
LINES = [
    # (documented command line, expected standard output as a regular expression, exit status)
    (
        "enip_client -v --print SCADA[1]=99 SCADA[0-10] 'TEXT[1]=(SSTRING)\"Hello, world!\"' "
        "TEXT[0-3]",
        r" +SCADA\[1\]\[  1-1  \]\+  0 <= \[99\]: 'OK'\n"
        r" +SCADA\[0\]\[  0-10 \]\+  0 == \[0, 99(, 0){9}\]: 'OK'\n"
        r" +TEXT\[1\]\[  1-1  \]\+  0 <= \['Hello, world!'\]: 'OK'\n"
        r" +TEXT\[0\]\[  0-3  \]\+  0 == \['', 'Hello, world!', '', ''\]: 'OK'\n",
        0,
    ),
    ("enip_client SCADA[1]=99 SCADA[0-10]", "", 0),
    ("enip_client --no-print SCADA", "", 0),
    ("enip_client --print --no-fragment SCADA", r" +SCADA +== \[\d+\]: 'OK'\n", 0),
    ("enip_client -p --fragment SCADA[1]", r" +SCADA\[1\]\[  1-1  \]\+  0 == \[99\]: 'OK'\n", 0),
    ("enip_client -p -m -d 3 FLOAT=1.5 FLOAT", r"(?s).*FLOAT +<= \[1.5\].*FLOAT +== \[1.5\].*", 0),
    ("enip_client -p -c SCADA[1]", r" +SCADA\[1\]\[  1-1  \]\+  0 == \[99\]: 'OK'\n", 0),
    ("enip_client -p -r 3 FLOAT", r"( +FLOAT +== \[1.5\]: 'OK'\n){3}", 0),
    ("enip_client -p --route-path 1/0 FLOAT", r" +FLOAT +== \[1.5\]: 'OK'\n", 0),
    (
        """enip_client -p --route-path '[{"port": 1, "link": 0}]' FLOAT""",
        r" +FLOAT +== \[1.5\]: 'OK'\n",
        0,
    ),
    (
        """enip_client -p --route-path '{"port": 1, "link": 0}' FLOAT""",
        r" +FLOAT +== \[1.5\]: 'OK'\n",
        0,
    ),
    ("enip_client -p --send-path='' --route-path=false FLOAT", r" +FLOAT +== \[1.5\]: 'OK'\n", 0),
    ("enip_client -p -S FLOAT", r" +FLOAT +== \[1.5\]: 'OK'\n", 0),
    (
        "enip_client -p --timeout-ticks 63 --priority-time-tick 5 -t 4 FLOAT",
        r" +FLOAT +== \[1.5\]: 'OK'\n",
        0,
    ),
    ("enip_client -p @0x02/1/1", r" +@0x0002/1/1 +== \[\d+\]: 'OK'\n", 0),
    (
        "enip_client -p 'Tag[0-9]+16=(DINT)4,5,6,7,8,9' 'Tag[3-5]'",
        r" +Tag\[0\]\[  0-9  \]\+ 16 <= \[4, 5, 6, 7, 8, 9\]: 'OK'\n"
        r" +Tag\[3\]\[  3-5  \]\+  0 == \[0, 4, 5\]: 'OK'\n",
        0,
    ),
    (
        "enip_client -p SCADA[1000]",
        r" +SCADA\[1000\]\[1000-1000\]\+  0 == None: 'Status 255 \[8453\]'\n",
        1,
    ),
    (
        "enip_client -p SCADA[0]=(REAL)1.0",
        r" +SCADA\[0\]\[  0-0  \]\+  0 <= None: 'Status 255 \[8455\]'\n",
        1,
    ),
    ("enip_client --list-identity", r'(?s)List Identity  0 from .*product_name": "1756-L61/B.*', 0),
    ("enip_client --udp --list-services --list-interfaces", r"(?s)List Services  0 from .*", 0),
    ("enip_client --udp --legacy 0x0001", r"(?s)Legacy 0x0001  0 from .*legacy_CPF_0x0001.*", 0),
    (
        "enip_get_attribute '@0x93/3/10=(REAL)1.0' '@0x93/3/10'",
        STAMP
        + r"  0: Single S_A_S      @0x0093/3/10 == True\n"
        + STAMP
        + r"  1: Single G_A_S      @0x0093/3/10 == \[0, 0, 128, 63\]\n",
        0,
    ),
    (
        "enip_get_attribute --depth 3 -v '@1/1' '@1/1/7'",
        STAMP
        + r"  0: Single G_A_A      @0x0001/1 == \[1, 0, 14, 0, 54, 0, 20, 11, .*255, 0, 0, 0\]\n"
        + STAMP
        + r"  1: Single G_A_S      @0x0001/1/7 == \[20, 49, .*, 54, 49\]\n",
        0,
    ),
    ("enip_client -p Motor_Velocity", r" +Motor_Velocity +== \[1.0\]: 'OK'\n", 0),
    (
        "enip_get_attribute '@22/1/3=(REAL)1.0' '@22/1/3'",
        r"(?s).*@0x0016/1/3 == True\n.*@0x0016/1/3 == \[0, 0, 128, 63\]\n",
        0,
    ),
    ("enip_client -p FLOATX", r" +FLOATX +== \[1.0\]: 'OK'\n", 0),
    ("enip_list_services", r'(?s).*"enip.command": 4.*"Communications".*', 0),
    (
        "enip_list_services --udp --list-identity",
        r'(?s).*identity_object.product_name": "1756-L61/B LOGIX5561".*',
        0,
    ),
    (
        "enip_thruput Volume Temperature --repeat 25",
        r"(?s).*: +\d+: \[0.0\]\n 50 operations using  50 requests in .* depth  0; .* TPS\n",
        0,
    ),
    (
        "enip_thruput Volume Temperature --repeat 25 --depth 20",
        r"(?s).* 50 operations using  50 requests in .* depth 20; .* TPS\n",
        0,
    ),
    (
        "enip_thruput Volume Temperature --repeat 25 --depth 20 --multiple 250",
        r"(?s).* 50 operations using +\d requests in .* depth 20; .* TPS\n",
        0,
    ),
    ("enip_client -p A[1", "", 2),
    ("enip_client --json FLOAT", r'\{"operation": "FLOAT", .*"value": \[1.5\], "status": 0.*\n', 0),
    ("enip_client --csv SCADA[0-1]", r"operation,.*\nSCADA\[0-1\],read,0,.*,0,99\n", 0),
]


@pytest.mark.parametrize(("line", "expected", "status"), LINES, ids=[line for line, _, _ in LINES])
def test_a_documented_line_does_what_is_documented(
    server: str, line: str, expected: str, status: int
) -> None:
    command, *arguments = shlex.split(line)
    done = subprocess.run(
        [sys.executable, "-m", f"cpppod.commands.{command}", "-a", server, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert re.fullmatch(expected, done.stdout), f"{done.stdout}\n{done.stderr}"
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) or not status


POLLS = [
    ("enip_poll -S 'Motor Velocity'", r" Motor Velocity: \[[\d.]+\]\n"),
    ("enip_poll --route-path 1/0 -g proxy Identity", r"       Identity: \[1, 14, .*, 255\]\n"),
    ("enip_poll -g ab.powerflex_750_series 'Product Name'", r"   Product Name: \['1756.*'\]\n"),
    ("enip_poll -g proxy -p FLOAT -d 2 -m", r"          FLOAT: \[[\d.]+\]\n"),
    ("enip_poll -g proxy --json 'Product Name'", r'\{"parameter": "Product Name", "value": .*\n'),
]


@pytest.mark.parametrize(("line", "expected"), POLLS, ids=[line for line, _ in POLLS])
def test_enip_poll_prints_until_it_is_interrupted(server: str, line: str, expected: str) -> None:
    command, *arguments = shlex.split(line)
    process = subprocess.Popen(
        [sys.executable, "-m", f"cpppod.commands.{command}", "-a", server, "-c", "0.1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        seen = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert all(re.fullmatch(expected, text) for text in seen), seen
    assert (process.returncode, re.sub(r".* Missed +\d+ polls\n", "", errors)) == (0, "")


def test_a_simple_device_is_spoken_to_without_routing(simple_server: str) -> None:
    host, port = simple_server.split(":")
    connection = client.connector(
        host, int(port), timeout=PATIENCE_S, route_path=False, send_path=""
    )
    operations = client.attribute_operations(["@0x4/0x96/3 = (INT)512" + ",0" * 17, "@0x4/0x96/3"])
    assert connection.process(operations)[1] == [True, [0, 2, *[0] * 34]]
    connection.close()


@pytest.mark.parametrize("kind", [client.connector, client.implicit])
def test_long_arrays_go_there_and_back(server: str, kind: type[client.Connector]) -> None:
    host, port = server.split(":")
    connection = kind(host, int(port), timeout=PATIENCE_S)
    values = list(range(2000))
    operation = {"method": "write", "path": "BIG[0]", "tag_type": 0xC4, "data": values}
    read = {"path": "BIG[0]", "elements": 2000}
    assert connection.process([operation, read], depth=5)[1] == [True, values]
    connection.close()


def test_packets_are_understood(server: str) -> None:
    host, port = server.split(":")
    connection = client.connector(host, int(port), timeout=PATIENCE_S)
    tags = [f"SCADA[{number}]" for number in range(100)]
    assert connection.process(tags, multiple=500, depth=3)[0] == 0
    assert len(connection.read_tags(tags)) == 100
    connection.close()
