"""CIP types under cpppo's names, and dotted data as text.

The machines that took messages apart are not offered: messages are decoded by
`cpppod.protocols` (encapsulation, cpf, message_router, epath), and a client's requests and replies
come as dotted data. Running a class of this module as a machine raises `Replaced`.
"""

import array
import struct
from typing import Any, ClassVar

from cpppod.compat import Replaced
from cpppod.protocols.cip import epath, types
from cpppod.protocols.enip.encapsulation import HEADER

from ...automata import is_listlike
from ...dotdict import dotdict
from ...misc import hexdumper, hexload
from .defaults import *

_GREAT = 10  # items of a list that go on one line


class _Machine:
    """What ran as a machine over bytes; only its name and what it produces are left."""

    REPLACEMENT = "cpppod.protocols (encapsulation, cpf, message_router, epath) decodes messages"

    def __init__(self, name: str | None = None, **_: Any) -> None:
        self.name = name or type(self).__name__

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise Replaced(f"{type(self).__name__} is no machine here: {self.REPLACEMENT}")

    __enter__ = __exit__ = run = __setitem__ = __getitem__ = _refused

    @classmethod
    def produce(cls, data: Any) -> bytes:
        """The bytes of dotted data, where a class below makes them.

        Raises:
            Replaced: everywhere else.
        """
        raise Replaced(f"{cls.__name__} makes no bytes here: cpppod.protocols has their encoders")


class TYPE(_Machine):
    """An elementary CIP type.

    Attributes:
        tag_type: its code; `struct_format` as `struct` has it, `struct_calcsize` its bytes.
    """

    REPLACEMENT = "cpppod.protocols.cip.types.by_name(NAME).unpack(data) reads values"
    tag_type: ClassVar[int | None] = None
    struct_format: ClassVar[str] = "B"
    struct_calcsize: ClassVar[int] = 1

    @classmethod
    def produce(cls, value: Any) -> bytes:
        """The bytes of one value."""
        return struct.pack(cls.struct_format, value)


def _type(name: str, letter: str, base: type[TYPE] = TYPE) -> Any:
    order = "" if letter in "bB" else "<"
    code = types.by_name(name).code
    size = struct.calcsize(order + letter)
    made = {"tag_type": code, "struct_format": order + letter, "struct_calcsize": size}
    return type(name, (base,), {**made, "__module__": __name__, "__doc__": f"CIP {name}."})


def _network(name: str, letter: str) -> Any:
    made = {"struct_format": ">" + letter, "struct_calcsize": struct.calcsize(">" + letter)}
    made |= {"__module__": __name__, "__doc__": "The type in network byte order."}
    return type(name, (TYPE,), made)


USINT, SINT = _type("USINT", "B"), _type("SINT", "b")
UINT, INT = _type("UINT", "H"), _type("INT", "h")
UDINT, DINT = _type("UDINT", "I"), _type("DINT", "i")
ULINT, LINT = _type("ULINT", "Q"), _type("LINT", "q")
REAL, LREAL = _type("REAL", "f"), _type("LREAL", "d")
BYTE, LWORD = _type("BYTE", "B"), _type("LWORD", "Q")
WORD, DWORD = _type("WORD", "H", UINT), _type("DWORD", "I", UDINT)
UINT_network, INT_network = _network("UINT_network", "H"), _network("INT_network", "h")
UDINT_network, DINT_network = _network("UDINT_network", "I"), _network("DINT_network", "i")
REAL_network = _network("REAL_network", "f")


class BOOL(TYPE):
    """CIP BOOL: 0x00, or 0xFF."""

    tag_type = types.BOOL.code

    @classmethod
    def produce(cls, value: Any) -> bytes:
        """The byte of a truth."""
        return b"\xff" if value else b"\x00"


class STRUCT(TYPE):
    """A structure: its handle, and bytes."""

    tag_type = types.STRUCTURE
    structure_tag: int | None = None

    def __init__(self, name: str | None = None, structure_tag: int | None = None, **_: Any) -> None:
        super().__init__(name)
        self.structure_tag = structure_tag

    @classmethod
    def produce(cls, value: Any, structure_tag: int | bool | None = None) -> bytes:
        """The bytes in `data.input`, behind a handle where `structure_tag` asks for one."""
        handle = value.structure_tag if structure_tag is True else structure_tag
        return (UINT.produce(handle) if handle else b"") + octets_encode(value["data.input"])


