"""The sections of the configuration file, as pydantic models; `File` is the whole of it.

    [gateway]   [[listener]]   [[tag]]   [[structure]]   [[route]]   [line.NAME]
    [template.NAME]   [device.NAME] with [[device.NAME.group]] and its tags   [[computed]]
    [control]   and the sections of outlets, from their manifests: [feed] [history] [web] ...

Field by field only; what takes two sections to see is in `cpppod.configuration.checks`.
"""

from functools import cache
from typing import Annotated, Any, Literal, get_origin

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, create_model

from cpppod.protocols.cip.objects.spec import Number, Setting, object_specs
from cpppod.workers.devices.spec import DRIVERS, DriverSpec
from cpppod.workers.outlets.roles import CORE_ROLES
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.outlets.spec import OUTLETS, OutletSpec
from cpppod.workers.settings import (
    Duration,
    ListenAddress,
    Name,
    Network,
    OptionalCipType,
    OptionalHostPort,
    OptionalRoutePath,
    Section,
    Size,
    TagAddress,
    Text,
    WriteRate,
    expected,
    stop_bits,
)

Order = Literal["big", "little"]
Personality = Literal[
    "controllogix", "compactlogix", "micro800", "micrologix", "slc500", "plc5", "simple"
]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
UnsignedByte = Annotated[int, Field(ge=0, le=0xFF)]
UnsignedWord = Annotated[int, Field(ge=0, le=0xFFFF)]
MAX_ELEMENTS = 65_535  # Read Tag counts elements in 16 bits
SHORTEST_PERIOD_S = 0.01  # below it a schedule in Python is a promise that cannot be kept


class Gateway(Section):
    """What concerns the whole gateway."""

    name: Name = Field(
        default="cpppod", description="how it calls itself in logs and on the metrics page"
    )
    id: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,39})?$")] = Field(
        default="",
        description="told apart by it from all other gateways in stores and on the feed; "
        "without it one is made and kept in the state directory",
    )
    log_level: Level = Field(default="INFO", description="of every worker's log")
    state_directory: Text = Field(default="", description="durable state; default /var/lib/cpppod")
    devices_per_worker: int = Field(
        default=16,
        ge=1,
        le=256,
        description="a poller's share, once there are more than 16 TCP devices",
    )
    cpppo_cfg: bool = Field(
        default=True, description="take values from a cpppo.cfg where cpppo reads it"
    )


class Limits(Section):
    """What a listener lets its clients take."""

    max_clients: int | None = Field(default=None, ge=1, le=4096, description="connections in all")
    max_clients_per_address: int | None = Field(
        default=None, ge=1, le=4096, description="connections of one address"
    )
    idle: Duration | None = Field(
        default=None, description="a registered session silent so long is closed"
    )


class _Listener(Section):
    """One EtherNet/IP address that the gateway serves."""

    name: Name = Field(default="main", description="told apart by it from other listeners")
    address: ListenAddress = Field(default="127.0.0.1:44818", description="where it listens")
    udp: bool = Field(
        default=True, description="answer discovery (List Identity ...) on the same port"
    )
    personality: Personality = Field(
        default="controllogix", description="which controller it passes for"
    )
    route_path: OptionalRoutePath = Field(
        default="", description='local route path such as "1/0"; without: 1/0 and bare requests'
    )
    write_sources: list[Network] = Field(default=[], description="client networks that may write")
    limits: Limits = Field(default=Limits(), description="what its clients may take")
    lenient_types: bool = Field(
        default=False,
        description="take writes of another type too, where no value changes by it; without, they "
        "are refused with 0xFF/0x2107 as controllers do",
    )


def _kind(setting: Setting) -> Any:
    """The type of an object's setting."""
    if isinstance(setting, Number):
        return Annotated[int, Field(ge=0, le=setting.most)]
    return Annotated[str, Field(max_length=setting.longest)] if setting.longest else Text


def _described(key: str) -> Any:
    return Field(default=None, description=f"its {key.replace('_', ' ')}, as clients read it")


@cache
def object_tables() -> dict[str, type[Section]]:
    """Table of `[[listener]]` -> model of the settings of the CIP object that has it."""
    found: dict[str, type[Section]] = {}
    for spec in object_specs():
        if spec.table:
            keys: Any = {
                key: (_kind(setting) | None, _described(key))
                for key, setting in spec.settings.items()
            }
            words = f"Attributes of the {spec.title} object that the listener shows."
            found[spec.table] = create_model(
                spec.title, __base__=Section, __doc__=words, __module__=__name__, **keys
            )
    return found


