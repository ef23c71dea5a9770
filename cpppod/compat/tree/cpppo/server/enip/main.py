"""A simulated controller under cpppo's names: `cpppod.commands.enip.server`."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...dotdict import dotdict
from . import defaults, device, parser
from .ucmm import UCMM

if TYPE_CHECKING:
    from cpppod.simulator import Simulator

tags = dotdict()  # name -> {attribute, path, error}, of the controller that is served


def main(
    argv: Sequence[str] | None = None,
    attribute_class: Any = device.Attribute,
    attribute_kwds: dict[str, Any] | None = None,
    idle_service: Callable[[], Any] | None = None,
    identity_class: Any = None,
    UCMM_class: Any = None,
    message_router_class: Any = None,
    connection_manager_class: Any = None,
    tcpip_class: Any = None,
    **kwds: Any,
) -> int:
    """Serve until `server["control"]["done"]`, or stopped; 0, or 1 where something is wrong.

    Args:
        argv: the command line of `enip_server`.
        attribute_class: answers the tags; made with (name, type, default=, error=) and
            `attribute_kwds`.
        idle_service: called about every `control.latency` seconds.
        identity_class, tcpip_class, message_router_class, connection_manager_class: made, where
            there is no first instance yet; their attributes stand before ours, their services are
            ours.
        UCMM_class: says which routes are served.
        kwds: `server={"control": ...}` (done, disable, latency, address), `tcp=`, `udp=`.
    """
    from cpppod.commands.enip import server

    given = list(sys.argv[1:] if argv is None else argv)
    for path in defaults.config_files:
        if os.path.exists(path):
            given += ["-c", path]
    given += [flag for name, flag in (("tcp", "-T"), ("udp", "-U")) if kwds.get(name) is False]
    if any(flag.startswith(("-w", "--web")) for flag in given):
        given.append("--web-legacy")  # what is documented changes state by GET
    changes = (UCMM_class or UCMM).changes()
    made = None
    if attribute_class is not device.Attribute or attribute_kwds:
        made = _maker(attribute_class, attribute_kwds or {})
    control = (kwds.get("server") or {}).get("control")
    if "-A" in given or "--address-output" in given:
        control = {} if control is None else control
        idle_service = _telling(control, idle_service)

    classes = (identity_class, tcpip_class, message_router_class, connection_manager_class)

    def prepare(simulator: "Simulator") -> None:
        for kind in classes:
            if kind is not None and device.lookup(kind.class_id, 1) is None:
                kind(instance_id=1)
        device.serve(simulator)
        dict.clear(tags)
        for name, variable in simulator.variables.items():
            own = variable.attribute
            attribute = own.attribute if own else attribute_of(device.Attribute, name, variable)
            path = _path(variable.address)
            entry = dotdict(attribute=attribute, path=path, error=variable.error)
            dict.__setitem__(tags, name, entry)

    return server.main(
        given,
        attribute_class=made,
        control=control,
        idle_service=idle_service,
        prepare=prepare,
        changes=changes,
    )


def _path(address: Any) -> Any:
    """The path to a tag that was given an address (class, instance, attribute), else None."""
    names = ("class", "instance", "attribute")
    if address is None or address[:2] == (device.Message_Router.class_id, 1):
        return None
    return {"segment": [{name: at} for name, at in zip(names, address, strict=True)]}


def _telling(control: Any, idle_service: Callable[[], Any] | None) -> Callable[[], Any]:
    """An idle service that first prints the address as programs look for it (`network.soak`)."""
    told: list[str] = []

    def idle() -> None:
        if not told:
            told.append("{}:{}".format(*control["address"]))
            where = f"PID = {os.getpid()}; address = {told[0]}"
            print(f"Success; Started EtherNet/IP Simulator; {where}", flush=True)
        if idle_service is not None:
            idle_service()

    return idle


def attribute_of(kind: Any, name: str, variable: Any, **keywords: Any) -> Any:
    """An attribute of class `kind` that holds its values in `variable`."""
    type_cls = getattr(parser, variable.type.name, parser.STRUCT)
    values = variable.get(0, None)
    default = values if variable.dimensions else values[0]
    attribute = kind(name, type_cls, default=default, **keywords)
    attribute.bind(variable)
    return attribute


def _maker(kind: Any, keywords: dict[str, Any]) -> Any:
    def make(name: str, variable: Any) -> Any:
        return device.Served(attribute_of(kind, name, variable, **keywords))

    return make


if __name__ == "__main__":
    sys.exit(main())
