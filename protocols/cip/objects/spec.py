"""What the rest knows of a CIP object that a controller has: its manifest, and the list of them.

    objects/<name>.py   OBJECTS = (ObjectSpec(class_id, make), ...)    and a line in `MODULES`

An object with settings names its table of `[[listener]]` and the keys of it; the configuration
makes the model of that table, and they come back to `make` through `Controller.settings`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cpppod.protocols.cip.objects.attributes import CipClass

MODULES = (
    "identity",
    "interfaces",
    "connection_manager",
    "message_router",
    "logix",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A setting that is a whole number from 0 to `most`."""

    most: int = 0xFFFF


@dataclass(frozen=True, slots=True)
class String:
    """A setting that is a line of text, of at most `longest` characters where that is not 0."""

    longest: int = 0


Setting = Number | String


@dataclass(frozen=True, slots=True)
class Controller:
    """What objects are made from.

    Attributes:
        identity: who it says that it is, an `objects.identity.Identity`.
        settings: table of `[[listener]]` -> its keys that are given.
        writable: clients may write what is otherwise read-only, as a simulator allows.
        tags: how many tags there are now.
    """

    identity: Any
    settings: Mapping[str, Mapping[str, Any]]
    writable: bool
    program_name: str
    clock_us: Callable[[], int]
    tags: Callable[[], int]


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """The manifest of one object class.

    Attributes:
        make: the class with its instances; raises `EncodeError` for a setting that its attribute
            cannot hold.
        logix: only controllers of the Logix family have it.
        table: of `[[listener]]` with its settings, "" for none; `settings`: the keys of that,
            `title`: what its documents call it.
    """

    class_id: int
    make: Callable[[Controller], CipClass]
    logix: bool = False
    title: str = ""
    table: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)


@cache
def object_specs() -> tuple[ObjectSpec, ...]:
    """The manifests of all objects, in the order of `MODULES`."""
    modules = (importlib.import_module(f"{__package__}.{name}") for name in MODULES)
    return tuple(spec for module in modules for spec in module.OBJECTS)
