"""Simulated controllers from Python: tags, faults, delays, attributes and objects of the user's."""

import asyncio
import importlib.util
import pathlib
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any

import pytest
from pycomm3 import CIPDriver, LogixDriver

from cpppod.client import connector
from cpppod.simulator import Attribute, CipError, Settings, Simulator, TagError
from cpppod.simulator.files import controllers
from cpppod.simulator.tags import parse_delay
from tests.enip_frames import REGISTER, frames, read, reply_of, request, rr, write
from tests.patience import PATIENCE_S

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


async def asked(plc: Simulator, *messages: bytes) -> list[tuple[int, bytes]]:
    """(status, data) of requests on a connection of their own."""
    reader, writer = await asyncio.open_connection(*plc.address)
    writer.write(REGISTER)
    session = int.from_bytes((await reader.readexactly(28))[4:8], "little")
    found = []
    for message in messages:
        writer.write(rr(message, session))
        head = await reader.readexactly(24)
        data = await reader.readexactly(int.from_bytes(head[2:4], "little"))
        reply = reply_of(head + data)
        found.append((reply.status, reply.data))
    writer.close()
    return found


def test_tags_are_read_and_written_by_name_while_clients_do_the_same() -> None:
    async def scenario() -> None:
        async with Simulator(["N=DINT", "A=INT[4]"]) as plc:
            plc["n"] = 7
            plc.write("A", [5, 6], first=1)
            assert await asked(plc, read("N"), write("A[3]", 0xC3, b"\x09\0")) == [
                (0, b"\xc4\0\7\0\0\0"),
                (0, b""),
            ]
            assert plc["A"] == [0, 5, 6, 9]
            assert plc.read("A", 1, 2) == [5, 6]
            plc.add_tag("Late=REAL")
            assert (await asked(plc, read("Late")))[0][0] == 0

    asyncio.run(scenario())


def test_times_are_durations_on_the_command_line_and_in_files() -> None:
    assert parse_delay("100ms-1s") == (0.1, 1.0)
    assert parse_delay("250ms") == 0.25
    plc = Simulator(["N=DINT"], Settings(moves=("N=sine,period=2min,every=50ms",)))
    (movement,) = plc._movements
    assert movement.every_s == 0.05
    table = {"address": "127.0.0.1:0", "delay": "10ms-20ms", "limits": {"idle_s": "10min"}}
    (made,) = controllers(table, Settings())
    assert (made.delay, made.settings.limits.idle_s) == ((0.01, 0.02), 600.0)
    for text in ("N=counter,every=soon", "N=counter,step=1s"):
        with pytest.raises(TagError, match=r"is no (duration|number)"):
            Simulator(["N=DINT"], Settings(moves=(text,)))


def test_fault_and_delay_come_and_go() -> None:
    async def scenario() -> None:
        async with Simulator(["N=DINT"]) as plc:
            plc.set_error("N", 0x10)
            assert await asked(plc, read("N")) == [(0x10, b"")]
            plc.set_error("N", 0)
            plc.delay = 0.1
            begun = time.monotonic()
            assert (await asked(plc, read("N")))[0][0] == 0
            assert time.monotonic() - begun >= 0.2  # registered and read

    asyncio.run(scenario())


def test_delayed_replies_leave_in_order_and_before_the_end() -> None:
    with (
        Simulator(["N=DINT"], Settings(delay=(0.0, 0.05))) as plc,
        socket.create_connection(plc.address, PATIENCE_S) as client,
    ):
        client.sendall(REGISTER)
        session = int.from_bytes(client.recv(28, socket.MSG_WAITALL)[4:8], "little")
        contexts = [b"number%02d" % number for number in range(20)]
        client.sendall(b"".join(rr(read("N"), session, context) for context in contexts))
        client.shutdown(socket.SHUT_WR)
        came = b"".join(iter(partial(client.recv, 65_536), b""))
    assert [reply[12:20] for reply in frames(came)] == contexts


class Slow(Attribute):
    """Answers when it is let go; raises when it is told to."""

    gate = threading.Event()

    def __getitem__(self, key: int | slice) -> Any:
        if self.name == "Broken":
            raise RuntimeError("no sensor")
        if self.name == "Refusing":
            raise CipError("not now", status=0x0C)
        if self.name == "Slow":
            assert self.gate.wait(PATIENCE_S)
        return super().__getitem__(key)


