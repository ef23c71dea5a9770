"""Other people's EtherNet/IP clients with our simulator, and our client and driver with theirs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod import client
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality
from cpppod.simulator import Settings, Simulator
from cpppod.simulator.tags import Declaration
from cpppod.workers.drivers.enip.driver import make_driver
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.simulator.test_clients import ELEMENTARY, STRUCTURES, TAGS
from tests.stacks.foreign import ask, served

REFUSED = object()  # whatever its words
Asked = list[tuple[list[Any], Any]]

BITS = [number % 3 == 0 for number in range(96)]
BIG = list(range(2500))
CIPLINK: Asked = [
    *(([verb, f"S_{kind}", *value], None if value else held)
      for kind, held in ELEMENTARY.items()
      for verb, value in (("write", [held]), ("read", []))),
    (["write", "A_DINT{10}", list(range(10))], None),
    (["write", "A_DINT[2].5", True], None),
    (["read", "A_DINT{10}"], [0, 1, 34, *range(3, 10)]),
    (["write", "Bits{96}", BITS], None),
    (["write", "Bits[33]", False], None),
    (["read", "Bits{96}"], [*BITS[:33], False, *BITS[34:]]),
    (["write", "Cube[1,2,3]", 7], None),
    (["read", "Cube[1,2,3]"], 7),
    (["write", "A_STRING{3}", ["a", "bb", "ccc"]], None),
    (["read", "A_STRING{3}"], ["a", "bb", "ccc"]),
    (["write", "U.i.x", 3.5], None),
    (["write", "U.s", "in it"], None),
    (["read", "U.i"], {"x": 3.5, "n": [0, 0, 0], "f": False, "g": False}),
    (["read", "U.s"], "in it"),
    (["write", "Big{2500}", BIG], None),
    (["read", "Big{2500}"], BIG),
    (["writes", [["S_DINT", 3], ["Program:Main.P", 5]]], None),
    (["reads", ["Program:Main.P", "S_DINT", "S_REAL"]], [5, 3, 1.5]),
    (["read", "T"], {"PRE": 0, "ACC": 0, "EN": False, "TT": False, "DN": False}),
    (["read", "nothing"], REFUSED),
    (["read", "A_DINT[10]"], REFUSED),
    (["name"], "cpppod"),
]  # fmt: skip
CM: Asked = [
    *(([verb, f"S_{kind}", kind, *value], None if value else ELEMENTARY[kind])
      for kind in ("SINT", "INT", "DINT", "LINT", "REAL", "LREAL")
      for verb, value in (("write", [ELEMENTARY[kind]]), ("read", []))),
    (["write", "A_DINT[3]", "DINT", 9], None),
    (["read", "A_DINT[3]", "DINT"], 9),
    (["write", "Cube[1,2,3]", "INT", 7], None),
    (["read", "Cube[1,2,3]", "INT"], 7),
    (["write", "U.i.x", "REAL", 3.5], None),
    (["read", "U.i.x", "REAL"], 3.5),
    (["write", "Program:Main.P", "DINT", 5], None),
    (["reads", ["S_DINT", "Program:Main.P"]], ["c40040e20100", "c40005000000"]),
    (["structure", "U"], {"a": "0", "b": "False", "i": "[struct@8]", "l": "[struct@20]",
                          "s": "[struct@44]", "big": "0"}),
    (["raw", "Cube[0,0,0]", 3], "c300" + "00" * 6),
    (["read", "nothing", "DINT"], REFUSED),
]  # fmt: skip
INSTRO: Asked = [
    *(([verb, f"S_{kind}", *value], None if value else ELEMENTARY[kind])
      for kind in ELEMENTARY if kind != "STRING82"
      for verb, value in (("write", [kind, ELEMENTARY[kind]]), ("read", []))),
    (["write", "A_DINT[3]", "DINT", 9], None),
    (["read", "A_DINT[3]"], 9),
    (["read", "Cube[1,2,3]"], 0),
    (["read", "Bits[33]"], False),
    (["reads", ["S_DINT", "S_REAL", "Program:Main.P"]], [123456, 1.5, 0]),
    (["read", "nothing"], REFUSED),
    (["write", "S_DINT", "REAL", 1.5], REFUSED),
]  # fmt: skip
ST: Asked = [
    (["properties"], "1756-L61/B LOGIX5561"),
    *(([verb, f"S_{kind}", *value], None if value else told)
      for kind, told in ({"LINT": str(ELEMENTARY["LINT"])} | {
          kind: ELEMENTARY[kind]
          for kind in ("BOOL", "SINT", "INT", "DINT", "USINT", "REAL", "STRING82")}).items()
      for verb, value in (("write", [ELEMENTARY[kind]]), ("read", []))),
    (["array", "A_DINT", 10], [0] * 10),
    (["write", "U", {"a": 7}], None),
    (["read", "U.a"], 7),
    (["read", "P", "Main"], 0),
    (["reads", ["S_DINT", "S_REAL", "S_INT"]], [123456, 1.5, -500]),
    (["array", "Big", 1000], [0] * 1000),
    (["array", "A_STRING", 5], [""] * 5),
    (["read", "nothing"], REFUSED),
]  # fmt: skip
LISTED = {"S_DINT", "U", "Big", "Program:Main.P"}
CLIENTS = [
    # (program, its arguments, what it does)
    ("ciplink_client.py", "{host}:{port}", [*CIPLINK, (["tags"], LISTED)]),
    ("ciplink_client.py", "{host}:{port}/0", CIPLINK[:24]),
    ("cm_client.py", "{host} {port} - unconnected", [*CM, (["tags"], LISTED)]),
    ("cm_client.py", "{host} {port} - connected", CM),
    ("cm_client.py", "{host} {port} 1,0 unconnected", CM),
    ("cm_client.py", "{host} {port} 1,0 connected", CM),
    ("instro_client.py", "{host}:{port}", INSTRO),
    ("instro_client.py", "{host}:{port} 0", INSTRO),
    ("st_client.js", "{host} {port} unconnected", [*ST, (["tags"], LISTED)]),
    ("st_client.js", "{host} {port} connected", ST),
]


@pytest.fixture
def plc() -> Iterator[Simulator]:
    declared: list[str | Declaration] = [
        *TAGS,
        Declaration("U", "Outer"),
        Declaration("T", "TIMER"),
    ]
    with Simulator(declared, Settings(structures=STRUCTURES)) as simulator:
        yield simulator


def shown(program: str, simulator: Simulator, arguments: str, asked: Asked) -> None:
    """Asks all of it, and looks at each result."""
    host, port = simulator.address
    results = ask(
        program, arguments.format(host=host, port=port).split(), [each for each, _ in asked]
    )
    for (operation, expected), result in zip(asked, results, strict=True):
        if expected is REFUSED:
            assert "error" in result, operation
        elif isinstance(expected, set):
            assert expected <= set(result), operation
        else:
            assert result == expected, operation


@pytest.mark.parametrize(("program", "arguments", "asked"), CLIENTS)
def test_their_client_reads_and_writes_all_that_it_can(
    plc: Simulator, program: str, arguments: str, asked: Asked
) -> None:
    shown(program, plc, arguments, asked)


def both(*pairs: tuple[str, Any]) -> Asked:
    """Each address written, then read."""
    return [
        each
        for address, value in pairs
        for each in ((["write", address, value], None), (["read", address], value))
    ]


FILES: Asked = [
    *both(("N7:1", 5), ("F8:1", 1.5), ("N7:2/3", True), ("B3:1", 7), ("L10:2", 70_000)),
    *both(("ST9:1", "hello"), ("T4:0.PRE", 100), ("C5:1.ACC", 7)),
]
FILES_OF = [
    (
        "ciplink_slc_client.py",
        "{host}:{port}",
        [*both(("S:1", 3), ("O:0", 1), ("I:0", 2)), (["read", "N7:0{4}"], [0, 5, 8, 0])],
    ),
    (
        "nodepccc_client.js",
        "{host} {port}",
        [
            *both(("R6:0.LEN", 9), ("S2:1", 3), ("O0:0", 1), ("N7:10,3", [1, 2, 3])),
            (["read", "B3/17"], True),
            (
                ["read", "T4:0,2"],
                [
                    {"EN": False, "TT": False, "DN": False, "PRE": preset, "ACC": 0}
                    for preset in (100, 0)
                ],
            ),
            (["read", "F8:0,20"], [0, 1.5, *[0] * 18]),
            (["read", "N99:0"], REFUSED),
        ],
    ),
]


@pytest.mark.parametrize("kind", ["slc500", "micrologix"])
@pytest.mark.parametrize(("program", "arguments", "asked"), FILES_OF)
def test_their_client_reads_and_writes_data_files(
    kind: str, program: str, arguments: str, asked: Asked
) -> None:
    with Simulator([], Settings(plc=kind)) as simulator:
        shown(program, simulator, arguments, [*FILES, *asked])


HELD = {"BOOL": 1, "SINT": -5, "INT": -500, "DINT": 123456, "LINT": -(2**40), "REAL": 1.5}


def test_our_client_reads_and_writes_the_server_of_cm_ethernetip() -> None:
    port = free_port()
    writes = [f"S_{kind}=({kind}){value}" for kind, value in HELD.items()]
    reads = [f"S_{kind}" for kind in HELD]
    with (
        served("cm_server.py", str(port)),
        client.connector("127.0.0.1", port, timeout=PATIENCE_S) as connection,
    ):
        assert connection.process(["S_DINT"]) == (0, [[1500]])
        for multiple in (0, 500):
            failures, values = connection.process(
                [*writes, *reads, "A_DINT[2-4]=(DINT)7,8,9", "A_DINT[0-9]"], multiple=multiple
            )
            assert failures == 0
            assert values[len(writes) : -2] == [[value] for value in HELD.values()]
            assert values[-1] == [0, 0, 7, 8, 9, 0, 0, 0, 0, 0]


def test_our_driver_polls_and_writes_the_server_of_cm_ethernetip() -> None:
    tags = (
        *(Tag(kind.lower(), f"S_{kind}", kind, writable=True) for kind in HELD),
        Tag("array", "A_DINT", "DINT", length=10, writable=True),
        Tag("absent", "Nothing", "DINT"),
    )

    async def work(port: int) -> tuple[Any, Any]:
        driver = make_driver(Device("d", "enip", f"127.0.0.1:{port}", timeout_s=PATIENCE_S))
        await driver.open()
        try:
            writes: list[Any] = [(tag, 0, [HELD[tag.type]]) for tag in tags[: len(HELD)]]
            outcome = await driver.write([*writes, (tags[-2], 3, [4, 5])])
            return outcome, await driver.poll(Group("g", 1.0, tags))
        finally:
            await driver.close()

    port = free_port()
    with served("cm_server.py", str(port)):
        outcome, samples = asyncio.run(work(port))
    assert (outcome.failure, outcome.error) == (None, "")
    good = int(Quality.GOOD)
    assert {name: sample for name, sample in samples.items() if name != "absent"} == {
        **{kind.lower(): (value, good) for kind, value in HELD.items()},
        "array": ([0, 0, 0, 4, 5, 0, 0, 0, 0, 0], good),
    }
    assert samples["absent"][0] is None
