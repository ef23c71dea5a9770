"""The plant as every process knows it: listeners, routes, lines, devices, groups, tags.

`cpppod.configuration` reads and validates the TOML file; `cpppod.gateway.topology` cuts it into one
settings file per worker. What travels is this module's records as plain JSON: `to_plain` and
`from_plain`.

    Plant ─ Listener ─ LocalTag        a tag of a device is known to all as  device.tag
          ├ Route                      its block travels under the topic     device/group/
          ├ Line (one serial port)     a local tag's block under             local/<listener>/
          ├ Device ─ Group ─ Tag
          └ RunningOutlet

Times are seconds (`_s`); names match `[A-Za-z_][A-Za-z0-9_]{0,39}`, unique without regard to case.
"""

import typing
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from cpppod.protocols.model.errors import DecodeError

NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,39}"
STALE_PERIODS = 3  # a group's values are stale after so many of its periods ...
STALE_AT_LEAST_S = 3.0  # ... and not before so many seconds
COMPUTED = "computed"  # in place of a driver: a device whose tags are computed from others
WIDE_TYPES = frozenset("DINT UDINT DWORD LINT ULINT LWORD LREAL".split())


@dataclass(frozen=True, slots=True)
class Tag:
    """One value of a device.

    Attributes:
        address: in the driver's own terms: `40001`, `HR:0`, `Program:Main.Speed[3]`, a capture.
        type: how the device holds it, a CIP type name (`INT`, `REAL`, `STRING` ...).
        length: elements; 1 is a scalar. A string's `size` is its bytes on the device.
        word_order, byte_order: `big` or `little`, for values of several registers.
        bit: which bit of the register or word, or None.
        scale, offset: value = raw x scale + offset; a write applies the inverse and rounds.
        value_type: what clients see, a CIP type name; where scaled `REAL`, or `LREAL` for types of
            32 and 64 bits, whose digits a `REAL` would lose; else `type`.
        deadband: smallest change that is published, in the value's unit.
        minimum, maximum: limits of a write, in the value's unit.
        write_rate: how often it may be written (`protocols.model.writing.RateLimit`), "" for any.
        flat_name: a further, flat CIP tag name, or "".
        encoding: of a value in registers that is no plain number (`protocols.modbus.encodings`),
            and the `zone` of a date.
        unavailable: raw values by which the device says that it has none.
        scale_from: address of the register that holds the power of ten to scale with.
        exists_from, exists_at: the tag is there while the register with this address holds this
            number at least.
        texts, flags: `7=fault`: what a number, or each of its bits, means; of a text that is made
            of a number, `holds` is the number's type.
        write_only: the device does not tell it: the value is the one last written.
    """

    name: str
    address: str
    type: str = "INT"
    length: int = 1
    size: int = 0
    word_order: str = "big"
    byte_order: str = "big"
    bit: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    value_type: str = ""
    unit: str = ""
    deadband: float = 0.0
    writable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    write_rate: str = ""
    flat_name: str = ""
    description: str = ""
    encoding: str = ""
    zone: str = ""
    unavailable: tuple[float, ...] = ()
    scale_from: str = ""
    exists_from: str = ""
    exists_at: int = 1
    texts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    holds: str = ""
    write_only: bool = False

    @property
    def cip_type(self) -> str:
        """The CIP type that clients read and write."""
        if self.value_type:
            return self.value_type
        if self.bit is not None:
            return "BOOL"
        if self.scale == 1.0 and self.offset == 0.0 and not self.scale_from:
            return self.type
        return "LREAL" if self.type in WIDE_TYPES else "REAL"


@dataclass(frozen=True, slots=True)
class Group:
    """Tags of a device that are read together, every `period_s`.

    Attributes:
        history: whether every block of the group is journalled and stored.
        max_age_s: age from which its values are stale; 0 means 3 periods, at least 3 s.
        phase_s: offset of its slots; None spreads the groups by itself.
        prometheus: whether the metrics page has its values.
    """

    name: str
    period_s: float
    tags: tuple[Tag, ...] = ()
    history: bool = False
    max_age_s: float = 0.0
    phase_s: float | None = None
    prometheus: bool = False

    @property
    def stale_after_s(self) -> float:
        """Age in seconds from which the group's values are no longer fresh."""
        return self.max_age_s or max(STALE_PERIODS * self.period_s, STALE_AT_LEAST_S)