class Untyped(Attribute):
    """Gives text where its tag is a number."""

    def __getitem__(self, key: int | slice) -> Any:
        return "warm"


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (Slow, "Broken", "RuntimeError: no sensor"),
        (Slow, "Refusing", ""),
        (Untyped, "Level", "EncodeError: DINT: "),
    ],
)
def test_what_an_attribute_raises_is_logged_with_its_traceback_and_a_refusal_is_not(
    kind: type[Attribute], name: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with Simulator([f"{name}=DINT"], Settings(attribute_class=kind)) as plc:
            ((status, _),) = await asked(plc, read(name))
            assert status

    asyncio.run(scenario())
    assert [record.getMessage().split(" why=")[0] for record in caplog.records] == (
        [f"tag {name} failed"] if why else []
    )
    assert why in caplog.text
    assert ("__getitem__" in caplog.text or "Traceback" in caplog.text) is bool(why)


def test_slow_or_raising_attribute_costs_only_the_request_that_asked() -> None:
    Slow.gate.clear()

    async def scenario() -> None:
        settings = Settings(attribute_class=Slow)
        async with Simulator(
            ["Slow=DINT", "Broken=DINT", "Refusing=DINT", "N=DINT[2]"], settings
        ) as plc:
            waiting = asyncio.create_task(asked(plc, read("Slow")))
            assert await asked(plc, read("Broken"), read("Refusing"), read("N", 2)) == [
                (0xFF, b""),
                (0x0C, b""),
                (0, b"\xc4\0" + bytes(8)),
            ]
            assert await asked(plc, write("N[1]", 0xC4, b"\5\0\0\0")) == [(0, b"")]
            assert plc["N"] == [0, 5]
            assert not waiting.done()
            Slow.gate.set()
            assert await waiting == [(0, b"\xc4\0" + bytes(4))]

    asyncio.run(scenario())


def broken(data: bytes) -> bytes:
    raise ZeroDivisionError(f"{len(data)} bytes")


def test_object_of_the_user_s_has_attributes_and_services() -> None:
    def reversed_bytes(data: bytes) -> bytes:
        if not data:
            raise CipError("nothing to do", status=0x13)
        return data[::-1]

    with Simulator(["Speed@0x300/1/2=REAL"]) as plc:
        plc.add_object(0x300, 1, {1: ("SSTRING", "pump")}, {0x4B: reversed_bytes})
        with CIPDriver("{}:{}".format(*plc.address)) as driver:
            name = driver.generic_message(
                service=0x0E, class_code=0x300, instance=1, attribute=1, connected=False
            )
            assert name.value == b"\4pump"
            reply = driver.generic_message(
                service=0x4B, class_code=0x300, instance=1, request_data=b"abc", connected=True
            )
            assert reply.value == b"cba"

    async def scenario() -> None:
        async with Simulator([]) as other:
            other.add_object(0x300, 1, services={0x4B: reversed_bytes, 0x4C: broken})
            messages = (request(0x4B, "@0x300/1"), request(0x4C, "@0x300/1"))
            assert await asked(other, *messages) == [(0x13, b""), (0xFF, b"")]

    asyncio.run(scenario())


def test_many_controllers_share_one_process_and_answer_for_themselves() -> None:
    async def scenario() -> None:
        plants = [Simulator(["N=DINT"], name=f"plc_{number}") for number in range(10)]
        for number, plc in enumerate(plants):
            await plc.start()
            plc["N"] = number
        try:
            for number, plc in enumerate(plants):
                assert (await asked(plc, read("N")))[0][1][2] == number
        finally:
            for plc in plants:
                await plc.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("tag", ["X=FOO", "X=INT[1,2,3,4]", "1X=INT", "X@1=INT"])
def test_declaration_that_makes_no_sense_is_refused(tag: str) -> None:
    with pytest.raises(TagError):
        Simulator([tag])


def test_two_names_may_share_an_address_of_one_type() -> None:
    plc = Simulator(["A@0x22/1/1=INT[4]", "B@0x22/1/1=INT[4]"])
    plc["B"] = [1, 2, 3, 4]
    assert plc["A"] == [1, 2, 3, 4]
    with pytest.raises(TagError, match="another type"):
        Simulator(["A@0x22/1/1=INT[4]", "B@0x22/1/1=DINT[4]"])


def test_moving_values_move() -> None:
    async def scenario() -> None:
        moves = ("C=counter,every=0.01", "S=sine,offset=50,amplitude=10,period=1,every=0.01")
        async with Simulator(["C=DINT", "S=REAL"], Settings(moves=moves)) as plc:
            async with asyncio.timeout(PATIENCE_S):
                while plc["C"] < 3:
                    await asyncio.sleep(0.01)
            assert 40 <= plc["S"] <= 60
            assert plc["S"] != 0

    asyncio.run(scenario())


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_powerflex_of_the_example_answers_its_parameters() -> None:
    with load("powerflex").powerflex() as drive:
        with CIPDriver("{}:{}".format(*drive.address)) as driver:
            reply = driver.generic_message(
                service=0x0E,
                class_code=0x93,
                instance=3,
                attribute=10,
                connected=False,
                unconnected_send=True,
                route_path=True,
            )
            assert reply.value.hex() == "a4404544"
        drive["Output_Current"] = 1.5
        assert drive["output_current"] == 1.5


def test_computed_tags_of_the_example_compute() -> None:
    settings = Settings(attribute_class=load("computed_tags").Load)
    with (
        Simulator(["load1=REAL", "load15=REAL"], settings) as plc,
        LogixDriver("{}:{}".format(*plc.address)) as logix,
    ):
        assert logix.read("load1").value >= 0
        assert logix.write(("load1", 1.0)).error


def test_server_needs_neither_zeromq_nor_pydantic() -> None:
    program = (
        "import sys, cpppod.commands.enip_server, cpppod.simulator.routes;"
        "print([name for name in ('zmq', 'pydantic', 'starlette') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert shown.stdout.strip() == "[]"


class Counting:
    """An attribute that the program answers itself."""

    type, scalar = "DINT", False

    def __init__(self) -> None:
        self.values = [1, 2, 3]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value


def test_an_object_s_attribute_may_be_answered_by_the_program() -> None:
    counting = Counting()
    with Simulator() as plc:
        plc.add_object(0x300, 1, {2: counting})
        with connector(*plc.address) as connection:
            texts = ["@0x300/1/2[1]=(DINT)9", "@0x300/1/2[0-2]"]
            assert connection.process(texts) == (0, [True, [1, 9, 3]])
    assert counting.values == [1, 9, 3]
