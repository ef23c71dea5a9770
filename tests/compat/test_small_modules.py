"""cpppo's names beside EtherNet/IP: machines, dotted data, helpers, history, waiting, sockets."""

import io
import json
import logging
import multiprocessing
import pathlib
import socket
import threading
import time
from collections.abc import Callable
from math import isnan
from typing import Any

import cpppo
import cpppo.history
import pytest
from cpppo import misc
from cpppo.dotdict import apidict, apidict_threading
from cpppo.server import echo, network, tnet, tnetstrings
from cpppo.tools import waits

from cpppod.compat import Replaced
from tests.patience import PATIENCE_S

# State machines


def test_a_machine_over_a_source_that_is_extended_while_it_runs() -> None:
    first, a, b = cpppo.state("E"), cpppo.state_input("A"), cpppo.state_input("B", terminal=True)
    first["a"], a["b"], b["b"] = a, b, b
    data, source = cpppo.dotdict(), cpppo.chainable("ab")
    with cpppo.dfa("ab+", initial=first, context="basic") as machine:
        for _, state in machine.run(source=source, data=data):
            if state is None and source.sent < 4:
                source.chain("bb,")
    assert "".join(data.basic.input) == "abbb" and source.peek() == ","


def test_a_state_alone_tells_where_it_leads() -> None:
    first, second = cpppo.state("one"), cpppo.state("two")
    first[None] = second
    with first as entered:
        assert list(entered.run(source=cpppo.peekable(""))) == [(None, second)]


def test_states_with_an_encoder_take_characters_too() -> None:
    how = {"alphabet": str, "encoder": cpppo.type_unicode_encoder}
    first, pi = cpppo.state("first", **how), cpppo.state_drop("pi", terminal=True, **how)
    first["π"] = pi
    source = cpppo.peekable("π")
    with cpppo.dfa("pi", initial=first) as machine:
        list(machine.run(source=source))
    assert source.sent == 1


def test_a_machine_of_characters_refuses_bytes() -> None:
    machine = cpppo.integer("number")
    with pytest.raises(AssertionError), machine:
        list(machine.run(source=cpppo.peekable(b"123"), data=cpppo.dotdict()))


def test_what_cannot_be_iterated_is_told_when_it_is_reached() -> None:
    source = cpppo.chaining("a")
    source.chain(None)
    assert next(source) == "a"
    with pytest.raises(TypeError):
        next(source)


def test_only_the_symbol_given_last_is_taken_back() -> None:
    source = cpppo.rememberable("123")
    assert next(source) == "1"
    with pytest.raises(AssertionError):
        source.push("x")
    source.push("1")
    assert source.memory == []


def test_greenery_s_objects_have_a_replacement() -> None:
    with pytest.raises(Replaced, match=r"cpppod\.automata\.table"):
        cpppo.state_input.from_regex("a+")


# Dotted data


def test_levels_are_of_the_same_kind_and_have_no_instance_dict() -> None:
    data = cpppo.dotdict({"a.b": {"c.d": 1}})
    assert type(data.a.b.c) is type(data) is cpppo.dotdict
    assert not hasattr(data, "__dict__")
    assert [name for name in dir(data) if not name.startswith("__")] == ["a"]
    assert data.listitems() == [("a.b.c.d", 1)]


def test_what_is_missing_is_named() -> None:
    data = cpppo.dotdict({"a.b": 1})
    with pytest.raises(KeyError, match="'y'"):
        data["a.b...y"]
    with pytest.raises(AttributeError, match="'x'"):
        _ = data.x
    with pytest.raises(KeyError, match="not subscriptable"):
        data["a.b.c"]
    with pytest.raises(KeyError, match="partial key"):
        del data["a"]


def test_an_empty_level_can_be_deleted() -> None:
    data = cpppo.dotdict({"a.b": 1})
    del data["a.b"]
    del data["a"]
    assert list(data) == []


