"""A plant and a gateway that have IPv6 addresses alone: every way in, and every way to a device."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cpppod.client import connector
from cpppod.feed import subscribe
from cpppod.simulator import Settings, Simulator, TagError
from cpppod.simulator.files import addresses
from tests.gateway.running import RunningGateway, eventually
from tests.gateway.running import Simulator as SimulatedDevice
from tests.patience import PATIENCE_S
from tests.ports import free_port

PORTS = ("modbus", "plc", "listener", "publish", "snapshot", "metrics", "web")
CONFIGURATION = """
[gateway]
cpppo_cfg = false
[[listener]]
address = "[::1]:{listener}"
[[route]]
path = "1/1"
device = "plc"
[feed]
publish = "[::1]:{publish}"
snapshot = "[::1]:{snapshot}"
[metrics]
address = "[::1]:{metrics}"
[web]
enabled = true
address = "[::1]:{web}"
[device.boiler]
driver = "modbus-tcp"
address = "[::1]:{modbus}"
[[device.boiler.group]]
name = "all"
period = "200ms"
tags = [ {{ name = "level", address = 40001, type = "UINT" }} ]
[device.plc]
driver = "enip"
address = "[::1]:{plc}"
[[device.plc.group]]
name = "all"
period = "200ms"
tags = [ {{ name = "Total", address = "Total", type = "DINT" }} ]
"""


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in PORTS}


@pytest.fixture(scope="module")
def gateway(ports: dict[str, int]) -> Iterator[RunningGateway]:
    gateway = RunningGateway()
    with ExitStack() as stack:
        stack.callback(gateway.stop)
        plc = Simulator(["Total=DINT"], Settings(address=f"[::1]:{ports['plc']}"))
        stack.enter_context(plc)["Total"] = 1234
        words = ["modbus_sim", "-a", f"[::1]:{ports['modbus']}", "40001=77"]
        log = gateway.folder / "boiler.log"
        gateway.simulators["boiler"] = SimulatedDevice("boiler", words, log)
        gateway.start(configuration=CONFIGURATION.format(**ports))
        yield gateway


def test_devices_are_polled_and_the_listener_answers(
    gateway: RunningGateway, ports: dict[str, int]
) -> None:
    assert eventually(lambda: gateway.value("boiler.level")) == 77
    assert eventually(lambda: gateway.value("plc.Total")) == 1234
    with connector("::1", ports["listener"], timeout=PATIENCE_S) as connection:
        assert connection.read_tags(["boiler.level", "plc.Total"]) == [77, 1234]
        assert str(connection).startswith(f"[::1]:{ports['listener']}[")
    with connector("::1", ports["listener"], timeout=PATIENCE_S, route_path="1/1") as routed:
        assert routed.read_tags(["Total"]) == [1234]


def test_feed_metrics_and_web_answer(gateway: RunningGateway, ports: dict[str, int]) -> None:
    update = next(iter(subscribe(f"tcp://[::1]:{ports['publish']}", "boiler/*")))
    assert update.values["level"].value == 77
    page = urllib.request.urlopen(f"http://[::1]:{ports['metrics']}/metrics", timeout=PATIENCE_S)
    assert b'device="boiler"' in page.read()
    web = urllib.request.urlopen(f"http://[::1]:{ports['web']}/", timeout=PATIENCE_S)
    assert web.status == 200


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["enip_client", "--print", "-a", "[::1]:{listener}", "boiler.level"], "77"),
        (["enip_client", "--udp", "--list-identity", "-a", "[::1]:{plc}"], "('::1', "),
        (["enip_list_services", "--udp", "--list-identity", "-a", "[::1]:{plc}"], '"::1"'),
        (["enip_get_attribute", "-a", "[::1]:{plc}", "@1/1/1"], "@0x0001/1/1"),
        (["enip_thruput", "-a", "[::1]:{plc}", "-r", "3", "Total"], "3 operations"),
        (["cpppod", "tags", "browse", "[::1]:{plc}"], "Total"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_command_reaches_it(
    gateway: RunningGateway, ports: dict[str, int], words: list[str], shown: str
) -> None:
    program, *rest = (word.format(**ports) for word in words)
    done = subprocess.run(
        [sys.executable, "-m", f"cpppod.commands.{program}", *rest],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_simulated_controllers_have_a_range_of_addresses() -> None:
    assert addresses("[fd00::9]-[fd00::b]:5") == ["[fd00::9]:5", "[fd00::a]:5", "[fd00::b]:5"]
    for text in ("[fd00::b]-[fd00::9]:5", "10.0.0.1-[fd00::9]:5", "[fd00::]-[fd01::]:5"):
        with pytest.raises(TagError, match="not a range"):
            addresses(text)


def test_every_ipv6_address_is_no_ipv4_address() -> None:
    with Simulator(["N=DINT"], Settings(address=f"[::]:{free_port()}")) as plc:
        with connector("::1", plc.address[1], timeout=PATIENCE_S) as connection:
            assert connection.read_tags(["N"]) == [0]
        with pytest.raises(OSError):
            connector("127.0.0.1", plc.address[1], timeout=PATIENCE_S)
