"""Finding devices, and what they have: the first five minutes with a plant.

    POST discover    {address}                        List Identity by broadcast or to one host
    POST scan        {address, units}                 Modbus units behind an address or a port
    POST browse      {address, name, ...}             tags of a controller or a unit, and the TOML

All are an engineer's: they talk to what is not configured. They are programs of this package, the
same that a shell runs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.workers.devices.spec import DRIVERS
from cpppod.workers.rights import Right
from cpppod.workers.web.answers import Problem, answer, asked
from cpppod.workers.web.programs import Programs, refusal
from cpppod.workers.web.site import Site

ADDRESS = re.compile(
    r"(?!.*[.][.])(rtu-over-tcp://|/dev/)?"
    r"([A-Za-z0-9][A-Za-z0-9._/-]{0,80}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
)
UNITS = re.compile(r"[0-9,-]{1,80}")
WORD = re.compile(r"[A-Za-z0-9_.,:*/ -]{0,200}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
OPTIONS = {  # key of `browse` -> option of the program, and what it may be
    "driver": ("--driver", re.compile(r"[a-z][a-z0-9_-]{0,39}")),
    "where": ("--where", WORD),
    "unit": ("--unit", re.compile(r"[0-9]{1,3}")),
    "route_path": ("--route-path", re.compile(r"[0-9./]{0,40}")),
    "name": ("--name", NAME),
    "period": ("--period", re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|min|h)")),
    "timeout": ("--timeout", re.compile(r"[0-9]{1,2}(\.[0-9])?")),
    "baudrate": ("--baudrate", re.compile(r"[0-9]{3,7}")),
    "parity": ("--parity", re.compile(r"[ENO]")),
}
NUMBERS = ("unit", "baudrate")


LIST = "cpppod.commands.enip_list_services"
IDENTITY = "enip.CIP.list_identity.CPF.item[0].identity_object."


class Finding:
    """Handlers of `discover`, `scan` and `browse`."""

    def __init__(self, site: Site, programs: Programs) -> None:
        self._site = site
        self._programs = programs

    async def discover(self, request: Request) -> Response:
        """Who answers List Identity."""
        given = await self._asked(request)
        words = ["--udp", "--list-identity", "--json", f"--address={given['address']}"]
        if _flag(given, "broadcast"):
            words.append("--broadcast")
        _status, output, errors = await self._programs.run(LIST, *words)
        told = {"devices": list(_identities(output)), "errors": errors[:1000]}
        return answer(request, told)

    async def scan(self, request: Request) -> Response:
        """Which Modbus units answer.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        given = await self._asked(request)
        units = given.get("units", "1-32")
        if not isinstance(units, str) or not UNITS.fullmatch(units):
            raise Problem(422, "units", "expected ranges", '"1-32"')
        words = ("--units", units, "--identify", "--json", given["address"])
        found = await self._programs.ask(given["address"], "cpppod.commands.modbus_scan", *words)
        return answer(request, found)

    async def browse(self, request: Request) -> Response:
        """What a device says that it has: as a table, or as a configuration.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        given = await self._asked(request)
        browsed = [spec.name for spec in DRIVERS if spec.browse is not None]
        if given.get("driver", "") not in ("", *browsed):
            raise Problem(422, "driver", "none that can be asked", ", ".join(browsed))
        words = ["tags", "browse"]
        for key, (option, shape) in OPTIONS.items():
            value = given.get(key, "")
            if value == "":
                continue
            kind = int if key in NUMBERS else str
            if type(value) is not kind or not shape.fullmatch(str(value)):
                raise Problem(422, key, f"{str(value)[:60]!r} is none", "/api/v1/openapi.json")
            words.append(f"{option}={value}")
        as_toml = _flag(given, "toml")
        words += ["--toml" if as_toml else "--json", given["address"]]
        if not as_toml:
            found = await self._programs.ask(given["address"], "cpppod.commands.cpppod", *words)
            return answer(request, {**found, "address": _whole(given["address"], found["driver"])})
        status, output, errors = await self._programs.run("cpppod.commands.cpppod", *words)
        if status:
            raise refusal(given["address"], errors)
        return answer(request, {"toml": output})

    async def _asked(self, request: Request) -> dict[str, Any]:
        visitor = self._site.admit(request, Right.ENGINEER)
        given = await asked(request, address=str)
        if not ADDRESS.fullmatch(given["address"]):
            raise Problem(
                422, "address", f"{given['address'][:60]!r} is none", "10.0.0.5, 10.0.0.7:502"
            )
        what = request.url.path.rpartition("/")[2]
        source = self._site.source(request, visitor)
        self._site.monitor.note("user", visitor.user, what, given["address"], source)
        return given


def _flag(given: dict[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise Problem(422, key, "expected true or false", "/api/v1/openapi.json")
    return value


def _identities(output: str) -> Iterator[dict[str, Any]]:
    """The replies to List Identity among the lines of the program."""
    for line in output.splitlines():
        told = json.loads(line)
        if f"{IDENTITY}product_name" in told:
            host, port = told["peer"][0], told[f"{IDENTITY}sin_port"]
            keys = ("product_name", "vendor_id", "device_type", "product_code", "serial_number")
            address = str(SocketAddress(host, port))
            yield {"address": address, **{key: told[IDENTITY + key] for key in keys}}


def _whole(address: str, driver: str) -> str:
    """The address with the port of its driver, where it has none."""
    spec = DRIVERS.find(driver)
    if spec is None or not spec.default_port or address.startswith(("/", "rtu-over-tcp:")):
        return address
    return str(socket_address(address, port=spec.default_port))
