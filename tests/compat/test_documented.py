"""What cpppo's readme shows, as programs of the same kind, with the documented result.

Each row is a program (or a command) that is run as it stands; `HOST` and `PORT` are its controller.
"""

import importlib
import re
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest
from cpppo.dotdict import dotdict
from cpppo.server.enip import device
from cpppo.server.enip.main import main as enip_main

from cpppod.compat.__main__ import run_module
from cpppod.modbus import Server
from tests.patience import PATIENCE_S

TAGS = [
    *("SCADA=INT[1000]", "TEXT=SSTRING[100]", "FLOAT@22/1/3=REAL", "Tag=DINT[10]"),
    *(
        "Tag_Name=INT[1000]",
        "Volume=REAL",
        "Temperature=REAL",
        "Dint=dint[1000]",
        "Raw@0x4/0x96/3=INT[18]",
    ),
]


@pytest.fixture
def controller() -> Iterator[tuple[str, int]]:
    """A controller as the readme starts it."""
    control = dotdict(latency=0.01)
    argv = ["-a", "127.0.0.1:0", "--no-config", *TAGS]
    keywords = {"argv": argv, "server": {"control": control}}
    thread = threading.Thread(target=enip_main, kwargs=keywords, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE_S
    while not control.get("address"):
        assert time.monotonic() < until
        time.sleep(0.005)
    yield control["address"]
    control["done"] = True
    thread.join(PATIENCE_S)


@pytest.fixture
def drive() -> Iterator[tuple[str, int]]:
    """The simulated PowerFlex of the readme."""
    device.lookup_reset()
    control = dotdict(latency=0.01)
    argv = ["-a", "127.0.0.1:0", "--no-config", "Tag=INT"]
    module = importlib.import_module("cpppo.server.enip.poll_test")
    keywords = {"argv": argv, "server": {"control": control}}
    thread = threading.Thread(target=module.main, kwargs=keywords, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE_S
    while not control.get("address"):
        assert time.monotonic() < until
        time.sleep(0.005)
    yield control["address"]
    control["done"] = True
    thread.join(PATIENCE_S)
    device.lookup_reset()


def run(source: str, address: tuple[str, int]) -> None:
    code = compile(textwrap.dedent(source), "documented.py", "exec")
    exec(code, {"__name__": "__main__", "HOST": address[0], "PORT": address[1]})


PROGRAMS = {
    "process with printing": (
        """
        from cpppo.server.enip import client
        tags = ["Tag[0-9]+16=(DINT)4,5,6,7,8,9", "@0x2/1/1", "Tag[3-5]"]
        with client.connector(host=HOST, port=PORT, timeout=10.0) as connection:
            operations = client.parse_operations(tags)
            failures, transactions = connection.process(
                operations=operations, depth=1, multiple=0, fragment=False, printing=True,
                timeout=10.0)
        print(failures, transactions[0], transactions[2])
        """,
        [
            r" +Tag\[0\]\[  0--7 \]\+ 16 <= \[4, 5, 6, 7, 8, 9\]: 'OK'",
            r" +@0x0002/1/1              == .*",
            r" +Tag\[3\]\[  3-5  \]\+  0 == \[0, 4, 5\]: 'OK'",
            r"\d \[4, 5, 6, 7, 8, 9\] \[0, 4, 5\]",
        ],
    ),
    "pipeline, its six items": (
        """
        import cpppo
        from cpppo.server.enip import client
        operations = client.parse_operations(["Volume", "Temperature"] * 25)
        with client.connector(host=HOST, port=PORT, timeout=10.0) as conn:
            start, num, idx = cpppo.timer(), -1, -1
            for num, (idx, dsc, op, rpy, sts, val) in enumerate(conn.pipeline(
                    operations=operations, depth=20, multiple=250, timeout=10.0)):
                assert val == [0.0] and sts == 0 and "read_tag" in rpy and "Multi. Read" in dsc
            print("%3d operations using %3d requests" % (num + 1, idx + 1))
            assert cpppo.timer() >= start
        """,
        [r" 50 operations using  +\d+ requests"],
    ),
    "synchronous": (
        """
        from cpppo.server.enip import client
        with client.connector(host=HOST, port=PORT) as conn:
            for idx, dsc, req, rpy, sts, val in conn.synchronous(
                    operations=client.parse_operations(["Tag[8-9]=(DINT)88,99", "Tag[8-9]"])):
                print(idx, dsc, val)
        """,
        [r"0 Single Write Tag  Tag\[8-9\] True", r"1 Single Read  Tag  Tag\[8-9\] \[88, 99\]"],
    ),
    "parse_operations": (
        """
        from cpppo.server.enip import client
        for operation in client.parse_operations([
                "A_Tag[1-2]=(REAL)111,222", "@0x04/5/{\\"connection\\":100}", "Tag*10"]):
            print(operation)
        """,
        [
            r".*'tag_type': 202, 'data': \[111\.0, 222\.0\].*",
            r".*\[{'class': 4}, {'instance': 5}, {'connection': 100}\].*",
            r".*'elements': 10.*",
        ],
    ),
    "read, harvested by hand": (
        """
        from cpppo.server.enip import client
        with client.connector(host=HOST, port=PORT) as conn:
            req = conn.read("Volume")
            assert conn.readable(timeout=10.0), "Failed to receive reply"
            rpy = next(conn)
            for k, v in rpy.items():
                print(k, v)
        """,
        [
            r"peer .*",
            r"enip\.command 111",
            r"enip\.length 26",
            r"enip\.session_handle \d+",
            r"enip\.status 0",
            r"enip\.sender_context\.input array\('B'.*",
            r"enip\.options 0",
            r"enip\.input array\('B'.*",
            r"enip\.CIP\.send_data\.interface 0",
            r"enip\.CIP\.send_data\.timeout \d+",
            r"enip\.CIP\.send_data\.CPF\.count 2",
            r"enip\.CIP\.send_data\.CPF\.item\[0\]\.type_id 0",
            r"enip\.CIP\.send_data\.CPF\.item\[0\]\.length 0",
            r"enip\.CIP\.send_data\.CPF\.item\[1\]\.type_id 178",
            r"enip\.CIP\.send_data\.CPF\.item\[1\]\.length 10",
            r".*unconnected_send\.request\.input array\('B'.*",
            r".*unconnected_send\.request\.service 210",
            r".*unconnected_send\.request\.status 0",
            r".*unconnected_send\.request\.status_ext\.size 0",
            r".*unconnected_send\.request\.read_frag\.type 202",
            r".*unconnected_send\.request\.read_frag\.data \[0\.0\]",
        ],
    ),
    "attribute operations": (
        """
        from cpppo.server.enip import client
        from cpppo.server.enip.get_attribute import attribute_operations
        with client.connector(host=HOST, port=PORT) as conn:
            for idx, dsc, op, rpy, sts, val in conn.pipeline(
                    operations=attribute_operations(["@1/1", "@1/1/7"]), depth=3, multiple=False):
                print("%s: %s" % (dsc, val[:8]))
            print("".join(chr(x) for x in val[1:]))
        """,
        [
            r"Single G_A_A      @0x0001/1: \[1, 0, 14, 0, 54, 0, 20, 11\]",
            r"Single G_A_S      @0x0001/1/7: \[20, 49, 55, 53, 54, 45, 76, 54\]",
            r"1756-L61/B LOGIX5561",
        ],
    ),
    "a list identity over UDP": (
        """
        from cpppo.server import enip
        from cpppo.server.enip import client
        with client.client(host=HOST, port=PORT, udp=True, broadcast=True) as conn:
            conn.list_identity(timeout=10.0)
            response, elapsed = client.await_response(conn, timeout=10.0)
            print(enip.enip_format(response))
        """,
        [*[r".*"] * 29, r".*identity_object\.product_name': '1756-L61/B LOGIX5561',", *[r".*"] * 2],
    ),
    "a proxy with a parameter of its own": (
        """
        from cpppo.server.enip.get_attribute import proxy
        class some_sensor(proxy):
            PARAMETERS = dict(proxy.PARAMETERS,
                a_sensor_parameter=proxy.parameter("@22/1/3", "REAL", "Hz"))
        via = some_sensor(host=HOST, port=PORT)
        print("Not yet connected: %s" % via)
        params = via.parameter_substitution("A Sensor Parameter")
        value, = via.read(params, checking=True)
        print("Connected! %s" % via, value)
        with via:
            print(*via.read(via.parameter_substitution(["Product Name", "TCPIP"])))
        """,
        [
            r"Not yet connected: None at None",
            r"Connected! 1756-L61/B LOGIX5561 at 127\.0\.0\.1:\d+\[\d+\] \[0\.0\]",
            r"\['1756-L61/B LOGIX5561'\] \[2, 48, 0, \[\{'class': 246\}, \{'instance': 1\}\], .*\]",
        ],
    ),
    "a proxy that does not ask who it is": (
        """
        import cpppo
        from cpppo.server.enip.get_attribute import proxy
        for name in "Something", cpppo.dotdict({"product_name": "Something"}):
            via = proxy(HOST, PORT, identity_default=name)
            print("Not yet connected: %s" % via)
            value, = via.read(via.parameter_substitution("Product Name"))
            print("Connected! %s" % via)
        """,
        [r"Not yet connected: Something at None", r"Connected! Something at 127.*"] * 2,
    ),
    "set attribute single by an operations parser": (
        """
        from cpppo.server.enip.get_attribute import attribute_operations, proxy
        operations = ["@0x4/0x96/3 = (INT)512" + ",0" * 17]
        operations_out = list(attribute_operations(operations))
        assert operations_out == [{
            "method": "set_attribute_single",
            "path": [{"class": 4}, {"instance": 150}, {"attribute": 3}],
            "tag_type": 195, "data": [512] + [0] * 17, "elements": 18}]
        via = proxy(HOST, PORT, operations_parser=attribute_operations)
        val, = via.write(operations)
        print(val)
        """,
        [r"True"],
    ),
    "machines": (
        """
        import cpppo
        E, A = cpppo.state("E"), cpppo.state_input("A")
        B = cpppo.state_input("B", terminal=True)
        E["a"], A["b"], B["b"] = A, B, B
        BASIC = cpppo.dfa("ab+", initial=E, context="basic")
        ABP, SEP = cpppo.dfa("ab+", initial=E, terminal=True), cpppo.state_drop("SEP")
        ABP[","], SEP[" "], SEP[None] = SEP, SEP, ABP
        CSV = cpppo.dfa("CSV", initial=ABP, context="csv")
        REGEX = cpppo.regex(initial="(ab+)((,[ ]*)(ab+))*", context="regex")
        data = cpppo.dotdict()
        for machine in BASIC, CSV, REGEX:
            source = cpppo.peekable("abbbb, ab")
            with machine:
                for i, (m, s) in enumerate(machine.run(source=source, data=data)):
                    pass
            path = machine.context() + ".input"
            print(i, "%s: %r; %r" % (path, "".join(data[path]), "".join(source)))
        """,
        [
            r"5 basic\.input: 'abbbb'; ', ab'",
            r"1\d csv\.input: 'abbbbab'; ''",
            r"10 regex\.input: 'abbbb, ab'; ''",
        ],
    ),
    "dotted data": (
        """
        import cpppo
        data = cpppo.dotdict({"a.b": 1})
        data["a.list"] = [cpppo.dotdict(v=3)]
        print(data.a.b, data["a.x..b"], data["a.list[b-1].v"], list(data))
        """,
        [r"1 1 3 \['a\.b', 'a\.list\[0\]\.v'\]"],
    ),
    "points in time": (
        """
        from cpppo.history import timestamp, parse_seconds
        print(timestamp("2014-04-24 08:00:00.123"), parse_seconds("1m2.5s"))
        """,
        [r"2014-04-24 08:00:00\.123 62\.5"],
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(
    name: str, controller: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    source, lines = PROGRAMS[name]
    run(source, controller)
    shown = capsys.readouterr().out.splitlines()
    unlike = [pair for pair in zip(shown, lines, strict=True) if not re.fullmatch(*pair[::-1])]
    assert unlike == []


DRIVEN = {
    "polling in a thread": (
        """
        import threading
        from cpppo.server.enip import poll
        from cpppo.server.enip.ab import powerflex_750_series as device
        def process(par, val):
            process.values[par] = val
            process.done = len(process.values) == 2
        process.done, process.values = False, {}
        poller = threading.Thread(target=poll.poll, kwargs={
            "proxy_class": device, "address": (HOST, PORT), "cycle": 0.05, "timeout": 10.0,
            "process": process, "params": ["Motor Velocity", "Output Current"]})
        poller.start()
        poller.join()
        for par, val in process.values.items():
            print("%16s == %r" % (par, val))
        """,
        ["  Motor Velocity == [789.010009765625]", "  Output Current == [123.44999694824219]"],
    ),
    "polling one proxy by run, until it is done": (
        """
        from cpppo.server.enip import poll
        from cpppo.server.enip.ab import powerflex_750_series
        via = powerflex_750_series(host=HOST, port=PORT, timeout=10.0)
        def process(par, val):
            print(par, val)
            process.done = True
        process.done = False
        poll.run(via=via, process=process, cycle=0.05, params=["Speed Units"])
        """,
        ["Speed Units [1]"],
    ),
    "writing a parameter": (
        """
        from cpppo.server.enip.ab import powerflex_750_series as device
        via = device(host=HOST, port=PORT)
        with via:
            val, = via.write(
                via.parameter_substitution("Accel = (REAL)1", parameters={
                    "accel": via.parameter("@0x93/14/10", "REAL", "s")}), checking=True)
            print(val, list(via.read([("@0x93/14/10", "REAL")])))
        """,
        ["True [[1.0]]"],
    ),
}


@pytest.mark.parametrize("name", DRIVEN)
def test_programs_with_a_drive(
    name: str, drive: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    source, lines = DRIVEN[name]
    run(source, drive)
    assert capsys.readouterr().out.splitlines() == lines


def test_an_unknown_parameter_is_refused_before_polling(drive: tuple[str, int]) -> None:
    source = """
        from cpppo.server.enip import poll
        poll.poll(address=(HOST, PORT), params=["Nothing"], pass_thru=False)
        """
    with pytest.raises(AssertionError, match="Unrecognized parameter name: 'Nothing'"):
        run(source, drive)


def test_a_modbus_device_is_polled(capsys: pytest.CaptureFixture[str]) -> None:
    source = """
        import time
        from cpppo.remote import plc_modbus
        plc_modbus.Defaults.Timeout = 10.0
        p = plc_modbus.poller_modbus("fake", host=HOST, port=PORT, rate=0.02)
        p.poll(40001)
        while p.read(40001) is None:
            time.sleep(0.01)
        p.write(40001, 123)
        while p.read(40001) != 123:
            time.sleep(0.01)
        print(p.read(40001))
        p.stop()
        p.join()
        plc_modbus.Defaults.Timeout = 0.05
        """
    with Server("127.0.0.1:0", "40001-40100=99") as server:
        host, port = server.address.rsplit(":", 1)
        run(source, (host, int(port)))
    assert capsys.readouterr().out == "123\n"


COMMANDS = {
    "write and read": (
        [
            "cpppo.server.enip.client",
            "--print",
            "-a",
            "AT",
            "Tag_Name[0-3]=0,1,2,3",
            "Tag_Name[0-3]",
        ],
        r" +Tag_Name\[0\]\[  0-3  \]\+  0 <= \[0, 1, 2, 3\]: 'OK'\n"
        r" +Tag_Name\[0\]\[  0-3  \]\+  0 == \[0, 1, 2, 3\]: 'OK'\n",
    ),
    "a list identity": (
        ["cpppo.server.enip.client", "--list-identity", "-a", "AT"],
        r"(?s).*1756-L61/B LOGIX5561.*",
    ),
    "ten times, as against the container": (
        ["cpppo.server.enip.client", "--print", "-a", "AT", "-r", "10", "Dint[1]", "Dint[0-10]"],
        r"( +Dint\[1\]\[  1-1  \]\+  0 == \[0\]: 'OK'\n"
        r" +Dint\[0\]\[  0-10 \]\+  0 == \[0(, 0){10}\]: 'OK'\n){10}",
    ),
    "attributes": (
        ["cpppo.server.enip.get_attribute", "-a", "AT", "@22/1/3=(REAL)1.0", "@22/1/3"],
        r".*S_A_S +@0x0016/1/3 == True\n.*G_A_S +@0x0016/1/3 == \[0, 0, 128, 63\]\n",
    ),
    "throughput": (
        [
            "cpppo.server.enip.thruput",
            "-a",
            "AT",
            "Volume",
            "Temperature",
            "--repeat",
            "25",
            "--depth",
            "20",
            "--multiple",
            "250",
        ],
        r"(?s).*50 operations using +\d+ requests in .* at pipeline depth 20; .* TPS\n",
    ),
    "services": (
        ["cpppo.server.enip.list_services", "--list-identity", "-a", "AT"],
        r"(?s).*communications_service\.service_name.*Communications.*product_name.*",
    ),
    "the example of inputs and outputs": (
        ["cpppo.server.enip.io", "AT"],
        r" +Tag\[0\]\[  0--7 \]\+ 16 <= .*\n.*\n +Tag\[3\]\[  3-5  \]\+  0 == \[0, 4, 5\]: 'OK'\n",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(
    name: str,
    controller: tuple[str, int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (module, *arguments), shown = COMMANDS[name]
    where = "{}:{}".format(*controller)
    given = [where if argument == "AT" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit):
        run_module(module, given)
    assert re.fullmatch(shown, capsys.readouterr().out)


def test_the_example_of_a_drive_s_velocity(
    drive: tuple[str, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cpppo.server.enip.powerflex_motor_velocity"
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        run_module(name, ["@{}:{}".format(*drive), "123.45"])
    assert ended.value.code == 0
    assert "Motor Velocity = (REAL)123.45    == True" in capsys.readouterr().out
