"""Paths, tags and objects of a controller that `main` serves, as programs make and override them.

    class Doubled(Attribute): __getitem__, __setitem__      answers a tag: main(attribute_class=)
    class Drive(Object): class_id = 0x93; self.attribute["9"] = Attribute("Current", REAL)

Objects register themselves in `directory` when they are made; `main` serves all of them. Their
services are Get and Set Attribute Single, Read and Write Tag; parsers of their own are refused.
"""

import ast
import configparser
import json
import logging
import threading
from typing import Any, ClassVar

from cpppod.compat import Replaced
from cpppod.compat.paths import (
    parse_connection_path,
    parse_int,
    parse_path,
    parse_path_component,
    parse_path_elements,
    parse_route_path,
    port_link,
)
from cpppod.protocols.cip.message_router import FORWARD_CLOSE, REPLY, Service
from cpppod.protocols.cip.status import CipError

from ...dotdict import dotdict
from ...misc import reprlib
from .parser import *
from .parser import DINT, DWORD, INT, SSTRING, UINT, USINT, WORD, typed_data

log = logging.getLogger("enip.dev")

dialect: Any = None
directory = dotdict()
symbol: dict[str, dict[str, int]] = {}
symbol_keys = ("class", "instance", "attribute")

# Objects, attributes and tags of this process


def lookup(class_id: Any, instance_id: int = 0, attribute_id: int | None = None) -> Any:
    """The object, or its attribute, of these numbers (or of "class.instance.attribute")."""
    key = class_id
    if not isinstance(class_id, str):
        key = f"{class_id}.{instance_id}.{attribute_id or 0}"
    return directory.get(key)


def lookup_reset() -> None:
    """Forget all objects and tags."""
    dict.clear(directory)
    symbol.clear()


def canonicalize_tag(tag: str) -> str:
    """A tag's name as it is looked up.

    Raises:
        UnicodeEncodeError: it is no ISO-8859-1 text.
    """
    tag.encode("iso-8859-1")
    return tag.lower()


def redirect_tag(tag: str, address: dict[str, int]) -> tuple[int, ...]:
    """Give a tag the address `{"class", "instance", "attribute"}`; these as a tuple."""
    assert set(address) == set(symbol_keys), f"{symbol_keys}, not {address!r}"
    symbol[canonicalize_tag(tag)] = address
    return tuple(address[key] for key in symbol_keys)


def resolve_tag(tag: str) -> tuple[int, ...] | None:
    """(class, instance, attribute) of a tag, None for an unknown one."""
    address = symbol.get(canonicalize_tag(tag))
    return None if address is None else tuple(address[key] for key in symbol_keys)


def resolve(path: Any, attribute: int | bool = False) -> tuple[Any, ...]:
    """(class, instance, attribute) that a path leads to; `attribute` wants one, or is the default.

    Raises:
        AssertionError: it leads nowhere.
    """
    found: dict[str, Any] = dict.fromkeys(symbol_keys)
    tag = ""
    for part in path["segment"]:
        if "symbolic" in part:
            tag += ("." if tag else "") + part["symbolic"]
            found |= (known := symbol.get(canonicalize_tag(tag)) or {})
            tag = "" if known else tag
        else:
            found |= {key: value for key, value in dict(part).items() if key in symbol_keys}
    assert not tag, f"Unrecognized symbolic name {tag!r} found in path {path['segment']!r}"
    if found["attribute"] is None and attribute is not True:
        found["attribute"] = attribute or None
    needed = symbol_keys if attribute else symbol_keys[:2]
    assert all(found[key] is not None for key in needed), f"Failed to resolve {path['segment']!r}"
    return found["class"], found["instance"], found["attribute"] if attribute else None


def resolve_element(path: Any) -> tuple[int, ...]:
    """The element that a path names, (0,) without one."""
    return next(((part["element"],) for part in path["segment"] if "element" in part), (0,))


