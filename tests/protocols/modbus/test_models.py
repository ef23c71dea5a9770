"""The models that are shipped can be used, and docs/modbus.md explains every key."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from cpppod.protocols.modbus.model import FOREIGN_KEYS, Model

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
