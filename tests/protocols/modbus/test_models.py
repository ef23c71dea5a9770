"""The models that are shipped can be used, and docs/modbus.md explains every key."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from cpppod.protocols.modbus.model import FOREIGN_KEYS, Model
from cpppod.protocols.model.errors import EncodeError

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "etc" / "models").glob("*.toml"))


def is_modbus(path: Path) -> bool:
    return "driver" not in tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", [path for path in FILES if is_modbus(path)], ids=lambda path: path.stem
)
def test_a_shipped_model_is_understood(path: Path) -> None:
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    assert tables["description"]
    Model.from_tables(tables)


def test_every_key_is_explained() -> None:
    text = (ROOT / "docs" / "modbus.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([a-z_]+)`", text))
    keys = {item.name for item in fields(Model)} | FOREIGN_KEYS - {"driver", "in_flight"}
    assert keys <= explained


def test_every_shipped_model_is_listed() -> None:
    text = (ROOT / "docs" / "modbus.md").read_text(encoding="utf-8")
    assert all(f"`{path.stem}`" in text for path in FILES if is_modbus(path))


def test_what_a_device_says_itself_stands_before_its_model() -> None:
    model = Model.of_device(
        {"max_registers": 100, "mask_write": False},
        {"max_registers": 20, "address_exceptions": [2, 10], "unit": 7},
    )
    assert (model.max_registers, model.mask_write) == (20, False)
    assert model.address_exceptions == (2, 10)
    assert model.limits().registers == 20


@pytest.mark.parametrize("codes", [[0], [256], ["2"], 2])
def test_exceptions_that_mean_an_address_are_codes_of_exceptions(codes: object) -> None:
    with pytest.raises(EncodeError, match="address_exceptions"):
        Model.of_device({}, {"address_exceptions": codes})


def test_each_wrong_key_is_told_with_what_was_expected() -> None:
    tables = {
        "driver": "modbus-tcp",
        "max_registers": 100,
        "max_register": 20,
        "colour": 1,
        "pause_s": "x",
    }
    told = list(Model.mistakes(tables))
    assert told[:2] == [
        ("max_register", 20, "no such key; did you mean max_registers?"),
        ("colour", 1, "no such key"),
    ]
    assert [key for key, _, _ in told] == ["max_register", "colour", "pause_s"]