class Attribute:
    """A value, or a list of them, that clients read and write by index or slice.

    Args:
        type_cls: its type (`REAL`, `INT` ...); an instance of it is `parser`.
        default: the value; a list (or what has a length) makes an array.
        error: CIP general status that every access answers.
        mask: `MASK_GA_SNG`, `MASK_GA_ALL` hide it from these services.
    """

    MASK_GA_SNG, MASK_GA_ALL = 1, 2

    def __init__(
        self, name: str, type_cls: Any, default: Any = 0, error: int = 0, mask: int = 0
    ) -> None:
        self.name = name
        self.default = default
        self.scalar = isinstance(default, str) or not hasattr(default, "__len__")
        self.parser = type_cls() if callable(type_cls) else type_cls
        self._variable: Any = None
        self.error, self.mask = error, mask

    def bind(self, variable: Any) -> None:
        """Hold the value in a tag of `cpppod.simulator` from now on (called by `main`)."""
        self._variable = variable

    @property
    def type(self) -> str:
        """The CIP type's name."""
        return type(self.parser).__name__

    @property
    def value(self) -> Any:
        """The value, or the list of an array."""
        if self._variable is not None:
            values = self._variable.get(0, None)
            return values[0] if self.scalar else values
        return self.default

    @value.setter
    def value(self, value: Any) -> None:
        assert self.scalar, "an array is set by index or slice"
        if self._variable is not None:
            self._variable.set([value], 0)
        else:
            self.default = type(self.default)(value)

    def __str__(self) -> str:
        count = f" x{len(self):<4}" if self.scalar else f"[{len(self):4}]"
        return f"{self.name:<24} {self.type:>10}{count} == {reprlib.repr(self.value)}"

    __repr__ = __str__

    def __len__(self) -> int:
        if self._variable is not None:
            return int(self._variable.length)
        return 1 if self.scalar else len(self.value)

    def _validate_key(self, key: Any) -> Any:
        """`slice` or `int`, whichever the key is.

        Raises:
            KeyError: it is beyond the end, empty, or no plain slice.
        """
        if isinstance(key, slice):
            start, stop, stride = key.indices(len(self))
            if stride == 1 and start < stop and key.stop in (stop, None):
                return slice
        elif isinstance(key, int) and key < len(self):
            return int
        raise KeyError(f"{key!r} is not within {self.name}[{len(self)}]")

    def __getitem__(self, key: Any) -> Any:
        whole = self._validate_key(key) is slice
        if self._variable is None:
            if self.scalar:
                return [self.value] if whole else self.value
            return self.value[key]
        first, last, _ = key.indices(len(self)) if whole else (key, key + 1, 1)
        values = self._variable.get(first, last - first)
        return values if whole else values[0]

    def __setitem__(self, key: Any, value: Any) -> None:
        whole = self._validate_key(key) is slice
        if self._variable is not None:
            first = key.indices(len(self))[0] if whole else key
            self._variable.set(list(value) if whole else [value], first)
        elif self.scalar:
            self.value = next(iter(value)) if whole else value
        else:
            self.value[key] = value

    def produce(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of elements."""
        values = self[start : len(self) if stop is None else stop]
        return b"".join(self.parser.produce(value) for value in values)


class Served:
    """An attribute as the simulator calls it: with its `error` and its type; always by slices.

    Raises (by index): CipError, where the attribute has an `error`.
    """

    def __init__(self, attribute: Attribute) -> None:
        self.attribute = attribute
        self.type, self.scalar = attribute.type, attribute.scalar

    def __len__(self) -> int:
        return len(self.attribute)

    def _checked(self) -> Attribute:
        if self.attribute.error:
            raise CipError(self.attribute.name, status=self.attribute.error)
        return self.attribute

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._checked()[key]
        return self._checked()[key : key + 1][0]

    def __setitem__(self, key: Any, value: Any) -> None:
        whole = isinstance(key, slice)
        self._checked()[key if whole else slice(key, key + 1)] = value if whole else [value]


class MaxInstance(Attribute):
    """The highest instance of a class; it cannot be set."""

    def __init__(self, name: str, type_cls: Any, class_id: int = 0, **keywords: Any) -> None:
        self.class_id = class_id
        super().__init__(name, type_cls, **keywords)

    def count(self) -> int:
        """What it counts."""
        return int(lookup(self.class_id).max_instance)

    def __getitem__(self, key: Any) -> Any:
        return [self.count()] if self._validate_key(key) is slice else self.count()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("Cannot set value")


class NumInstances(MaxInstance):
    """The number of instances of a class."""

    def count(self) -> int:
        return sum(number != "0" for number in dict.keys(directory[str(self.class_id)]))


class RequestUnrecognized(AssertionError):
    """A request that an object does not know."""


def _codes(**services: int) -> dict[str, Any]:
    """NAME_REQ and NAME_RPY of each; NAME_NAM is its name, NAME_CTX its key in dotted data."""
    found: dict[str, Any] = {}
    for name, code in services.items():
        context = getattr(code, "name", name).lower()
        found |= {f"{name}_REQ": int(code), f"{name}_RPY": int(code) | REPLY}
        found |= {f"{name}_CTX": context, f"{name}_NAM": context.replace("_", " ").title()}
    return found


class _Coded:
    """Service codes by their names."""

    CODES: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name, code in cls.__dict__.get("CODES", {}).items():
            setattr(cls, name, code)
        if "max_instance" not in cls.__dict__:
            cls.max_instance = 0  # type: ignore[attr-defined]


class Object(_Coded):
    """An object of a class; making one registers it.

    Attributes:
        attribute: its attributes by number, as texts: `self.attribute["9"] = Attribute(...)`.
        instance_id: 0 is the class itself; the next one that is free where none is given.
        config_loader: the parser of the configuration files (`enip.config_files`).
    """

    class_id: ClassVar[int] = 0
    max_instance: ClassVar[int] = 0
    lock: ClassVar[Any] = threading.Lock()
    service: ClassVar[dict[Any, Any]] = {}
    CODES = _codes(
        GA_ALL=Service.GET_ATTRIBUTES_ALL,
        GA_LST=Service.GET_ATTRIBUTE_LIST,
        GA_SNG=Service.GET_ATTRIBUTE_SINGLE,
        SA_SNG=Service.SET_ATTRIBUTE_SINGLE,
    )
    config_loader: ClassVar[configparser.ConfigParser] = configparser.ConfigParser(
        comment_prefixes=("#",),
        inline_comment_prefixes=("#",),
        allow_no_value=True,
        empty_lines_in_values=False,
        interpolation=configparser.ExtendedInterpolation(),
    )

    def __init__(self, name: str | None = None, instance_id: int | None = None, **_: Any) -> None:
        self.name = name or type(self).__name__
        with self.lock:
            known = directory.setdefault(str(self.class_id), {})
            if instance_id is None:
                instance_id = type(self).max_instance + 1
            assert str(instance_id) not in known, f"{self.name}/{instance_id} is there already"
            type(self).max_instance = max(type(self).max_instance, instance_id)
        self.instance_id = instance_id
        self.attribute = directory.setdefault(f"{self.class_id}.{instance_id}", {})
        self.attribute["0"] = self
        if "0" not in known:
            type(self)(name=f"meta-{self.name}", instance_id=0)
        if instance_id == 0:
            revision = self.config_int("Revision", 0)
            optional = self.config_int("Optional Attributes", 0)
            self.attribute["1"] = Attribute("Revision", INT, default=revision)
            self.attribute["2"] = MaxInstance("Max Instance", INT, self.class_id)
            self.attribute["3"] = NumInstances("Num Instances", INT, self.class_id)
            self.attribute["4"] = Attribute("Optional Attributes", INT, default=optional)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"(0x{self.class_id:02x},{self.instance_id:3d}) {self}"

    @classmethod
    def config_section(cls, section: str | None) -> Any:
        """A section of the configuration, or its defaults."""
        loader = cls.config_loader
        return loader[section] if section and section in loader else loader["DEFAULT"]

    @classmethod
    def config_override(
        cls, val: Any, key: str, default: Any = None, config: Any = None, section: Any = None
    ) -> Any:
        """`val`, or the configuration's value of `key`, or `default`; of the kind of `default`.

        Raises:
            Exception: what is there is of another kind.
        """
        config = cls.config_section(section) if config is None else config
        if val is None:
            names = (key, key.replace("_", " "))
            val = next((config[name] for name in names if name in config), default)
        if default is None or val is default:
            return val
        try:
            if isinstance(default, bool | list | dict) and isinstance(val, str):
                val = ast.literal_eval(val.capitalize() if isinstance(default, bool) else val)
            elif isinstance(default, int) and isinstance(val, str):
                val = int(val, 0)
            return type(default)(val)
        except (ValueError, TypeError, SyntaxError) as error:
            raise Exception(f"Converting {key} from {val!r} failed: {error}") from None

    @property
    def config(self) -> Any:
        """The section of the object's name."""
        return self.config_section(self.name)

    def config_str(self, *key: Any, **how: Any) -> Any:
        """A text of it."""
        return self.config.get(*key, **how)

    def config_int(self, *key: Any, **how: Any) -> Any:
        """A number of it."""
        return self.config.getint(*key, **how)

    def config_float(self, *key: Any, **how: Any) -> Any:
        """A number of it."""
        return self.config.getfloat(*key, **how)

    def config_bool(self, *key: Any, **how: Any) -> Any:
        """A truth of it."""
        return self.config.getboolean(*key, **how)

    def config_json(self, *key: Any, **how: Any) -> Any:
        """JSON in it."""
        return json.loads(self.config_str(*key, **how))

    @classmethod
    def register_service_parser(cls, *_: Any, **__: Any) -> None:
        """Not offered.

        Raises:
            Replaced: always.
        """
        raise Replaced(
            f"{cls.__name__}: own services are functions of bytes: "
            "cpppod.simulator.Simulator.add_object(class_id, instance, services={code: function})"
        )

    parser = property(lambda self: self.register_service_parser())
    produce = request = register_service_parser


class Identity(Object):
    """The Identity object; `main` has its own, told by the configuration and `--plc`."""

    class_id = 0x01


class Message_Router(Object):
    """The Message Router; `main` has its own."""

    class_id = 0x02
    CODES = _codes(MULTIPLE=Service.MULTIPLE_SERVICE_PACKET)
    ROUTE_FALSE, ROUTE_RAISE = 0, 1


class Connection_Manager(Object):
    """The Connection Manager; `main` has its own."""

    class_id = 0x06
    CODES = _codes(
        FWD_OPEN=Service.FORWARD_OPEN, FWD_OPLG=Service.LARGE_FORWARD_OPEN, FWD_CLOS=FORWARD_CLOSE
    )


class TCPIP(Object):
    """The TCP/IP Interface object; `main` has its own, told by the configuration."""

    class_id = 0xF5


OWN = frozenset({0x01, 0x02, 0x06, 0xF5})  # classes that `main` serves itself


def serve(simulator: Any) -> None:
    """Have `simulator` (a `cpppod.simulator.Simulator`) serve all objects that were made."""
    for number, instances in dict.items(directory):
        for instance, attributes in dict.items(instances):
            found = {
                int(name): Served(held)
                for name, held in dict.items(attributes)
                if isinstance(held, Attribute) and not held.mask & Attribute.MASK_GA_SNG
            }
            hidden = Attribute.MASK_GA_ALL
            shown = [key for key, held in found.items() if not held.attribute.mask & hidden]
            if found and not (int(number) in OWN and instance == "0"):
                everything = None if int(number) in OWN else sorted(shown)
                simulator.add_object(int(number), int(instance), found, everything=everything)