@pytest.mark.parametrize("kind", [apidict, apidict_threading])
def test_setting_an_attribute_waits_until_another_gets_one(kind: Any) -> None:
    data = kind(PATIENCE_S, value=0)
    reading = threading.Event()

    def read() -> None:
        while not reading.wait(0.01):
            data.get("value")

    reader = threading.Thread(target=read)
    begun = time.monotonic()
    reader.start()
    data.value = 1
    reading.set()
    reader.join()
    data["value"] = 2
    assert time.monotonic() - begun < PATIENCE_S and data["value"] == 2


def test_setting_an_attribute_waits_no_longer_than_told() -> None:
    data = apidict(0.02)
    begun = time.monotonic()
    data.value = 1
    assert time.monotonic() - begun >= 0.02


def test_an_apidict_of_a_manager_is_shared_by_processes() -> None:
    with multiprocessing.Manager() as manager:
        data = manager.apidict(1.0, done=False)  # type: ignore[attr-defined]
        data["done"] = True
        assert data.get("done") is True and sorted(data) == ["done"]


# Helpers

HELPERS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = [
    (misc.near, (1.0, 1.00009), {}, True),
    (misc.near, (1.0, 1.001), {}, False),
    (misc.clamp, (7, (0, 5)), {}, 5),
    (misc.scale, (20.0, (0.0, 100.0), (32.0, 212.0)), {}, 68.0),
    (misc.scale, (24, (25, 40), (0, 1)), {"exponent": 2, "clamped": True}, 0),
    (misc.magnitude, (75.0,), {}, 10.0),
    (misc.magnitude, (50.0, 2), {}, 32.0),
    (misc.centeraxis, ("abc.123", 12), {}, "   abc.123  "),
    (misc.centeraxis, ("abc", 8), {"reverse": True, "fillchar": "x"}, "xabcxxxx"),
    (misc.natural, ("10th",), {}, ("       10", "t", "h")),
    (misc.exponential_moving_average, (None, 3.0, 0.5), {}, 3.0),
    (misc.exponential_moving_average, (1.0, 3.0, 0.5), {}, 2.0),
    (misc.parse_ip_port, ("[::1]:80",), {}, (misc.ip("::1"), 80)),
    (misc.parse_ip_port, ("Host.example:443",), {}, ("host.example", 443)),
    (misc.parse_ip_port, ("('host', None)",), {"default": (None, 9)}, ("host", 9)),
    (misc.parse_ip_port, (":11",), {"default": ("", 456)}, ("", 11)),
    (misc.hexdump, (b"A\x01",), {}, f"00000000:  41 01{' ' * 46}|A.|"),
    (misc.hexload, ("0004: 41 42 43",), {"offset": 5}, b"BC"),
    (misc.hexload, ("2:41\n5:42",), {"fill": b"\xff"}, b"\xff\xffA\xff\xffB"),
    (misc.hexdump_differs, ("a\nb", "a\nc"), {}, "b != c"),
]


@pytest.mark.parametrize(("function", "arguments", "keywords", "expected"), HELPERS)
def test_helpers(
    function: Callable[..., Any], arguments: Any, keywords: Any, expected: Any
) -> None:
    found = function(*arguments, **keywords)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_a_row_that_is_no_dump_is_shown() -> None:
    with pytest.raises(AssertionError, match="on row: 'nonsense'"):
        misc.hexload("nonsense")
    assert misc.hexload("nonsense\n0:41", skip=True) == b"A"
    assert isnan(misc.magnitude(-1))


def test_a_method_holds_its_lock() -> None:
    class Once:
        lock = threading.Lock()

        @misc.mutexmethod(blocking=False)  # type: ignore[untyped-decorator]
        def call(self, function: Callable[[], Any] | None = None) -> Any:
            return function() if function else 1

    once = Once()
    assert once.call() == 1
    with pytest.raises(AssertionError, match="Lock is held"):
        once.call(once.call)


