"""The application: every path, and what answers it."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

from cpppod.workers.bus.write_orders import WriteOrders
from cpppod.workers.web.answers import Problem
from cpppod.workers.web.changes import Changes
from cpppod.workers.web.configuring import Configuring
from cpppod.workers.web.described import Described
from cpppod.workers.web.files import Files, load
from cpppod.workers.web.finding import Finding
from cpppod.workers.web.legacy import Legacy
from cpppod.workers.web.programs import Programs
from cpppod.workers.web.reading import Reading
from cpppod.workers.web.sessions import Sessions
from cpppod.workers.web.simulators import Simulators
from cpppod.workers.web.site import Site
from cpppod.workers.web.streams import Streams

V1 = "/api/v1"
LEGACY = "/api{rest:path}"


class Application:
    """What is behind the guard; `configured` is to be called when other settings are in force."""

    def __init__(self, site: Site, orders: WriteOrders) -> None:
        self.reading = Reading(site)
        sessions, streams, changes = Sessions(site), Streams(site), Changes(site, orders)
        programs, simulators = Programs(), Simulators(site)
        configuring, finding = Configuring(site, programs), Finding(site, programs)
        files = load()
        self._described = Described(json.loads(files["openapi.json"].body))
        reading = self.reading
        self._router = Router(
            [
                Route(f"{V1}/session", sessions.show, methods=["GET"]),
                Route(f"{V1}/session", sessions.log_in, methods=["POST"]),
                Route(f"{V1}/session", sessions.log_out, methods=["DELETE"]),
                Route(f"{V1}/status", reading.status),
                Route(f"{V1}/devices", reading.devices),
                Route(f"{V1}/devices/{{name}}", reading.device),
                Route(f"{V1}/tags", reading.tags),
                Route(f"{V1}/read", reading.read, methods=["GET", "POST"]),
                Route(f"{V1}/history", reading.history),
                Route(f"{V1}/routes", reading.routes),
                Route(f"{V1}/events", reading.events),
                Route(f"{V1}/write", changes.write, methods=["POST"]),
                Route(f"{V1}/devices/{{name}}/{{action}}", changes.device, methods=["POST"]),
                Route(f"{V1}/audit", changes.audit),
                Route(f"{V1}/configuration", configuring.show),
                Route(f"{V1}/configuration/check", configuring.check, methods=["POST"]),
                Route(f"{V1}/configuration/files/{{name}}", configuring.save, methods=["PUT"]),
                Route(f"{V1}/configuration/reload", configuring.reload, methods=["POST"]),
                Route(f"{V1}/simulators", simulators.show),
                Route(f"{V1}/simulators/{{name}}", simulators.order, methods=["POST"]),
                Route(f"{V1}/discover", finding.discover, methods=["POST"]),
                Route(f"{V1}/scan", finding.scan, methods=["POST"]),
                Route(f"{V1}/browse", finding.browse, methods=["POST"]),
                Route(f"{V1}/live", _Asgi(streams.events), methods=["GET"]),
                WebSocketRoute(f"{V1}/live", streams.websocket),
                Route(f"{V1}/openapi.json", _one(Files(files), "openapi.json")),
                Route(f"{V1}{{rest:path}}", _nothing),
                Route(LEGACY, Legacy(site, orders).api, methods=["GET", "POST"]),
                Route("/{path:path}", Files(files).get, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    @property
    def routes(self) -> list[BaseRoute]:
        """Every path, in the order in which they are looked through."""
        return self._router.routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI; `Problem`s are the guard's to answer."""
        if scope["type"] == "http":
            path, allowed = self._allowed(scope)
            if allowed and scope["method"] not in allowed:
                wanted = ", ".join(sorted(allowed))
                raise Problem(
                    405, scope["method"][:20], "not here", wanted, headers={"Allow": wanted}
                )
            self._described.check(path, scope)
        await self._router(scope, receive, send)

    def _allowed(self, scope: Any) -> tuple[str, set[str]]:
        """The path as the document has it, and its methods."""
        found: set[str] = set()
        path = ""
        for route in self._router.routes:
            if isinstance(route, Route) and route.matches(scope)[0].value:
                if found and route.path in (f"{V1}{{rest:path}}", LEGACY, "/{path:path}"):
                    break
                path = path or route.path.removeprefix(V1)
                found |= route.methods or set()
        return path, found


class _Asgi:
    """An ASGI application as the endpoint of a route."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._application(scope, receive, send)


def _one(files: Files, name: str) -> Any:
    async def get(request: Request) -> Response:
        request.scope["path_params"] = {"path": name}
        return await files.get(request)

    return get


async def _nothing(request: Request) -> Response:
    raise Problem(404, request.url.path[:80], "no such path", f"{V1}/openapi.json")
