"""Controllers that programs of cpppo's make: attributes, objects and routes, served by ours."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cpppo.dotdict import apidict, dotdict
from cpppo.server import enip
from cpppo.server.enip import client, device, hart, logix, pccc, ucmm
from cpppo.server.enip.get_attribute import proxy_simple
from cpppo.server.enip.main import main, tags
from pycomm3 import LogixDriver
from pylogix import PLC

from cpppod.client import connector
from cpppod.compat import Replaced
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def _own_objects() -> Iterator[None]:
    """Objects are the process': each test has its own."""
    device.lookup_reset()
    yield
    device.lookup_reset()


@contextlib.contextmanager
def served(*arguments: str, **how: Any) -> Iterator[tuple[str, int]]:
    """Where `main` serves in a thread, until the block ends."""
    control = dotdict(latency=0.01)
    argv = ["-a", "127.0.0.1:0", "-U", "--no-config", *arguments]
    keywords = {"argv": argv, "server": {"control": control}, **how}
    thread = threading.Thread(target=main, kwargs=keywords, daemon=True)
    thread.start()
    try:
        yield awaited(lambda: control.get("address"))
    finally:
        control["done"] = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def awaited(predicate: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while not (found := predicate()):
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


class Doubled(enip.Attribute):  # type: ignore[misc]
    """Reads as twice what is there; negative values are refused."""

    seen: list[Any]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.seen = [(self.name, type(self.parser).__name__, self.scalar, len(self))]

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        if self._validate_key(key) is slice:
            return [2 * item for item in value]
        return 2 * value

    def __setitem__(self, key: Any, value: Any) -> None:
        self.seen.append((key, value))
        if min(value if isinstance(value, list) else [value]) < 0:
            raise ValueError("negative")
        super().__setitem__(key, value)


def test_an_attribute_of_the_user_s_serves_pycomm3_and_pylogix() -> None:
    with served("Some=DINT[5]", "Rate=REAL", attribute_class=Doubled) as (host, port):
        with PLC(host) as plc:
            plc.conn.Port = plc.Port = port
            assert plc.Write("Some[1]", [1, 2, 3]).Status == "Success"
            assert plc.Read("Some", 5).Value == [0, 2, 4, 6, 0]
            assert plc.Write("Some[0]", -1).Status != "Success"
        with LogixDriver(f"{host}:{port}", init_program_tags=False) as driver:
            assert driver.write("Rate", 1.5) and driver.read("Rate").value == 3.0
            assert driver.read("Some{5}").value == [0, 2, 4, 6, 0]
        some = tags["Some"].attribute
        assert some.seen[0] == ("Some", "DINT", False, 5)
        assert some.seen[1] == (slice(1, 4), [1, 2, 3]) and isinstance(some, Doubled)


def test_attributes_are_made_with_the_keywords_given() -> None:
    arguments = ("One=INT", "Two=INT")
    with (
        served(*arguments, attribute_kwds={"error": 8}) as address,
        client.connector(*address) as connection,
    ):
        assert [item[4] for item in connection.pipeline(["One"])] == [8]
        tags["One"].attribute.error = 0
        assert connection.process(["One", "Two"]) == (1, [[0], None])


def test_tags_can_be_set_while_they_are_served() -> None:
    ran = threading.Event()

    def idle() -> None:
        ran.set()

    argv = ("Some Tag=REAL[3]", "Text=SSTRING", "Flag=BOOL")
    with served(*argv, idle_service=idle) as (host, port):
        assert ran.wait(PATIENCE_S)
        entry = tags["Some Tag"]
        entry.attribute[0:2] = [1.5, 2.5]
        tags["Text"].attribute[0] = "hello"
        kinds = [
            type(tags[name].attribute.parser).__name__ for name in ("Some Tag", "Text", "Flag")
        ]
        assert kinds == ["REAL", "SSTRING", "BOOL"] and len(entry.attribute) == 3
        assert entry.attribute.produce(0, 1) == b"\x00\x00\xc0\x3f"
        with client.connector(host=host, port=port) as connection:
            assert connection.process(["Some Tag[0-2]", "Text"])[1] == [[1.5, 2.5, 0.0], ["hello"]]


class Drive(enip.Object):  # type: ignore[misc]
    """Two instances of a class of the user's, whose attributes 9 and 10 are one."""

    class_id = 0x93

    def __init__(self, name: str | None = None, **keywords: Any) -> None:
        super().__init__(name, **keywords)
        if self.instance_id == 1:
            self.attribute["9"] = self.attribute["10"] = enip.Attribute(
                "Speed", enip.REAL, default=456.75
            )
        elif self.instance_id == 3:
            self.attribute["10"] = enip.Attribute("Ramp", enip.INT, default=[5, 6, 7])
            self.attribute["11"] = enip.Attribute("Hidden", enip.INT, default=1, mask=1)


class Simple(ucmm.UCMM):  # type: ignore[misc]
    """Requests without a route only."""

    route_path = False


def test_objects_of_the_user_s_are_served() -> None:
    for number in (0, 1, 3):
        Drive(instance_id=number)
    assert device.lookup(0x93, 1).name == "Drive"
    with served("Tag=INT", UCMM_class=Simple) as (host, port):
        via = proxy_simple(host, port=port, timeout=PATIENCE_S)
        wanted = [("@0x93/1/10", "REAL"), ("@0x93/3/10", "INT"), ("@0x93/1/9", enip.REAL)]
        assert list(via.read([*wanted, ("@0x93/3/11", "INT")])) == [
            [456.75],
            [5, 6, 7],
            [{"REAL": 456.75}],
            None,
        ]
        assert list(via.write(["@0x93/1/9=(REAL)1.5"], checking=True)) == [True]
        assert device.lookup(0x93, 1, 9).value == 1.5
        assert list(via.read(["@0x93/1/10", "@0x93/3/10[1]"])) == [[1.5], [6]]
        routed = [item[4] for item in connector(host, port).pipeline(["Tag"])]
        assert routed != [0]


def test_the_only_route_that_is_served() -> None:
    class Slot(ucmm.UCMM):  # type: ignore[misc]
        route_path = "1/3"

    with served("Tag=INT", UCMM_class=Slot) as address, client.connector(*address) as connection:
        operations = client.parse_operations(["Tag"], route_path="1/3")
        assert connection.process(operations)[0] == 0
        assert connection.process(["Tag"])[0] == 1


def test_a_route_to_another_controller() -> None:
    with served("Far=INT") as (host, port):

        class Routing(ucmm.UCMM):  # type: ignore[misc]
            route = {"1/1": f"{host}:{port}"}  # noqa: RUF012

        with (
            served("Near=INT", UCMM_class=Routing) as there,
            client.connector(*there) as connection,
        ):
            operations = client.parse_operations(["Far"], route_path="1/1")
            assert connection.process(operations) == (0, [[0]])
            assert connection.process(["Near"]) == (0, [[0]])


def test_a_controller_is_disabled_and_enabled_by_its_control() -> None:
    control = apidict(0.01, done=False, latency=0.01)
    arguments = ["-a", "127.0.0.1:0", "-U", "--no-config", "Tag=INT"]
    how = {"argv": arguments, "server": dotdict(control=control)}
    thread = threading.Thread(target=main, kwargs=how, daemon=True)
    thread.start()
    host, port = awaited(lambda: control.get("address"))
    connector(host, port).close()
    control["disable"] = True

    def refused() -> bool:
        try:
            connector(host, port, timeout=1.0).close()
        except OSError:
            return True
        return False

    assert awaited(refused)
    control["disable"] = False
    assert awaited(lambda: not refused())
    control["done"] = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_the_address_is_printed_as_programs_look_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served("-A", "Tag=INT") as (host, port):
        text = "Success; Started EtherNet/IP Simulator; PID = "
        awaited(lambda: text in (shown := capsys.readouterr().out) and f"= {host}:{port}" in shown)


def test_configuration_files_that_a_program_adds(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.cfg"
    file.write_text("[Identity]\nProduct Name = A drive\n")
    monkeypatch.setattr(enip.defaults, "config_files", [str(file)])
    with served("Tag=INT") as (host, port):
        via = proxy_simple(host, port=port, timeout=PATIENCE_S)
        with via:
            assert via.identity.product_name == via.instance["product_name"] == "A drive"


# Without a server


def test_attributes_by_themselves() -> None:
    scalar = enip.Attribute("One", enip.INT, default=5)
    array = enip.Attribute("Some", enip.DINT, default=[1, 2, 3])
    assert (scalar[0], scalar[0:1], len(scalar), scalar.value) == (5, [5], 1, 5)
    assert (array[1], array[0:2], array[:], len(array)) == (2, [1, 2], [1, 2, 3], 3)
    scalar[0], array[1:3], array[0] = 7, [8, 9], 4
    assert (scalar.value, array.value) == (7, [4, 8, 9])
    assert array.produce(2) == b"\x09\0\0\0" and "DINT[   3]" in str(array)
    assert array._validate_key(slice(0, 2)) is slice and array._validate_key(1) is int
    for key in (3, slice(0, 4), slice(2, 2), "x"):
        with pytest.raises(KeyError):
            array._validate_key(key)
    scalar[0:1] = [1]
    assert scalar.value == 1


def test_the_directory_of_objects_and_tags() -> None:
    assert enip.lookup(0x93, 1) is None
    first, second = Drive(instance_id=1), Drive()
    assert (first.instance_id, second.instance_id) == (1, 2) or second.instance_id > 1
    assert device.lookup("147.1.9").name == "Speed"
    assert enip.redirect_tag("Speed", {"class": 0x93, "instance": 1, "attribute": 9}) == (147, 1, 9)
    path = {"segment": [{"symbolic": "speed"}, {"element": 4}]}
    assert device.resolve(path, attribute=True) == device.resolve_tag("SPEED") == (147, 1, 9)
    assert device.resolve(path) == (147, 1, None) and device.resolve_element(path) == (4,)
    numeric = {"segment": [{"class": 1}, {"instance": 1}]}
    assert device.resolve(numeric, attribute=5) == (1, 1, 5)
    assert device.resolve_element(numeric) == (0,)
    for lost in ({"segment": [{"symbolic": "Nobody"}]}, {"segment": [{"class": 1}]}):
        with pytest.raises(AssertionError):
            device.resolve(lost)
    counted = device.NumInstances("Number", enip.UINT, class_id=0x93)
    assert counted[0] == 2 and counted[0:1] == [2]
    highest = device.MaxInstance("Highest", enip.UINT, class_id=0x93)
    assert device.lookup(0x93, 0).attribute["2"][0] == highest[0] >= 2
    with pytest.raises(AssertionError):
        highest[0] = 5
    with pytest.raises(AssertionError, match="is there already"):
        Drive(instance_id=1)


def test_services_have_their_numbers() -> None:
    assert (enip.Object.GA_SNG_REQ, enip.Object.SA_SNG_RPY) == (0x0E, 0x90)
    assert (enip.Message_Router.MULTIPLE_REQ, enip.Message_Router.MULTIPLE_RPY) == (10, 138)
    assert (logix.Logix.RD_FRG_REQ, logix.Logix.WR_FRG_RPY) == (0x52, 0xD3)
    assert (hart.HART.RD_VAR_REQ, hart.HART.class_id) == (75, 861)
    assert pccc.PCCC_ANC_120e.class_id == 0x67


@pytest.mark.parametrize(
    "use",
    [
        lambda: enip.Identity(instance_id=1).request({}),
        lambda: Drive.register_service_parser(1, "name", "short", None),
        lambda: enip.TCPIP(instance_id=1).parser,
        lambda: logix.setup(),
        lambda: hart.proxy_hart("10.0.0.5"),
    ],
)
def test_what_is_not_offered_names_its_replacement(use: Callable[[], Any]) -> None:
    with pytest.raises(Replaced, match=r"add_object|Simulator|service_code"):
        use()


class Named(device.Identity):  # type: ignore[misc]
    """A controller with a name of the user's."""

    def __init__(self, name: str | None = None, **keywords: Any) -> None:
        super().__init__(name, **keywords)
        self.attribute["7"] = enip.Attribute("Product Name", enip.SSTRING, default="press 7")


def test_an_identity_of_the_user_s_is_made_and_served() -> None:
    with served("Tag=INT", identity_class=Named) as (host, port):
        via = proxy_simple(host, port=port, timeout=PATIENCE_S)
        assert list(via.read([("@1/1/7", "SSTRING")])) == [["press 7"]]
        assert next(iter(via.read([("@1/1/1", "UINT")])))[0] > 0  # what it does not say is ours