class _Text(STRUCT):
    LENGTH: ClassVar[Any] = USINT
    struct_calcsize = 80  # on average

    @classmethod
    def produce(cls, value: Any, structure_tag: int | bool | None = None) -> bytes:
        """The bytes of a text, or of `{"string": text, "length": n}`, cut or filled to `n`.

        Raises:
            AssertionError: it is too long.
        """
        if isinstance(value, str):
            value = {"string": value}
        octets = value["string"].encode("iso-8859-1")
        length = value.get("length")
        length = len(octets) if length is None else length
        most = 256**cls.LENGTH.struct_calcsize
        assert length < most, f"{cls.__name__} of {length} bytes"
        return bytes(cls.LENGTH.produce(length) + octets[:length].ljust(length, b"\0"))


class SSTRING(_Text):
    """CIP SHORT_STRING: a byte of length, then the text."""

    tag_type = types.SSTRING.code


class STRING(_Text):
    """CIP STRING: a UINT of length, then the text, padded to an even number of bytes."""

    tag_type = types.STRING.code
    LENGTH = UINT

    @classmethod
    def produce(cls, value: Any, structure_tag: int | bool | None = None) -> bytes:
        octets = super().produce(value, structure_tag)
        return octets + b"\0" * (len(octets) % 2)


class IPADDR(TYPE):
    """An IPv4 address, the lowest byte first."""

    tag_type = types.by_name("UDINT").code
    struct_format, struct_calcsize = "<I", 4

    @classmethod
    def produce(cls, value: str) -> bytes:
        """The bytes of `10.0.0.5`."""
        return bytes(int(part) for part in reversed(value.split(".")))


class IPADDR_network(TYPE):
    """An IPv4 address as it is written."""

    struct_format, struct_calcsize = ">I", 4

    @classmethod
    def produce(cls, value: str) -> bytes:
        """The bytes of `10.0.0.5`."""
        return bytes(int(part) for part in value.split("."))


class IFACEADDRS(STRUCT):
    """Interface configuration: five addresses and the name of the domain."""

    NAMES = ("ip_address", "network_mask", "gateway_address", "dns_primary", "dns_secondary")

    @classmethod
    def produce(cls, value: Any, structure_tag: int | bool | None = None) -> bytes:
        """The bytes of a mapping with `ip_address`, `network_mask` ... and `domain_name`."""
        addresses = [value.get(name) or "0.0.0.0" for name in cls.NAMES]
        domain = value.get("domain_name") or ""
        return b"".join(map(IPADDR.produce, addresses)) + STRING.produce(domain)


