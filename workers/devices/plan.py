"""Which wires a worker's settings take, and what a change of the settings changes.

    devices of a poller   one wire per address where units share it, one per device otherwise
    devices of a line     one wire: the line

A wire or device whose settings did not change is left alone by a reload, down to its connection and
its place in the schedule.
"""

from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.plant import Device, Line, Worker
from cpppod.workers.devices.driver import DeviceFrame, Driver, Link
from cpppod.workers.devices.spec import DRIVERS, shares_address
from cpppod.workers.transport.port import Blocking, TcpPort, make_port


@dataclass(frozen=True, slots=True)
class WirePlan:
    """One wire: its devices by name, and what makes it the same wire as before.

    Attributes:
        identity: while it is equal the connection is kept.
    """

    key: str
    identity: Any
    address: str
    line: Line | None = None
    devices: dict[str, Device] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether the connection is a link of the wire's, not the one driver's own."""
        return self.line is not None or shares_address(self.driver)

    @property
    def driver(self) -> str:
        """The driver of the wire's devices."""
        return next(iter(self.devices.values())).driver


def plan_wires(worker: Worker) -> tuple[dict[str, WirePlan], list[str]]:
    """The wires that these settings take, by key, and what is wrong with the settings."""
    lines = {line.name: line for line in worker.lines}
    plans: dict[str, WirePlan] = {}
    problems = []
    for device in worker.devices:
        if DRIVERS.find(device.driver) is None:
            why = DRIVERS.failures.get(device.driver, "")
            problems.append(f"device {device.name}: no driver {device.driver!r} {why}".rstrip())
            continue
        line = lines.get(device.address)
        if line is not None:
            plan = WirePlan(f"line {line.name}", line, line.port, line)
        elif worker.role == "serial":
            problems.append(f"device {device.name}: no line {device.address!r} here")
            continue
        elif shares_address(device.driver):
            key = f"{device.driver} {device.address.lower()}"
            plan = WirePlan(key, (key, settle_s(device)), device.address)
        else:
            plan = WirePlan(f"{device.driver} {device.name}", device, device.address)
        plans.setdefault(plan.key, plan).devices[device.name] = device
    return plans, problems


def settle_s(device: Device) -> float:
    """How long the device must be left alone after a connection was made (its model's quirk)."""
    return float(device.model.get("pause_after_connect_s", 0.0))


def make_link(plan: WirePlan, blocking: Blocking) -> Any:
    """The link of a shared wire, not opened yet.

    Raises:
        ValueError: its address cannot be understood.
    """
    timeout_s = max(device.timeout_s for device in plan.devices.values())
    if plan.line is not None:
        return make_port(plan.line, timeout_s=timeout_s, blocking=blocking)
    settle = max(settle_s(device) for device in plan.devices.values())
    spec = DRIVERS.find(plan.driver)
    return TcpPort(
        plan.address,
        default_port=spec.default_port if spec else None,
        timeout_s=timeout_s,
        settle_s=settle,
        blocking=blocking,
    )


def make_drivers(
    plan: WirePlan, link: Link | None, names: set[str]
) -> tuple[dict[str, Driver], list[str]]:
    """Drivers for those devices of the wire, and what is wrong with their settings."""
    drivers: dict[str, Driver] = {}
    problems = []
    for name in sorted(names):
        device = plan.devices[name]
        try:
            spec = DRIVERS.find(device.driver)
            assert spec is not None, "plan_wires leaves no device without"
            frame = DeviceFrame() if link is None else DeviceFrame(tap=link.tap)
            drivers[name] = spec.make(device, link, frame)
        except (ImportError, ValueError, KeyError, TypeError, ProtocolError) as error:
            problems.append(f"device {name}: {error}")
    return drivers, problems