@cache
def listener() -> type[_Listener]:
    """One EtherNet/IP address that the gateway serves."""
    tables: Any = {name: (model, model()) for name, model in object_tables().items()}
    return create_model("Listener", __base__=_Listener, __doc__=_Listener.__doc__, **tables)


class LocalTag(Section):
    """A tag that lives in the listener."""

    name: Name = Field(description="its name for clients")
    type: Text = Field(description='a CIP type or a structure; an array as "DINT[10]"')
    value: Any = Field(default=None, description="first value, a list for an array; zero without")
    address: Annotated[str, Field(pattern=r"^(@\d+/\d+/\d+)?$")] = Field(
        default="", description='a CIP address of its own: "@class/instance/attribute"'
    )
    retain: bool = Field(default=False, description="keep the value over a restart")
    writable: bool = Field(default=True, description="clients may write it")
    write_rate: WriteRate = Field(
        default="", description='writes that it takes: "10/min"; default no limit'
    )
    listener: Annotated[str, Field(max_length=40)] = Field(
        default="", description="whose; default all"
    )
    description: Text = Field(default="", description="free text")


class Member(Section):
    """One member of a structure."""

    name: Name = Field(description="its name")
    type: Text = Field(description="a CIP type, or another structure")
    length: int = Field(default=1, ge=1, le=MAX_ELEMENTS, description="elements; 1 is a scalar")


class Structure(Section):
    """A structure type for local tags."""

    name: Name = Field(description="its name as a type")
    members: list[Member] = Field(min_length=1, max_length=500, description="in their order")


class Route(Section):
    """Where requests go whose route path begins with `path`."""

    path: Text = Field(description='"1/1", a range "1/2-7", or "2/10.0.0.5"')
    device: Annotated[str, Field(max_length=40)] = Field(default="", description="name of a device")
    address: OptionalHostPort = Field(
        default="", description="or host:port of an EtherNet/IP device"
    )
    read_only: bool = Field(default=False, description="nothing that writes is passed on")
    classes: list[UnsignedWord] = Field(default=[], description="CIP classes that may be addressed")
    sources: list[Network] = Field(default=[], description="client networks that may use it")
    limit: int = Field(default=64, ge=1, le=1024, description="requests outstanding at once")


class Rs485(Section):
    """The kernel's RS-485 mode of a port."""

    rts_level_for_tx: bool = Field(default=True, description="RTS while sending")
    rts_level_for_rx: bool = Field(default=False, description="RTS while receiving")
    delay_before_tx: Duration | None = Field(default=None, description="pause before sending")
    delay_before_rx: Duration | None = Field(default=None, description="pause after sending")


class Line(Section):
    """One serial line."""

    port: Text = Field(description="path of the port, or rtu-over-tcp://host:port")
    baudrate: int = Field(default=19_200, ge=50, le=4_000_000, description="bits per second")
    bytesize: Literal[7, 8] = Field(default=8, description="data bits")
    parity: Literal["N", "E", "O", "M", "S"] = Field(
        default="E", description="none, even, odd, mark or space"
    )
    stopbits: Annotated[float, AfterValidator(stop_bits)] = Field(
        default=1, description="1, 1.5 or 2"
    )
    rs485: Rs485 | None = Field(default=None, description="the kernel's RS-485 mode")
    strip_echo: bool = Field(default=False, description="the adapter hears what it sends")
    late_window: Duration | None = Field(
        default=None, description="how long a late reply is waited for after a time-out"
    )
    description: Text = Field(default="", description="free text")


