"""cpppo's Modbus pollers, connections and points on ours."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymodbus.exceptions
import pytest
from cpppo.bin import modbus_sim
from cpppo.remote import io, plc, plc_modbus, pymodbus_fixes

from cpppod.compat import Replaced
from cpppod.modbus import Server
from tests.patience import PATIENCE_S
from tests.ports import free_port


@pytest.fixture
def server() -> Iterator[Any]:
    """Coils and registers over TCP."""
    with Server("127.0.0.1:0", "1-100=1,0", "40001-40100=1,2,3") as made:
        yield made


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymodbus_fixes.Defaults, "Timeout", PATIENCE_S)


def address_of(server: Any) -> dict[str, Any]:
    host, port = server.address.rsplit(":", 1)
    return {"host": host, "port": int(port)}


def awaited(predicate: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while not (found := predicate()) and time.monotonic() < until:
        time.sleep(0.005)
    return found


def test_a_poller_is_a_thread_that_ends_when_it_is_done(server: Any, patient: None) -> None:
    poller = plc_modbus.poller_modbus("motor", **address_of(server), rate=0.02)
    assert poller.is_alive() and poller.daemon and poller.name == "motor"
    poller.poll(40002)
    assert awaited(lambda: poller.read(40002) == 2)
    poller.write(40002, 99)
    poller.write(3, True, unit=1)
    assert awaited(lambda: poller.read(40002) == 99) and server.get(3) == 1
    poller.done = True
    poller.join(PATIENCE_S)
    assert not poller.is_alive() and not poller.online


def test_the_fastest_rate_asked_for_holds(server: Any, patient: None) -> None:
    client = pymodbus_fixes.modbus_client_tcp(**address_of(server))
    poller = plc_modbus.poller_modbus("rates", client=client, unit=1)
    poller.poll(40001, rate=5.0)
    assert poller.rate == 5.0
    poller.poll(40001, rate=0.5)
    poller.poll(40001, rate=2.0)
    assert poller.rate == 0.5
    poller.join(PATIENCE_S)
    client.close()


def test_a_forgotten_value_is_polled_again(server: Any, patient: None) -> None:
    poller = plc_modbus.poller_modbus("forgets", **address_of(server), rate=0.02)
    assert awaited(lambda: poller.read(40001) == 1)
    poller.forget(40001)
    assert awaited(lambda: poller.read(40001) == 1)
    poller.join(PATIENCE_S)


def test_writing_to_nobody_is_offline() -> None:
    poller = plc_modbus.poller_modbus("nobody", host="127.0.0.1", port=free_port())
    with pytest.raises(plc.PlcOffline, match="failed: Offline"):
        poller.write(1, 1)
    poller.join(PATIENCE_S)


def test_a_refused_write_is_pymodbus_exception(server: Any, patient: None) -> None:
    poller = plc_modbus.poller_modbus("refused", **address_of(server))
    with pytest.raises(pymodbus.exceptions.ModbusException, match="exception 2"):
        poller.write(41000, 1)
    with pytest.raises(pymodbus.exceptions.ParameterException):
        poller.write(30001, 1)
    poller.join(PATIENCE_S)


def test_a_reply_that_does_not_come_is_pymodbus_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        poller = plc_modbus.poller_modbus("late", host="127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(pymodbus.exceptions.ModbusException, match="failed: Timeout"):
            poller.write(1, 1)
        poller.join(PATIENCE_S)


def test_a_connection_reads_and_writes(server: Any, patient: None) -> None:
    client = pymodbus_fixes.modbus_client_tcp(**address_of(server))
    with client:
        assert client.connect() and client.connected
        assert client.read_coils(0, count=3, slave=1).bits == [True, False, True]
        assert not client.write_registers(10, [7, 8], unit=1).isError()
        assert not client.write_coil(1, True).isError()
        assert client.read_holding_registers(address=10, count=2).registers == [7, 8]
        assert client.read_input_registers(0).exception_code == 2
        assert client.write_register(5000, 1).isError()
    client.close()
    assert not pymodbus_fixes.modbus_client_tcp("127.0.0.1", free_port()).connect()


def test_pymodbus_servers_have_a_replacement() -> None:
    with pytest.raises(Replaced, match=r"cpppod\.modbus\.Server"):
        pymodbus_fixes.modbus_server_tcp(context=None)


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("40001", None, (40001, 40001, [])),
        ("40001-40003", 5, (40001, 40003, [5, 5, 5])),
        ("1-4=1,0", None, (1, 4, [1, 0, 1, 0])),
    ],
)
def test_registers_of_a_command_line(text: str, default: Any, expected: Any) -> None:
    assert modbus_sim.register_decode(text, default) == expected


# Points

MOTOR = {
    "auto": 100001,
    "running": 100002,
    "start": 1,
    "fault": 100003,
    "reset": 100004,
    "estop": 100005,
}


def test_a_motor_follows_its_poller_and_keeps_what_happened() -> None:
    poller = plc.poller_simulator("PLC", rate=0.0)
    motor = io.motor("chest", "M1", "Pressure Motor", plc=poller, **MOTOR)
    poller.write(MOTOR["fault"], 1)
    poller.write(MOTOR["auto"], 1)
    assert awaited(lambda: motor.auto) and motor.fault is False
    assert motor.status == "stopped"
    motor.start = "true"
    assert awaited(lambda: motor.start) and motor.status == "starting"
    poller.write(MOTOR["running"], 1)
    assert awaited(lambda: motor.running) and motor.status == "started"
    poller.write(MOTOR["fault"], 0)
    assert awaited(lambda: motor.fault) and motor.status == "fault"
    messages = {event["message"] for event in motor.events(since=0)}
    assert {"Auto", "Start Sent", "Started", "On", "Fault"} <= messages
    assert '"status": "fault"' in str(motor)
    poller.online = False
    assert motor.status == "offline" and motor.auto is None
    with pytest.raises(plc.PlcOffline):
        motor.reset = True


def test_a_simulated_motor_lives() -> None:
    poller = plc.poller_simulator("PLC", rate=0.0)
    motor = io.motor_simulator("chest", "M2", "Simulated", plc=poller, **MOTOR)
    assert awaited(lambda: motor.status in ("starting", "stopped", "started", "fault"))