class EPATH(_Machine):
    """A path: words of length, segments."""

    PADDING = b""
    SINGLE = False

    @classmethod
    def produce(cls, data: Any) -> bytes:
        """The bytes of `{"segment": [{"class": 6}, ...]}`."""
        segments = [_segment(part) for part in data["segment"]]
        encoded = epath.encode(segments)
        if cls.SINGLE:
            return encoded
        return bytes((len(encoded) // 2,)) + cls.PADDING + encoded


class EPATH_padded(EPATH):
    """A path whose length is followed by a zero."""

    PADDING = b"\0"


class EPATH_single(EPATH):
    """A path without its length."""

    SINGLE = True


class route_path(EPATH_padded):
    """A route."""


def _segment(part: Any) -> epath.Segment:
    kinds = epath.LogicalType
    if "symbolic" in part:
        return epath.Symbol(part["symbolic"])
    if "port" in part:
        return epath.Port(part["port"], part["link"])
    ((name, value),) = list(dict(part).items())[:1]
    kind = kinds.CONNECTION_POINT if name == "connection" else kinds[name.upper()]
    return epath.Logical(kind, value)


_MACHINES = (
    *("octets", "octets_struct", "octets_noop", "octets_drop", "words", "enip_header"),
    *("enip_machine", "move_if", "unconnected_send", "communications_service", "identity_object"),
    *("legacy_CPF_0x0001", "connection_ID", "connection_data", "CPF", "send_data", "register"),
    *("unregister", "CPF_service", "list_interfaces", "list_identity", "list_services", "legacy"),
    *("CIP", "status"),
)
for _name in _MACHINES:
    globals()[_name] = type(_name, (_Machine,), {"__module__": __name__, "__doc__": "No machine."})


class typed_data(_Machine):
    """Values of a type."""

    TYPES_SUPPORTED: ClassVar[dict[int, Any]] = {
        kind.tag_type: kind
        for kind in (
            *(BOOL, SINT, USINT, INT, UINT, DINT, UDINT, LINT, ULINT, REAL, LREAL),
            *(BYTE, WORD, DWORD, LWORD, SSTRING, STRING, STRUCT),
        )
    }

    @classmethod
    def produce(cls, data: Any, tag_type: int | None = None) -> bytes:
        """The bytes of `data["data"]`, of the type given or in `type` or `tag_type`.

        Raises:
            AssertionError: an unknown type.
        """
        code = tag_type or data.get("type") or data.get("tag_type")
        kind = cls.TYPES_SUPPORTED.get(code)
        assert kind is not None, f"Unknown tag_type {code!r}"
        if kind is STRUCT:
            return STRUCT.produce(data, data.get("structure_tag"))
        return b"".join(kind.produce(value) for value in data["data"])

    @classmethod
    def datasize(cls, tag_type: int, size: int = 1) -> int:
        """Bytes of `size` values; texts are guessed.

        Raises:
            AssertionError: an unknown type.
        """
        assert tag_type in cls.TYPES_SUPPORTED, f"Unknown tag_type {tag_type!r}"
        return int(cls.TYPES_SUPPORTED[tag_type].struct_calcsize * size)


def enip_encode(data: Any) -> bytes:
    """An encapsulation message of `{"command", "session_handle", "status", "options", "input"}`."""
    payload = bytes(data.get("input") or b"")
    context = bytes(data.get("sender_context.input") or b"")[:8].ljust(8, b"\0")
    head = (data["command"], len(payload), data.get("session_handle") or 0)
    return HEADER.pack(*head, data.get("status") or 0, context, data.get("options") or 0) + payload


def produce(data: Any) -> bytes:
    """Not offered: the bytes of any dotted data.

    Raises:
        Replaced: always.
    """
    return _Machine.produce(data)


def octets_encode(value: Any) -> bytes:
    """The bytes in a container of bytes.

    Raises:
        AssertionError: it is none.
    """
    single = isinstance(value, array.array) and value.itemsize == 1
    assert single or isinstance(value, bytes | bytearray), f"no bytes: {type(value).__name__}"
    return bytes(value)


def enip_format(data: Any, sort_keys: bool = False, indent: int = 4) -> str:
    """Dotted data as a Python literal, an entry a line; bytes as a hex dump in `hexload`."""
    assert isinstance(data, dict), f"Unknown data type {data!r}"
    entries = sorted(data.items()) if sort_keys else data.items()
    prefix = "\n" + " " * indent
    shown = [f"{prefix}{f'{key!r}: ':32}{_literal(value, prefix)}," for key, value in entries]
    return "{" + "".join(shown) + "\n}"


def _literal(value: Any, prefix: str) -> str:
    deeper = prefix + "    "
    single = isinstance(value, array.array) and value.itemsize == 1
    if single or isinstance(value, bytes | bytearray):
        rows = "".join(deeper + row for row in hexdumper(bytes(value)))
        name = f"array( {value.typecode!r}, " if single else type(value).__name__ + "("
        return f"{name}hexload(r'''{rows}{prefix}'''))"
    if is_listlike(value) and not isinstance(value, dict) and len(value) > _GREAT:
        rows = ""
        for number, item in enumerate(value):
            shown = f"{item!r},"
            rows += deeper if number % _GREAT == 0 else ""
            rows += shown.ljust(8) if isinstance(item, str) else shown.rjust(8)
        return f"{type(value).__name__}({rows}{prefix})"
    return repr(value)
