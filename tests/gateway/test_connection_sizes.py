"""Foreign clients on connections of every size through a route, to a controller that grants them.

The campaign has every size from 100 to 4,002; the suite those at which something changes.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pycomm3 import LogixDriver
from pylogix import PLC

from cpppod.simulator import Settings, Simulator
from tests.gateway.running import RunningGateway
from tests.patience import PATIENCE_S
from tests.peers import cpppo_python

LENGTH = 70  # DINTs: more than the smallest connections hold, which take it in fragments
ROUTE = """
[[route]]
path = "1/3"
address = "{host}:{port}"
"""
SOME = (100, 101, 255, 256, 257, 499, 500, 504, 505, 511, 512, 513, 1_000, 3_999, 4_000, 4_002)
ALL = range(100, 4_003)
PYLOGIX_LEAST = 118  # below it pylogix itself divides by zero, whoever the controller is
PYCOMM3_FORGETS = 8  # bytes around a reply: it asks for what cannot fit, of any controller
CPPPO = """
import json, sys
from cpppo.dotdict import dotdict
from cpppo.server.enip import client
host, port, sizes = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
path = [{"port": 1, "link": 3}, {"class": 2}, {"instance": 1}]
for size in sizes:
    ends = [dotdict(size=size, variable=1, type=2, priority=0, redundant=0, RPI=2000000,
                    large=size > 511) for _ in range(2)]
    connection = client.implicit(host, port=port, timeout=20, connection_path=path, O_T=ends[0],
                                 T_O=ends[1])
    operations = client.parse_operations(["Big[0-4]", "Big[5]=(DINT)%d" % size, "Big[5]"])
    with connection:
        print(json.dumps([value for *_, value in connection.synchronous(operations)]), flush=True)
    connection.close()
"""


@pytest.fixture(scope="module")
def routed(gateway: RunningGateway) -> Iterator[tuple[str, int]]:
    """Where the gateway listens; a controller is at the end of its route 1/3."""
    before = gateway.configuration.read_text()
    with Simulator([f"Big=DINT[{LENGTH}]"], Settings(udp=False)) as device:
        device["Big"] = list(range(LENGTH))
        host, port = device.address
        gateway.configuration.write_text(before + ROUTE.format(host=host, port=port))
        try:
            assert gateway.ask("reload")["applied"]
            gateway.wait_until_well()
            yield gateway.address(44818)
        finally:
            gateway.configuration.write_text(before)
            gateway.ask("reload")
            gateway.wait_until_well()


def pylogix(address: tuple[str, int], sizes: Sequence[int]) -> None:
    for size in sizes:
        if size < PYLOGIX_LEAST:
            continue
        with PLC(address[0], port=address[1]) as plc:
            plc.ProcessorSlot, plc.ConnectionSize = 3, size
            written = plc.Write("Big[5]", size)
            read = plc.Read("Big", LENGTH)
        assert (written.Status, read.Status) == ("Success", "Success"), size
        assert read.Value == [*range(5), size, *range(6, LENGTH)], size


def pycomm3(address: tuple[str, int], sizes: Sequence[int]) -> None:
    path = f"{address[0]}:{address[1]}/bp/3"
    with LogixDriver(path) as plc:
        known: Any = plc._tags
    for size in sizes:
        plc = LogixDriver(path, init_tags=False, init_program_tags=False)
        plc._cfg |= {"connection_size": size, "extended forward open": size > 511}
        plc._tags = known
        with plc:
            written = plc.write(("Big[5]", size))
            count = LENGTH - 2 if 0 <= size - 4 * LENGTH < PYCOMM3_FORGETS else LENGTH
            read = plc.read(f"Big{{{count}}}")
        assert (written.error, read.error) == (None, None), size
        assert plc.connection_size == size
        assert read.value == [*range(5), size, *range(6, count)], size


def cpppo(address: tuple[str, int], sizes: Sequence[int]) -> None:
    done = subprocess.run(
        [cpppo_python(), "-c", CPPPO, address[0], str(address[1]), json.dumps(list(sizes))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S + len(sizes),
        check=False,
    )
    assert not done.returncode, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [[[0, 1, 2, 3, 4], True, [size]] for size in sizes]


CLIENTS = [pylogix, pycomm3, cpppo]


@pytest.mark.parametrize("client", CLIENTS)
def test_client_reads_and_writes_over_a_connection_of_any_size_through_a_route(
    routed: tuple[str, int], client: Any
) -> None:
    client(routed, SOME)


@pytest.mark.campaign
@pytest.mark.parametrize("client", CLIENTS)
def test_client_reads_and_writes_over_a_connection_of_every_size_through_a_route(
    routed: tuple[str, int], client: Any
) -> None:
    client(routed, ALL)