class Tag(Section):
    """One value of a device."""

    name: Name = Field(description="its name below the device")
    address: TagAddress = Field(description="where the device has it")
    type: OptionalCipType = Field(default="", description="as the device holds it; default INT")
    length: int = Field(default=1, ge=1, le=MAX_ELEMENTS, description="elements; 1 is a scalar")
    size: int = Field(default=0, ge=0, le=1024, description="a string's bytes on the device")
    word_order: Order | None = Field(default=None, description="of values of several registers")
    byte_order: Order | None = Field(default=None, description="within a register")
    bit: int | None = Field(
        default=None, ge=0, le=63, description="the tag is this bit of the word"
    )
    scale: float = Field(
        default=1.0, allow_inf_nan=False, description="the value is raw x scale + offset"
    )
    offset: float = Field(
        default=0.0, allow_inf_nan=False, description="the value is raw x scale + offset"
    )
    value_type: OptionalCipType = Field(
        default="", description="what clients see; REAL where scaled"
    )
    unit: Text = Field(default="", description="of measurement, for people")
    deadband: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="a smaller change is no change"
    )
    writable: bool = Field(default=False, description="clients may write it")
    minimum: float | None = Field(
        default=None, allow_inf_nan=False, description="least value that may be written"
    )
    maximum: float | None = Field(
        default=None, allow_inf_nan=False, description="greatest value that may be written"
    )
    write_rate: WriteRate = Field(
        default="", description='writes that it takes: "10/min"; default that of its group'
    )
    flat_name: Annotated[str, Field(max_length=40)] = Field(
        default="", description="a further name without a dot"
    )
    description: Text = Field(default="", description="free text")
    notes: dict[str, str] = Field(default={}, description="kept for others; nothing reads it here")
    encoding: Annotated[str, Field(max_length=40)] = Field(
        default="", description="of registers that hold no plain number: bcd, 24-bit, date-bcd ..."
    )
    zone: Text = Field(default="", description="of a date: Europe/Berlin; default UTC")
    unavailable: list[int | float] = Field(
        default=[], description="raw values by which the device says that it has none"
    )
    scale_from: Annotated[str, Field(max_length=200)] = Field(
        default="", description="address of the register with the power of ten to scale with"
    )
    exists_from: Annotated[str, Field(max_length=200)] = Field(
        default="", description="address of a register: the tag is there while that says so"
    )
    exists_at: int = Field(
        default=1, ge=1, le=0xFFFF, description="the least number in `exists_from` with which it is"
    )
    texts: dict[str, Text] = Field(default={}, description="what its numbers mean")
    flags: dict[str, Text] = Field(default={}, description="what its bits mean")
    write_only: bool = Field(default=False, description="the device does not tell it")


class Repeat(Section):
    """A block of registers that is there several times."""

    count: int = Field(ge=1, le=1000, description="how often it is there, at most")
    count_from: Annotated[str, Field(max_length=200)] = Field(
        default="", description="address of the register that says how often it is there now"
    )
    step: int = Field(ge=1, le=10_000, description="registers from one to the next")


class Group(Section):
    """Tags that are read together."""

    name: Name = Field(description="told apart by it from the device's others")
    period: Duration = Field(description="from one reading to the next")
    tags: list[Tag] = Field(min_length=1, description="what is read")
    sunspec: list[UnsignedWord] = Field(
        default=[], description="models whose points are its tags, beside those of `tags`"
    )
    history: bool = Field(default=False, description="its values are stored")
    write_rate: WriteRate = Field(
        default="", description='writes that each of its tags takes: "10/min"; default no limit'
    )
    max_age: Duration = Field(default=0.0, description="stale from this age on; default 3 periods")
    phase: Duration | None = Field(
        default=None, description="shift of its readings within the period"
    )
    prometheus: bool = Field(
        default=False, description="the metrics page has its values, with quality and age"
    )
    repeat: Repeat | None = Field(
        default=None, description="its tags are there so often: name_1, name_2 ..."
    )


@cache
def drivers() -> dict[str, tuple[DriverSpec, type[Section]]]:
    """Driver -> its manifest and the model of the keys that are its own."""
    return DRIVERS.settings(Section)


def known_driver(name: Any) -> str:
    """The name of a driver that can be used."""
    if isinstance(name, str) and name in drivers():
        return name
    if isinstance(name, str) and (why := DRIVERS.failures.get(name)):
        raise expected(f"a driver that can be used ({why})")
    *first, last = map(repr, drivers())
    raise expected(f"one of {', '.join(first)} or {last}")


Driver = Annotated[str, BeforeValidator(known_driver)]


class _DeviceKeys(Section):
    address: OptionalHostPort = Field(default="", description="host:port")
    line: Annotated[str, Field(max_length=40)] = Field(
        default="", description="name of its serial line"
    )
    timeout: Duration = Field(default=1.0, description="how long a reply is waited for")
    retries: int = Field(default=1, ge=0, le=10, description="of a request without a reply")
    delay: Duration = Field(default=0.0, description="pause between two requests")
    demote_after: int = Field(default=3, ge=1, le=1000, description="time-outs in a row")
    word_order: Order | None = Field(default=None, description="of its tags, where they do not say")
    byte_order: Order | None = Field(default=None, description="of its tags, where they do not say")
    model: Text = Field(default="", description="a device model: a file of etc/models, by name")
    options: dict[str, Any] = Field(default={}, description="what only its driver knows")
    description: Text = Field(default="", description="free text")
    enabled: bool = Field(default=True, description="false: it is left alone")
    isolate: bool = Field(default=False, description="a worker of its own")
    group: list[Group] = Field(default=[], description="what is read together")


