"""Today's clients against a simulated controller, with everything they can do."""

import datetime
import subprocess
from collections.abc import Iterator

import pytest
from pycomm3 import CIPDriver, LogixDriver, SLCDriver
from pylogix import PLC

from cpppod.simulator import Settings, Simulator
from cpppod.simulator.tags import Declaration
from tests import peers
from tests.patience import PATIENCE_S

STRUCTURES = {
    "Inner": [
        {"name": "x", "type": "REAL"},
        {"name": "f", "type": "BOOL"},
        {"name": "g", "type": "BOOL"},
        {"name": "n", "type": "INT", "length": 3},
    ],
    "Outer": [
        {"name": "a", "type": "DINT"},
        {"name": "b", "type": "BOOL"},
        {"name": "i", "type": "Inner"},
        {"name": "l", "type": "Inner", "length": 2},
        {"name": "s", "type": "STRING82"},
        {"name": "big", "type": "LINT"},
        {"name": "bs", "type": "BOOL", "length": 64},
    ],
}
ELEMENTARY = {
    "BOOL": True,
    "SINT": -5,
    "INT": -500,
    "DINT": 123456,
    "LINT": -(2**40),
    "USINT": 200,
    "UINT": 60000,
    "UDINT": 4 * 10**9,
    "ULINT": 2**63,
    "REAL": 1.5,
    "LREAL": 2.25,
    "STRING82": "hello",
}
TAGS = [
    *(f"S_{kind}={kind}" for kind in ELEMENTARY),
    *("A_DINT=DINT[10]", "A_STRING=STRING82[5]", "Big=DINT[2500]", "Cube=INT[2,3,4]"),
    *("Bits=BOOL[96]", "SCADA=INT[1000]", "TEXT=SSTRING[4]", "LONG=STRING[4]"),
    *("Program:Main.P=DINT", "Program:Main.PA=REAL[5]"),
]


@pytest.fixture
def plc() -> Iterator[Simulator]:
    declared: list[str | Declaration] = [
        *TAGS,
        Declaration("U", "Outer"),
        Declaration("UA", "Outer", (3,)),
        Declaration("T", "TIMER"),
    ]
    with Simulator(declared, Settings(structures=STRUCTURES)) as simulator:
        yield simulator


@pytest.fixture
def logix(plc: Simulator) -> Iterator[LogixDriver]:
    with LogixDriver("{}:{}".format(*plc.address), init_program_tags=True) as driver:
        yield driver


@pytest.fixture
def lgx(plc: Simulator) -> Iterator[PLC]:
    with PLC(plc.address[0]) as driver:
        driver.Port = plc.address[1]
        driver.conn.Port = plc.address[1]
        yield driver


def round_trip(logix: LogixDriver, tag: str, value: object) -> None:
    assert logix.write((tag, value)).error is None
    result = logix.read(tag)
    assert (result.error, result.value) == (None, value)


def test_pycomm3_uploads_controller_and_program_tags(logix: LogixDriver) -> None:
    assert logix.info["name"] == "cpppod"
    assert {"S_DINT", "U", "Program:Main.P", "Program:Main.PA"} <= set(logix.tags)
    assert logix.tags["Cube"]["dimensions"] == [2, 3, 4]


@pytest.mark.parametrize("kind", ELEMENTARY)
def test_pycomm3_writes_and_reads_each_type(logix: LogixDriver, kind: str) -> None:
    round_trip(logix, f"S_{kind}", ELEMENTARY[kind])


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("A_DINT{10}", list(range(10))),
        ("A_DINT[3]{4}", [9, 8, 7, 6]),
        ("A_DINT[2].5", True),
        ("Cube[1,2,3]", 7),
        ("Bits[33]", True),
        ("Bits{96}", [number % 3 == 0 for number in range(96)]),
        ("A_STRING{3}", ["a", "bb", "ccc"]),
        ("U.i.x", 3.5),
        ("U.l[1].g", True),
        ("U.s", "in a structure"),
        ("U.l[0].n{3}", [1, 2, 3]),
        ("Program:Main.P", 5),
        ("Program:Main.PA{5}", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("Big{2500}", list(range(2500))),
    ],
)
def test_pycomm3_writes_and_reads_slices_bits_strings_and_members(
    logix: LogixDriver, tag: str, value: object
) -> None:
    round_trip(logix, tag, value)


def test_pycomm3_writes_and_reads_nested_structures_whole(logix: LogixDriver) -> None:
    value = logix.read("U").value
    value["a"], value["bs"][5], value["big"], value["i"]["n"] = 77, True, 2**50, [3, 2, 1]
    round_trip(logix, "UA[1]", value)
    assert logix.read("T").value.keys() == {"PRE", "ACC", "EN", "TT", "DN"}