def test_log_levels_have_functions_and_methods(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(1):
        logging.normal("one")  # type: ignore[attr-defined]
        logging.getLogger("own").detail("two %d", 2)  # type: ignore[attr-defined]
        logging.getLogger("own").trace("three")  # type: ignore[attr-defined]
    seen = [(record.levelno, record.message) for record in caplog.records]
    assert seen == [(25, "one"), (23, "two 2"), (5, "three")]
    assert caplog.records[0].levelname == "NORMAL"
    assert {record.filename for record in caplog.records} == {pathlib.Path(__file__).name}


def test_results_and_rates_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    @misc.logresult(log_level=logging.WARNING)  # type: ignore[untyped-decorator]
    @misc.assert_tps(minimum=0.001, scale=2, repeat=3)  # type: ignore[untyped-decorator]
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert "TPS (6 x" in caplog.text and "double(4)-->8" in caplog.text


# History


def test_history_s_records_are_written_as_text_and_parsed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "some.hst"
    with cpppo.history.logger(path, bufsize=cpppo.history.logger.LINE_BUF) as history:
        history._append("# a note\n")
        history._append('2014-04-24 08:00:00.123\tnull\t{"40001": 7}\n')
    with cpppo.history.opener(path, "rb", 1024) as file:
        number, (when, serial, text) = cpppo.history.parse_record(file)
    assert (number, str(when), serial) == (1, "2014-04-24 08:00:00.123", None)
    assert json.loads(text) == {"40001": 7}
    with pytest.raises(StopIteration):
        cpppo.history.parse_record(io.BytesIO(b"# nothing\n"))


# Waiting


def test_waiting_for_files_texts_and_predicates(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("first\nsecond\n")
    assert all(waits.existence([PATIENCE_S, path, f"{path}%^sec", lambda: True]))
    assert not all(waits.existence([0.05, f"{path}%^third"], delay_min=0.01))
    assert all(waits.existence([f"{path}.none"], presence=False))
    assert waits.waitfor(lambda: False, timeout=0.02, intervals=2)[0] is False


def test_a_time_limit_alone_is_waited_out() -> None:
    begun = time.monotonic()
    assert all(waits.existence([0.02]))
    assert time.monotonic() - begun >= 0.02


# Sockets

STRINGS = [
    ({"pi": "π", "abc": b"x"}, b"20:2:pi,2:\xcf\x80$3:abc,1:x,}"),
    ([1, 2.5, None, True], b"20:1:1#3:2.5^0:~4:true!]"),
]


@pytest.mark.parametrize(("value", "expected"), STRINGS)
def test_typed_netstrings(value: Any, expected: bytes) -> None:
    assert tnetstrings.dump(value) == expected
    assert tnetstrings.parse(expected + b"rest") == (value, b"rest")


def test_the_machine_of_typed_netstrings_has_a_replacement() -> None:
    with pytest.raises(Replaced, match="tnetstrings"):
        tnet.tnet_machine()


def echo_client(number: int, address: tuple[str, int]) -> bool:
    with socket.create_connection(address, PATIENCE_S) as conn:
        conn.sendall(b"hello")
        received = network.recv(conn, timeout=PATIENCE_S)
        network.drain(conn, timeout=PATIENCE_S, close=False)
    return bool(received != b"hello")


def test_a_bench_starts_a_server_and_counts_the_clients_that_fail() -> None:
    control = cpppo.dotdict(latency=0.05)
    failures = network.bench(
        server_func=serve,
        client_func=echo_client,
        client_count=4,
        client_max=2,
        server_kwds={"server": cpppo.dotdict(control=control)},
        address_delay=PATIENCE_S,
        address_latency=0.01,
        server_cls=threading.Thread,
    )
    assert failures == 0 and control.done is True


def served(conn: socket.socket, addr: Any, server: Any) -> None:
    echo.echo_server(conn, addr)


def serve(server: Any) -> None:
    network.server_main(("127.0.0.1", 0), target=served, kwargs={"server": server})