class Device(_DeviceKeys):
    """One device, whole or made from a template."""

    driver: Driver = Field(description="how it is spoken to")
    template: Annotated[str, Field(max_length=40)] = Field(
        default="", description="name of the template that it is made from"
    )
    parameters: dict[str, str | int | float | bool] = Field(
        default={}, description="values for the template's ${...}"
    )


class Template(_DeviceKeys):
    """What devices of one kind have in common; `${parameter}` stands for what differs."""

    driver: Driver | None = Field(default=None, description="how its devices are spoken to")
    parameters: dict[str, str | int | float | bool] = Field(
        default={}, description="default values"
    )


class Control(Section):
    """Who may do what over the control socket: Unix groups."""

    viewer_group: Text = Field(default="cpppod-viewer", description="may look")
    operator_group: Text = Field(default="cpppod-operator", description="may write tags as well")
    engineer_group: Text = Field(default="cpppod-engineer", description="may do all")


class Computed(Section):
    """A tag that is computed from others, whenever one of them is read."""

    name: Name = Field(description="its name below the device")
    expression: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="such as `boiler.flow * 3.6 / max(boiler.speed, 1)`"
    )
    device: Name = Field(default="computed", description="the device that it is a tag of")
    type: OptionalCipType = Field(default="", description="of the result; default LREAL")
    unit: Text = Field(default="", description="of measurement, for people")
    deadband: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="a smaller change is no change"
    )
    history: bool = Field(default=False, description="its values are stored")
    flat_name: Annotated[str, Field(max_length=40)] = Field(
        default="", description="a further name without a dot"
    )
    description: Text = Field(default="", description="free text")


class Audit(Section):
    """The record of every attempt to write: docs/control.md."""

    required: bool = Field(
        default=False, description="no write while the last record could not be written"
    )
    size: Size = Field(
        default=64_000_000,
        ge=1_000_000,
        le=100_000_000_000,
        description="what one process's records may take: the oldest sixteenth goes first",
    )


class _File(Section):
    """The sections that are no outlet's."""

    model_config = ConfigDict(title="cpppod configuration")

    gateway: Gateway = Gateway()
    listener: list[_Listener] = Field(default=[])
    tag: list[LocalTag] = Field(default=[])
    structure: list[Structure] = Field(default=[])
    route: list[Route] = Field(default=[])
    line: dict[str, Line] = Field(default={})
    template: dict[str, Template] = Field(default={})
    device: dict[str, Device] = Field(default={})
    computed: list[Computed] = Field(default=[])
    control: Control = Control()
    audit: Audit = Audit()


@cache
def outlet_sections() -> dict[str, tuple[OutletSpec, type[OutletSection]]]:
    """Section -> the manifest and the model of the outlet that it configures."""
    found: dict[str, tuple[OutletSpec, type[OutletSection]]] = {}
    for name, (spec, model) in OUTLETS.settings(OutletSection).items():
        if spec.section in found or spec.section in _File.model_fields or name in CORE_ROLES:
            OUTLETS.failures[name] = f"the section [{spec.section}] or the role {name} is taken"
        elif spec.many and "name" not in model.model_fields:
            OUTLETS.failures[name] = f"{spec.settings} has no key name"
        else:
            found[spec.section] = (spec, model)
    return found


@cache
def whole_file() -> type[Section]:
    """The whole configuration file."""
    outlets: dict[str, Any] = {
        section: (list[model], []) if spec.many else (model, model.model_construct())  # type: ignore[valid-type]
        for section, (spec, model) in outlet_sections().items()
    }
    listeners: Any = (list[listener()], Field(default=[]))  # type: ignore[misc]
    return create_model(
        "File", __base__=_File, __doc__=whole_file.__doc__, listener=listeners, **outlets
    )


def shape_of(section: str) -> str:
    """How a section is written: `[[listener]] tables`, `tables [device.NAME]`, `a table [feed]`."""
    kind = get_origin(whole_file().model_fields[section].annotation)
    if kind is list:
        return f"[[{section}]] tables"
    return f"tables [{section}.NAME]" if kind is dict else f"a table [{section}]"


def kinds() -> dict[str, type[list[Any]] | type[dict[str, Any]]]:
    """Section -> what TOML makes of it: `[[listener]]` is a list, `[gateway]` a table."""
    fields = whole_file().model_fields.items()
    return {name: list if get_origin(each.annotation) is list else dict for name, each in fields}