def test_pycomm3_reads_many_tags_at_once_and_one_bad_tag_costs_only_itself(
    logix: LogixDriver,
) -> None:
    results = logix.read("S_DINT", "A_DINT{3}", "nothing", "Program:Main.P", "S_REAL")
    assert [bool(result.error) for result in results] == [False, False, True, False, False]


def test_pycomm3_reads_a_thousand_elements_on_a_large_connection(logix: LogixDriver) -> None:
    result = logix.read("Big{1000}")
    assert result.error is None
    assert len(result.value) == 1000


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("length", [1, 122, 123, 124, 125, 126, 999, 1000, 1001])
def test_pycomm3_reads_arrays_about_the_size_of_its_packets(length: int, large: bool) -> None:
    values = list(range(length))
    with Simulator([f"A=DINT[{length}]"], Settings()) as simulator:
        simulator["A"] = values if length > 1 else 0
        logix = LogixDriver("{}:{}".format(*simulator.address))
        if not large:
            logix._cfg["extended forward open"] = False
            logix._cfg["connection_size"] = 500
        with logix:
            assert logix.connection_size == (4000 if large else 500)
            result = logix.read(f"A{{{length}}}")
            if not large and length in (124, 125):  # it asks for them at once, and takes no less
                assert (result.error, result.value) == ("Insufficient Packet Space", None)
                return
            assert (result.error, result.value) == (None, values if length > 1 else 0)
            round_trip(logix, f"A{{{length}}}", values[::-1] if length > 1 else 7)


def test_pycomm3_sets_and_gets_the_time(logix: LogixDriver, plc: Simulator) -> None:
    wanted = datetime.datetime(2030, 1, 2, 3, 4, 5)
    assert logix.set_plc_time(int(wanted.timestamp() * 1_000_000)).error is None
    shown = logix.get_plc_time().value["microseconds"]
    assert abs(shown - wanted.timestamp() * 1_000_000) < 60_000_000


def test_pycomm3_asks_who_it_is(logix: LogixDriver, plc: Simulator) -> None:
    assert logix.get_plc_info()["product_name"] == "1756-L61/B LOGIX5561"
    assert logix.get_plc_info()["keyswitch"] == "REMOTE RUN"
    assert logix.get_module_info(0)["product_code"] == 54
    identity = CIPDriver.list_identity("{}:{}".format(*plc.address))
    assert identity is not None
    assert (identity["serial"], identity["state"]) == ("006c061a", 255)


def test_pycomm3_finds_symbol_instances_where_the_firmware_has_them(plc: Simulator) -> None:
    settings = Settings(plc="compactlogix")
    with (
        Simulator(["N=DINT", "A=DINT[10]"], settings) as simulator,
        LogixDriver("{}:{}".format(*simulator.address)) as logix,
    ):
        round_trip(logix, "A{10}", list(range(10)))
        round_trip(logix, "N", 5)


def test_pycomm3_talks_to_a_micro800() -> None:
    with (
        Simulator(["N=DINT", "R=REAL"], Settings(plc="micro800")) as simulator,
        LogixDriver("{}:{}".format(*simulator.address)) as logix,
    ):
        assert [result.error for result in logix.read("N", "R")] == [None, None]
        round_trip(logix, "N", 5)


@pytest.mark.parametrize("kind", ["slc500", "micrologix"])
def test_pycomm3_reads_and_writes_data_files(kind: str) -> None:
    with (
        Simulator([], Settings(plc=kind)) as simulator,
        SLCDriver("{}:{}".format(*simulator.address)) as slc,  # type: ignore[no-untyped-call]
    ):
        assert slc.get_processor_type().startswith("17")
        for tag, value in (("N7:1", 5), ("F8:1", 1.5), ("N7:1/3", True), ("B3:1", 7), ("L10:2", 7)):
            assert slc.write((tag, value)).error is None
            assert slc.read(tag).value == value
        assert slc.write(("ST9:1", "hello")).error is None
        assert slc.read("ST9:1").value == "hello"
        assert slc.read("N7:0{10}").value[1] == 13
        assert slc.get_file_directory()["N7"]["elements"] == 256


def test_pylogix_lists_tags_programs_and_structures(lgx: PLC) -> None:
    tags = lgx.GetTagList()
    assert tags.Status == "Success"
    assert {"U", "Big", "Program:Main.P"} <= {tag.TagName for tag in tags.Value}
    assert lgx.GetProgramsList().Value == ["Program:Main"]
    assert [tag.TagName for tag in lgx.GetProgramTagList("Program:Main").Value] == [
        "Program:Main.P",
        "Program:Main.PA",
    ]


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("S_BOOL", True),
        ("S_DINT", 5),
        ("S_REAL", 2.5),
        ("S_STRING82", "hey"),
        ("A_DINT[2]", 9),
        ("S_INT.4", True),
        ("Bits[40]", True),
        ("U.i.x", 1.25),
        ("Cube[1,1,1]", 4),
        ("Program:Main.P", 4),
    ],
)
def test_pylogix_writes_and_reads(lgx: PLC, tag: str, value: object) -> None:
    assert lgx.Write(tag, value).Status == "Success"
    result = lgx.Read(tag)
    assert (result.Status, result.Value) == ("Success", value)


