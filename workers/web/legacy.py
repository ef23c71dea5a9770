"""The documented `/api/<group>/<match>/<command>/<value>` for the gateway's own tags.

    GET  /api/tags/boiler.*                            what they are worth
    POST /api/tags/boiler.setpoint/attribute/52.5      a write, for operators
    GET  the same                                      with [web] legacy, and by a bearer token

A session's cookie never writes by GET: a link would do it.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.protocols.model.writing import Writer
from cpppod.workers.bus.requests import RequestFailed
from cpppod.workers.bus.write_orders import WriteOrders
from cpppod.workers.values import TagInfo
from cpppod.workers.web.answers import Problem
from cpppod.workers.web.reading import MAX_FILTER, MAX_PAGE
from cpppod.workers.web.simulator_api import Entity, Refused, WebApi, asked_of
from cpppod.workers.web.site import Site

ATTRIBUTE = "attribute"


class Legacy:
    """The handler of `/api` beside `/api/v1`."""

    def __init__(self, site: Site, orders: WriteOrders) -> None:
        self._site = site
        self._orders = orders

    async def api(self, request: Request) -> Response:
        """What cpppo's web API answers, with the rights of who asks.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        visitor = self._site.admit(request)
        match = asked_of(request.path_params["rest"].removesuffix(".json"), request)["match"] or "*"
        count = len(self._site.values.matching([match[:MAX_FILTER]]))
        if count > MAX_PAGE:
            raise Problem(409, match[:60], f"{count} tags", f"a pattern of at most {MAX_PAGE}")
        writer = self._site.writer(request, visitor)
        legacy = bool(self._site.options["legacy"]) and not visitor.session
        api = WebApi(_Tags(self._site, self._orders, writer), legacy=legacy, loopback=False)
        response = await api.respond(request)
        del response.headers["Access-Control-Allow-Origin"]  # values are not every site's to read
        return response


class _Tags:
    """The gateway as one group."""

    def __init__(self, site: Site, orders: WriteOrders, writer: Writer) -> None:
        self._site, self._orders, self._writer = site, orders, writer

    def groups(self) -> Mapping[str, Mapping[str, Entity]]:
        tags = self._site.values.tags.values()
        return {"tags": {info.name: _Tag(info, self) for info in tags}}

    def reading(self, info: TagInfo) -> dict[str, Any]:
        return self._site.reading(info)

    async def write(self, target: str, value: str) -> Any:
        """Write as the visitor; what was read back.

        Raises:
            Refused: see the text.
        """
        try:
            outcomes = await self._orders.ask(self._writer, [[target, value]])
        except RequestFailed as error:
            raise Refused(str(error)) from None
        if outcomes.error:
            raise Refused(outcomes.error["why"])
        (came,) = outcomes.writes
        if not came["ok"]:
            raise Refused(f"{came['outcome']}: {came['error']}")
        return came["now"]["value"]


class _Tag:
    """One tag."""

    def __init__(self, info: TagInfo, tags: _Tags) -> None:
        self._info, self._tags = info, tags

    def show(self) -> Mapping[str, Any]:
        info, reading = self._info, self._tags.reading(self._info)
        values = reading["value"] if isinstance(reading["value"], list) else [reading["value"]]
        return {
            ATTRIBUTE: f"{info.name:<24}{info.type:>8}[{info.length}] == {values!r}",
            "error": reading["quality"],
            "path": f"{info.device}/{info.group}",
        }

    def get(self, command: str) -> Any:
        name, element = _parts(command)
        value = self._tags.reading(self._info)["value"]
        if name != ATTRIBUTE:
            return self.show().get(name, "")
        if element is None:
            return value
        values = value if isinstance(value, list) else [value]
        if element >= len(values):
            raise Refused(f"element {element} of {len(values)}")
        return values[element]

    async def set(self, command: str, value: str) -> Any:
        name, element = _parts(command)
        if name != ATTRIBUTE:
            raise Refused("only the attribute can be written")
        target = self._info.name if element is None else f"{self._info.name}[{element}]"
        return await self._tags.write(target, value)


def _parts(command: str) -> tuple[str, int | None]:
    """`attribute[3]` as its name and element."""
    name, bracket, rest = command.partition("[")
    if not bracket:
        return name, None
    digits = rest.removesuffix("]")
    if not digits.isdecimal() or len(digits) > 6:
        raise Refused(f"{command!r}: expected attribute[ELEMENT]")
    return name, int(digits)
