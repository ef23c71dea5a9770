"""Proxies: named parameters, typed values, connections that mend themselves."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod.client import CommunicationCeased, attribute_operations
from cpppod.proxy import (
    ReadFailed,
    UnknownParameter,
    powerflex_750_series,
    proxy,
    proxy_connected,
    proxy_simple,
)
from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S

DRIVE = [
    "Output_Frequency@0x93/1/10=REAL",
    "Motor_Velocity@0x93/3/10=REAL",
    "Output_Current@0x93/7/10=REAL",
    "Elapsed_KwH@0x93/14/10=REAL",
    "Speed_Units@0x93/300/10=DINT",
    "Blob@0x4/0x96/3=INT[18]",
    "SCADA=INT[10]",
]
NAME = "1756-L61/B LOGIX5561"


@pytest.fixture
def drive() -> Iterator[Simulator]:
    with Simulator(DRIVE, Settings()) as running:
        running["Output_Current"] = 123.5
        running["Motor_Velocity"] = 789.0
        yield running


class some_sensor(proxy_simple):
    """A simple device with one parameter."""

    PARAMETERS = dict(  # noqa: RUF012 - as the documentation has it
        proxy_simple.PARAMETERS,
        a_sensor_parameter=proxy_simple.parameter("@0x93/1/10", "REAL", "Hz"),
    )


def test_names_stand_for_addresses_and_types() -> None:
    via = some_sensor("localhost")
    assert list(via.parameter_substitution("A Sensor Parameter")) == [("@0x93/1/10", "REAL")]
    assert list(via.parameter_substitution(" a  sensor parameter = (REAL)5.5")) == [
        ("@0x93/1/10= (REAL)5.5", "REAL")
    ]
    assert list(via.parameter_substitution(["Some_Tag", ("@1/1/1", "INT")])) == [
        "Some_Tag",
        ("@1/1/1", "INT"),
    ]
    with pytest.raises(UnknownParameter, match="Unrecognized parameter name: 'Unknown'"):
        list(via.parameter_substitution("Unknown", pass_thru=False))


def test_a_parameter_is_read_and_written_typed(drive: Simulator) -> None:
    via = some_sensor(*drive.address)
    with via:
        (written,) = via.write(via.parameter_substitution("A Sensor Parameter = (REAL)5.5"))
        (value,) = via.read(via.parameter_substitution("A Sensor Parameter"))
    assert (written, value) == (True, [5.5])
    via.close_gateway()


def test_the_identity_is_asked_for_when_the_gateway_opens(drive: Simulator) -> None:
    via = proxy(*drive.address)
    assert str(via) == "None at None"
    reader = via.read(via.parameter_substitution(["Product Name", "Identity"]))
    host, port = drive.address
    assert str(via).startswith(f"{NAME} at {host}:{port}[")
    name, identity = reader
    assert name == [NAME]
    assert identity[0] == 1
    assert identity[6] == NAME
    via.close_gateway()


def test_an_identity_can_be_given_instead(drive: Simulator) -> None:
    via = proxy(*drive.address, identity_default="Something")
    assert str(via) == "Something at None"
    with via:
        assert str(via).startswith("Something at ")
    via.close_gateway()
    assert str(via) == "Something at None"


def test_an_error_status_is_none_and_raises_only_with_checking(drive: Simulator) -> None:
    via = proxy_simple(*drive.address)
    with via:
        assert list(via.read([("@0x93/3/99", "REAL"), ("@0x93/3/10", "REAL")])) == [
            None,
            [789.0],
        ]
        with pytest.raises(ReadFailed, match="failed to access 1 attributes: @0x0093/3/99"):
            list(via.read([("@0x93/3/99", "REAL")], checking=True))
    via.close_gateway()


def test_plain_tags_and_typed_attributes_mix(
    drive: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    via = proxy_connected(*drive.address)
    values = list(
        via.read(
            ["SCADA[0-2]=1,2,3", "SCADA[0-2]", ("SCADA", None, "kWh"), ("@1/1/1", "INT")], True
        )
    )
    assert values == [[1, 2, 3], [1, 2, 3], [1], [1]] or values[0] is True
    assert "SCADA == [1] kWh" in capsys.readouterr().out
    via.close_gateway()


def test_attribute_services_can_be_forced(drive: Simulator) -> None:
    via = proxy_simple(*drive.address, operations_parser=attribute_operations)
    (written,) = via.write(["@0x4/0x96/3 = (INT)512" + ",0" * 17])
    assert written is True
    assert drive["Blob"] == [512] + [0] * 17
    via.close_gateway()


def test_an_exception_closes_the_gateway_and_the_next_use_opens_another(drive: Simulator) -> None:
    via = powerflex_750_series(*drive.address)

    def fails() -> None:
        with via:
            assert via.gateway is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert via.gateway is None
    with via:
        (value,) = via.read(via.parameter_substitution("Output Current"))
    assert value == [123.5]
    via.close_gateway()


def test_a_target_that_went_away_is_told_and_found_again() -> None:
    with Simulator(DRIVE, Settings()) as first:
        address = first.address
        via = powerflex_750_series(*address, timeout=PATIENCE_S)
        assert list(via.read(via.parameter_substitution("Motor Velocity"))) == [[0.0]]
    with pytest.raises(CommunicationCeased):
        list(via.read(via.parameter_substitution("Motor Velocity")))
    with Simulator(DRIVE, Settings(address=f"{address[0]}:{address[1]}")):
        assert list(via.read(via.parameter_substitution("Motor Velocity"))) == [[0.0]]
        via.close_gateway()


def test_a_reader_that_nobody_finishes_leaves_nothing_behind(drive: Simulator) -> None:
    via = powerflex_750_series(*drive.address)
    names = ["Motor Velocity", "Output Current", "Speed Units"]
    next(via.read(via.parameter_substitution(names)))
    assert list(via.read(via.parameter_substitution("Output Current"))) == [[123.5]]
    via.close_gateway()


def test_several_threads_use_one_proxy(drive: Simulator) -> None:
    via = powerflex_750_series(*drive.address)
    wrong: list[Any] = []

    def work(name: str, expected: float) -> None:
        for _ in range(30):
            (value,) = via.read(via.parameter_substitution(name))
            if value != [expected]:
                wrong.append(value)

    threads = [
        threading.Thread(target=work, args=args)
        for args in [("Motor Velocity", 789.0), ("Output Current", 123.5)] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not wrong
    via.close_gateway()