def test_pylogix_reads_long_arrays_in_parts_and_writes_them(lgx: PLC) -> None:
    values = list(range(2500, 0, -1))
    assert lgx.Write("Big", values).Status == "Success"
    assert lgx.Read("Big", 2500).Value == values
    assert lgx.Read("A_STRING", 3).Status == "Success"


def test_pylogix_reads_and_writes_many_at_once(lgx: PLC) -> None:
    results = lgx.Read(["S_DINT", "S_REAL", "nothing", "S_STRING82"])
    assert [result.Status for result in results] == [
        *("Success", "Success", "Path destination unknown", "Success"),
    ]
    assert [item.Status for item in lgx.Write([("S_DINT", 3), ("S_REAL", 1.0)])] == ["Success"] * 2


def test_pylogix_gets_and_sets_the_time_and_asks_for_properties(lgx: PLC) -> None:
    assert lgx.GetPLCTime().Status == "Success"
    assert lgx.SetPLCTime().Status == "Success"
    for properties in (lgx.GetModuleProperties(0), lgx.GetDeviceProperties()):
        assert properties.Value.ProductName == "1756-L61/B LOGIX5561"


def cpppo(plc: Simulator, program: str, *arguments: str, code: int = 0) -> str:
    address = "{}:{}".format(*plc.address)
    done = subprocess.run(
        [peers.cpppo_python(), "-m", f"cpppo.server.enip.{program}", "-a", address, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_cpppo_s_client_runs_the_readme_s_operations(plc: Simulator) -> None:
    shown = cpppo(
        plc,
        "client",
        *("--print", "SCADA[1]=99", "SCADA[0-10]", 'TEXT[1]=(SSTRING)"Hello, world!"'),
        *("TEXT[0-3]", "S_REAL=1.5", "S_REAL", 'LONG[0]=(STRING)"abc"', "LONG[0-1]"),
    )
    assert "== [0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0]: 'OK'" in shown
    assert "== ['', 'Hello, world!', '', '']: 'OK'" in shown
    assert "== ['abc', '']: 'OK'" in shown


def test_cpppo_s_client_packs_fragments_and_goes_without_a_route(plc: Simulator) -> None:
    many = [f"SCADA[{number}]={number}" for number in range(20)]
    cpppo(plc, "client", "-m", "-d", "5", *many)
    cpppo(plc, "client", "-S", "SCADA[0-9]")
    shown = cpppo(plc, "client", "--print", "-f", "SCADA[0-999]")
    assert shown.count("SCADA") >= 1
    assert "'OK'" in cpppo(plc, "client", "--print", "-c", "SCADA[0-4]")


def test_cpppo_s_client_survives_a_bad_tag(plc: Simulator) -> None:
    shown = cpppo(plc, "client", "--print", "nothing", "SCADA[1]=5", "SCADA[1]", code=1)
    assert "Status 5" in shown
    assert "== [5]: 'OK'" in shown


def test_cpppo_s_get_attribute_and_lists(plc: Simulator) -> None:
    shown = cpppo(plc, "get_attribute", "@1/1/1", "@1/1", "@0xf5/1/5")
    assert "Single G_A_S      @0x0001/1/1 == [1, 0]" in shown
    assert "enip.command" in cpppo(plc, "list_services", "--list-identity")


def test_cpppo_s_poll_reads_identity_and_tcpip(plc: Simulator) -> None:
    command = [peers.cpppo_python(), "-u", "-m", "cpppo.server.enip.poll"]
    address = "{}:{}".format(*plc.address)
    poll = subprocess.Popen(
        [*command, "-a", address, "TCPIP", "Identity"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert poll.stdout is not None
        lines = [poll.stdout.readline() for _ in range(2)]
    finally:
        poll.kill()
        poll.communicate()
    assert any("Identity: [1, 14, 54, 2836, 12640, 7079450, '1756-L61/B" in line for line in lines)
    assert any("TCPIP: [2, 48, 0, [{'class': 246}, {'instance': 1}]" in line for line in lines)


def test_cpppo_s_thruput_runs() -> None:
    host = "127.0.0.83"  # it knows no port but 44818
    try:
        started = Simulator(["SCADA=INT[1000]"], Settings(address=f"{host}:44818", udp=False))
        with started:
            done = subprocess.run(
                [
                    *(peers.cpppo_python(), "-m", "cpppo.server.enip.thruput"),
                    *("-a", host, "-d", "5", "-m", "250", "-r", "3", "SCADA[0-9]"),
                ],
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
    except OSError:
        pytest.skip(f"{host}:44818 is in use")
    assert done.returncode == 0, done.stderr
    assert "operations using" in done.stdout
