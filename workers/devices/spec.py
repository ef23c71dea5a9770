"""What the rest of the gateway knows of a driver: its manifest, and the list of them.

A driver is a folder of its own (`workers/drivers/NAME`): `spec.py` with its `DriverSpec`,
`settings.py` with the keys of `[device.NAME]` that are its own, `driver.py` with its `Driver`.
It is told to the gateway by a line in `DRIVERS`, or by an entry point `cpppod.drivers` of another
package (docs/extending.md). Nobody else compares its name.

    configuration   settings, check, check_tag, place      what a file may say
    topology        shares_address, relay                  which worker owns the device
    the frame       make, shares_address, default_port     the wire and the driver
    people          title, simulator, metrics              docs, and a device to try it with
    tag lists       browse, browse_where                   what a device says that it has

A manifest imports nothing but the standard library and this module at its top; what it needs to
check or to make is imported when that is done.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import StatusText, explain
from cpppod.workers.devices.driver import DeviceFrame, Driver, Link
from cpppod.workers.registry import Registry

Mistake = tuple[str, Any, str]  # key (`frames.x.pattern` within tables), value found, expectation


class Place(Enum):
    """What a driver speaks over: a `host:port`, a serial line, or either."""

    ADDRESS = "address"
    LINE = "line"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """A device to try the driver with.

    Attributes:
        module: run as `python -m MODULE ARGUMENTS`; it ends by SIGINT.
        arguments: `{address}` in them is where it is to be: a free `host:port`, behind
            `rtu-over-tcp://` where the driver needs a line.
        configuration: TOML with one device and one of its groups or more, `{address}` likewise.
    """

    module: str
    arguments: tuple[str, ...]
    configuration: str


@dataclass(frozen=True, slots=True)
class Browsed:
    """What a device says that it has.

    Attributes:
        tags: as a group of its configuration can have them; none is writable.
        left_out: (the device's own name, why it is in none of the tags).
    """

    tags: tuple[Tag, ...]
    left_out: tuple[tuple[str, str], ...] = ()


InWords = Callable[[bytes, bool], str]
Progress = Callable[[int, int], None]  # how many were asked, of how many (0: nobody knows)
Browse = Callable[[Device, str, Progress], Coroutine[Any, Any, Browsed]]


def _anything_goes(device: Device) -> tuple[Any, list[Mistake]]:
    return device.options, []


def _any_tag(tag: Tag, settings: Any) -> Iterable[Mistake]:
    return ()


def _nothing_to_say(device: Device, group: Group) -> str:
    return ""


def _nothing_unlikely(device: Device) -> Iterable[str]:
    return ()


def as_text(data: bytes, reply: bool) -> str:
    """Bytes as the characters that they are."""
    return repr(data)[2:-1]


def _no_bit(address: str) -> int | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSpec:
    """The manifest of one driver.

    Attributes:
        name: what `driver` in a device's table calls it.
        title: what it speaks to, for people.
        place: where its devices may be.
        make: (device, link, frame) -> its driver; no I/O. `link` is None where the driver opens a
            connection of its own to `device.address`, else the wire that it shares.
        default_port: of an address without one, None where it must have one.
        shares_address: several devices (units) at one address share its connection.
        settings: `package.module:Class` of the keys that are its own (a `workers.settings.Section`;
            only the configuration imports it). A key that `plant.Device` has is set there, every
            other in its `options`. Without: it has none.
        from_model: those of its keys that a device model may give in the device's stead.
        elsewhere: those that devices of other drivers may carry too, without an effect.
        check: (device, without its groups) -> its settings as `check_tag` takes them, None where
            they are of no use; and every mistake in them.
        check_tag: (tag, settings) -> every mistake in it.
        bit_of: (a tag's address) -> the bit that it names itself, None for none.
        status_text: (status, extended status or 0) of a value's quality -> what the device means.
        shift: (address, n) -> the address n cells further on; its tags can have what registers
            have: an encoding, sentinels, a power of ten, texts, repeats. None: they cannot.
        points: (numbers of SunSpec's models) -> tables of their tags; `ValueError` says why there
            are none. None where its devices have no such models.
        understood: what polling a group costs, for people who check a configuration.
        unlikely: what of a device can be, and is hardly meant.
        relay: its devices understand CIP: its drivers have a `cip`.
        metrics: names of what `Driver.describe` counts, on the page `cpppod_NAME_total`.
        in_words: (bytes that went over its wire, whether they came from the device) -> what they
            say, for people; by itself the characters that they are.
        simulator: a device to try it with.
        browse: (device without groups, where, progress) -> what it has, over a connection of its
            own; `where` is in the driver's terms, "" all of it. `DeviceError`: it does not say.
            On a serial line `device.address` is the port, `device.options` are keys of a `Line`.
            None where devices cannot be asked.
        browse_where: for people, what `where` is.
    """

    name: str
    title: str
    place: Place
    make: Callable[[Device, Link | None, DeviceFrame], Driver]
    default_port: int | None = None
    shares_address: bool = False
    settings: str = "cpppod.workers.settings:Section"
    from_model: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    check: Callable[[Device], tuple[Any, list[Mistake]]] = _anything_goes
    check_tag: Callable[[Tag, Any], Iterable[Mistake]] = _any_tag
    bit_of: Callable[[str], int | None] = _no_bit
    status_text: StatusText | None = None
    shift: Callable[[str, int], str] | None = None
    points: Callable[[list[int]], list[dict[str, Any]]] | None = None
    understood: Callable[[Device, Group], str] = _nothing_to_say
    unlikely: Callable[[Device], Iterable[str]] = _nothing_unlikely
    relay: bool = False
    metrics: tuple[str, ...] = ()
    in_words: InWords = as_text
    simulator: SimulatedDevice | None = None
    browse: Browse | None = None
    browse_where: str = ""


DRIVERS = Registry(
    DriverSpec,
    "cpppod.drivers",
    {
        "modbus-tcp": "cpppod.workers.drivers.modbus.spec:TCP",
        "modbus-rtu": "cpppod.workers.drivers.modbus.spec:RTU",
        "enip": "cpppod.workers.drivers.enip.spec:SPEC",
        "text": "cpppod.workers.drivers.text.spec:SPEC",
    },
)


def shares_address(driver: str) -> bool:
    """Whether devices of that driver at one address share a connection."""
    spec = DRIVERS.find(driver)
    return spec is not None and spec.shares_address


def relays(driver: str) -> bool:
    """Whether devices of that driver understand CIP."""
    spec = DRIVERS.find(driver)
    return spec is not None and spec.relay


@lru_cache(maxsize=1_000)  # thousands of tags have the same few qualities
def reason(quality: int, driver: str) -> str:
    """A quality in words, those of a device's status as its driver has them."""
    spec = DRIVERS.find(driver) if quality >> 8 and driver else None
    return explain(quality, (), spec.status_text if spec is not None else None)


@lru_cache(maxsize=1_000)
def status_words(quality: int, driver: str) -> str:
    """The device's status within a quality in words, "" where there is none."""
    status, extended = quality >> 8 & 0xFF, quality >> 16 & 0xFFFF
    spec = DRIVERS.find(driver) if status and driver else None
    return spec.status_text(status, extended) if spec is not None and spec.status_text else ""


def has_units(spec: DriverSpec) -> bool:
    """Whether a unit tells devices of that driver apart, on one line or at one address."""
    return spec.shares_address or spec.place is Place.LINE
