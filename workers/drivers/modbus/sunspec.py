"""SunSpec devices: their chain of models, walked; and the models' definitions.

The definitions are the JSON files of `pysunspec2` (`pip install cpppod[sunspec]`): needed to make
tags of a model's points, and by nothing that runs.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from cpppod.protocols.modbus import sunspec
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.naming import Names
from cpppod.workers.devices.driver import DeviceError

PACKAGE = "sunspec2"
INSTALL = "pip install cpppod[sunspec]"
MOST_READ = 100  # registers of one read

ReadWords = Callable[[int, int], Awaitable[list[int]]]  # from a holding register on, so many


class NoDefinition(Exception):
    """There is no definition of a model here; the text says why."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model of a device: the register of its id, and its length without id and length."""

    model: int
    instance: int
    start: int
    length: int


async def walk(read: ReadWords) -> list[FoundModel]:
    """The models of a device in their order.

    Raises:
        DeviceError: no answer, or none of SunSpec.
    """
    for base in sunspec.BASES:
        try:
            words = await read(base, 2)
        except ModbusException:
            continue
        if tuple(words) == sunspec.MARK:
            return await _models(read, base + 2)
    places = ", ".join(map(str, sunspec.BASES))
    raise DeviceError(Failure.BAD_REPLY, f"no SunSpec models at {places}", connected=True)


async def _models(read: ReadWords, at: int) -> list[FoundModel]:
    found: list[FoundModel] = []
    while len(found) < sunspec.MOST_MODELS and at + sunspec.HEAD <= 0x1_0000:
        try:
            model, length = await read(at, sunspec.HEAD)
        except ModbusException:  # a chain that ends without saying so
            break
        if model == sunspec.LAST_MODEL:
            break
        instance = 1 + sum(each.model == model for each in found)
        found.append(FoundModel(model, instance, at, length))
        at += sunspec.HEAD + length
    return found


@lru_cache(maxsize=256)
def definition(model: int) -> dict[str, Any]:
    """The definition of a model.

    Raises:
        NoDefinition: the package is not there, or does not know it.
    """
    try:
        folder = resources.files(PACKAGE) / "models" / "json"
    except ModuleNotFoundError:
        raise NoDefinition(f"SunSpec's models are not installed: {INSTALL}") from None
    file = folder / f"model_{model}.json"
    if not file.is_file():
        raise NoDefinition(f"SunSpec has no model {model}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def tables(models: list[int]) -> Iterator[dict[str, Any]]:
    """The tables of the tags of these models, what repeats taken once.

    Raises:
        NoDefinition: of one of them.
    """
    names = Names()
    for model in models:
        made = sunspec.points(definition(model))
        for table, path, _ in sunspec.tables_of(model, 1, made):
            if table is not None:
                name = path if len(models) == 1 else f"{path}_{model}"
                yield {"name": names.give(name), **table}


async def browsed(read: ReadWords) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """(tables of tags, what is left out and why) of every model that a device has.

    Raises:
        DeviceError: no answer, or none of SunSpec.
    """
    names, made, left_out = Names(), [], []
    for each in await walk(read):
        what = f"model {each.model}"
        try:
            words = await _block(read, each)
            points = sunspec.points(definition(each.model), words.__getitem__, each.length)
            for table, path, why in sunspec.tables_of(each.model, each.instance, points):
                if table is None:
                    left_out.append((f"{what}: {path}", why))
                    continue
                name = f"m{each.model}_{path}"
                made.append({"name": names.give(name), **table})
        except (NoDefinition, ModbusException, IndexError) as error:
            left_out.append((what, str(error) or "shorter than its points"))
    return made, left_out


async def _block(read: ReadWords, model: FoundModel) -> list[int]:
    """The registers of a model, its id and length first."""
    words: list[int] = []
    whole = sunspec.HEAD + model.length
    while len(words) < whole:
        count = min(MOST_READ, whole - len(words))
        words += await read(model.start + len(words), count)
    return words