@dataclass(frozen=True, slots=True)
class Device:
    """One device behind the gateway.

    Attributes:
        driver: name of its manifest (`workers.devices.spec.DRIVERS`), or `COMPUTED`.
        address: `host:port`; the name of a `Line` where it is on one.
        unit: its id among those that share its line or address.
        retries: further tries of a poll after a time-out; writes are never retried.
        delay_s: pause between two requests to it.
        demote_after: time-outs in a row from which it is demoted and only probed.
        in_flight: requests outstanding at once, where its driver can do that.
        route_path: from the device's own address on, e.g. `1/0`; "" for none (a simple device).
        connected: talk over a class 3 connection (Forward Open), where it speaks CIP.
        model: quirks, as `etc/models/*.toml` has them, already resolved.
        options: what only its driver knows.
        enabled: False is configured but not polled.
        isolate: give it a worker of its own, however many devices there are.
    """

    name: str
    driver: str
    address: str
    unit: int = 1
    timeout_s: float = 1.0
    retries: int = 1
    delay_s: float = 0.0
    demote_after: int = 3
    in_flight: int = 4
    route_path: str = ""
    connected: bool = False
    groups: tuple[Group, ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    enabled: bool = True
    isolate: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One serial line; `port` is a path (or `rtu-over-tcp://host:port`)."""

    name: str
    port: str
    baudrate: int = 19_200
    bytesize: int = 8
    parity: str = "E"
    stopbits: float = 1
    rs485: dict[str, Any] = field(default_factory=dict)
    strip_echo: bool = False
    late_window_s: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class LocalTag:
    """A tag that lives in the listener: `dimensions` () is a scalar, up to three are an array."""

    name: str
    type: str
    dimensions: tuple[int, ...] = ()
    value: Any = None
    address: str = ""
    retain: bool = False
    writable: bool = True
    write_rate: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go whose route path begins with `path` (`1/1`, `1/2-7`, `2/10.0.0.5`).

    Attributes:
        device: name of a configured device, or "" where `address` (`host:port`) is given.
        read_only: only services that change nothing pass.
        classes: CIP classes that may be addressed, () for all.
        sources: client networks that may use it (CIDR), () for all.
        limit: requests outstanding at once.
        relayed: whether the device is asked; False where it relays no CIP, and the listener that
            asks answers from its image.
    """

    path: str
    device: str = ""
    address: str = ""
    read_only: bool = False
    classes: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()
    limit: int = 64
    relayed: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """One EtherNet/IP address that the gateway serves.

    Attributes:
        address: `host:port`, an IP address.
        route_path: local route path (`1/0`); "" serves bare requests and 1/0.
        objects: settings of further CIP objects, by the table of their manifest
            (`cpppod.protocols.cip.objects.spec`); the two that follow are older than it.
        identity: attributes of the Identity object: vendor_id, device_type, product_code,
            major_revision, minor_revision, status, serial_number, product_name, state,
            configuration_consistency_value, heartbeat_interval; what is not named has its default.
        tcpip: of the TCP/IP Interface object: status, configuration_capability,
            configuration_control, ip_address, network_mask, gateway_address, name_server,
            name_server_2, domain_name, host_name; likewise.
        structures: name -> [{name, type, length}] of its members in order.
        write_sources: client networks that may write (CIDR), () for all.
        limits: max_clients, max_clients_per_address, idle_s.
        lenient_types: take writes of another type too, where no value changes by it.
    """

    name: str
    address: str = "127.0.0.1:44818"
    udp: bool = True
    personality: str = "controllogix"
    route_path: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    tcpip: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    tags: tuple[LocalTag, ...] = ()
    structures: dict[str, Any] = field(default_factory=dict)
    write_sources: tuple[str, ...] = ()
    limits: dict[str, Any] = field(default_factory=dict)
    lenient_types: bool = False


@dataclass(frozen=True, slots=True)
class RunningOutlet:
    """An outlet that runs: the section of one, as its manifest's settings make it.

    Attributes:
        kind: name of its manifest, which is its worker's role.
        name: of its worker.
        section: where it is configured.
        options: what its worker is told.
        addresses: key of the section -> `host:port` that it listens at.
        places: what -> where people find it.
        groups: those that it has journalled besides the historised ones, as `device/group`.
    """

    kind: str
    name: str
    section: str
    options: Any
    addresses: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plant:
    """The whole configuration, validated; `cpppod.gateway.topology` cuts it into `Worker`s.

    Attributes:
        id: told apart by it from all other gateways; "" for the one that its state directory has.
        state_dir: durable state; "" lets the daemon choose.
        devices_per_worker: size of a poller's share once there are more than 16 TCP devices.
        control: that section, with the keys of `Worker.options`.
        audit: likewise, what every worker that takes writes is told.
    """

    name: str = "cpppod"
    id: str = ""
    log_level: str = "INFO"
    state_dir: str = ""
    devices_per_worker: int = 16
    listeners: tuple[Listener, ...] = ()
    routes: tuple[Route, ...] = ()
    lines: tuple[Line, ...] = ()
    devices: tuple[Device, ...] = ()
    outlets: tuple[RunningOutlet, ...] = ()
    control: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)

    def options(self, section: str) -> Any:
        """What the worker of an outlet's section is told; None where it does not run."""
        return next((each.options for each in self.outlets if each.section == section), None)


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process is told at its start: the content of its settings file.

    Its options, by role (seconds, bytes; addresses are `host:port`, or "" for none):
        an outlet's: what `options` of its `settings.py` returns.
        of an outlet that reads journals besides: readers (all such, by the workers' names).
        historian: unstored (groups that are journalled for other outlets alone).
        control and listener: audit {required, file_bytes}.
        poller and serial: journal_bytes, journal_age_s, journalled (groups beside the historised).
        control: groups {role: Unix group}, workers {name: role}, supervisor (its socket), files
            (of the configuration), and every outlet's options under the name of its section.

    Attributes:
        name: unique in the gateway; also its publisher's name and its identity on the bus.
        gateway: the gateway's id: names are unique within it only; `gateway_name` is what people
            call it.
        role: `listener`, `router`, `poller`, `serial`, `control`, or the name of an outlet.
        bus_dir: folder of the ZeroMQ sockets (mode 0700).
        state_dir: durable state; `runtime_dir`: the control socket and this file's folder.
        generation: number of the configuration that this is part of.
        devices: those it owns (poller, serial) or must know (all others).
        options: settings of its role alone.
    """

    name: str
    role: str
    bus_dir: str
    state_dir: str
    runtime_dir: str
    generation: int = 0
    log_level: str = "INFO"
    devices: tuple[Device, ...] = ()
    lines: tuple[Line, ...] = ()
    routes: tuple[Route, ...] = ()
    listeners: tuple[Listener, ...] = ()
    owners: dict[str, str] = field(default_factory=dict)  # device -> worker that owns it
    options: dict[str, Any] = field(default_factory=dict)
    gateway: str = ""
    gateway_name: str = "cpppod"


_Record = TypeVar("_Record")


def to_plain(record: Any) -> Any:
    """`record` as JSON can say it: dataclasses become maps without their default values."""
    if is_dataclass(record) and not isinstance(record, type):
        plain = {}
        for item in fields(record):
            value = getattr(record, item.name)
            if item.default != value:
                plain[item.name] = to_plain(value)
        return plain
    if isinstance(record, tuple | list):
        return [to_plain(value) for value in record]
    if isinstance(record, dict):
        return {str(key): to_plain(value) for key, value in record.items()}
    return record


def from_plain(record: type[_Record], plain: Any) -> _Record:
    """The `record` that `to_plain` wrote; unknown keys are ignored, so that older readers work.

    Raises:
        DecodeError: `plain` is not a map, or lacks a key that has no default.
    """
    if not isinstance(plain, dict):
        raise DecodeError(f"{record.__name__}: expected a map", status=0)
    known = {}
    try:
        for name, (member, is_tuple) in _members(typing.cast(Any, record)).items():
            if name in plain:
                value = plain[name]
                if member is not None:
                    value = tuple(from_plain(member, item) for item in value)
                elif is_tuple:
                    value = tuple(value)
                known[name] = value
        return record(**known)
    except TypeError as error:
        raise DecodeError(f"{record.__name__}: {error}", status=0) from None


@cache
def _members(record: Any) -> dict[str, tuple[Any, bool]]:
    """Field -> (the record that its tuple holds, whether it is one); worked out once a record."""
    members: dict[str, tuple[Any, bool]] = {}
    hints = typing.get_type_hints(record)
    for item in fields(record):
        hint = hints[item.name]
        is_tuple = typing.get_origin(hint) is tuple
        inner = typing.get_args(hint)[0] if is_tuple else None
        members[item.name] = (inner if is_dataclass(inner) else None, is_tuple)
    return members
