"""The web API: what a server holds, as JSON by URL; shown in a browser too.

    /api[/<group>[/<match>[/<command>[/<value>]]]]     <command>=<value> likewise; globs match
    {"alarm": [], "command": {...} | {} | null, "data": {group: {match: {...}}}, "since", "until"}

POST changes state; GET only where `legacy` says so, as cpppo documents it, else 405 says how. On
loopback only requests for a loopback host are answered, and no POST of another site's page: what
listens there is within reach of every page in the machine's browser.

Whoever is shown implements `Model`; this module knows no server.
"""

import asyncio
import contextlib
import fnmatch
import html
import json
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cpppod.protocols.model.addresses import is_loopback
from cpppod.workers.transport.sockets import listening

MAX_BODY = 65_536  # bytes of a request: URLs say it all
HEADERS = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
MEDIA = {
    "application/json": "application/json",
    "text/javascript": "text/javascript",
    "text/html": "text/html",
    "text/plain": "text/plain",
}
PARAMETERS = ("group", "match", "command", "value", "since")


class Refused(ValueError):
    """A command cannot be done; the text says why."""


class Entity(Protocol):
    """One thing of a group, e.g. a tag or a connection."""

    def show(self) -> Mapping[str, Any]:
        """Its attributes, as JSON can say them."""

    def get(self, command: str) -> Any:
        """One attribute, also `attribute[3]`.

        Raises:
            Refused: there is no such attribute.
        """

    async def set(self, command: str, value: str) -> Any:
        """Change one attribute; its new value.

        Raises:
            Refused: it cannot be changed so.
        """


class Model(Protocol):
    """What the API shows."""

    def groups(self) -> Mapping[str, Mapping[str, Entity]]:
        """Group -> name -> entity, as of now."""


class WebApi:
    """The application."""

    def __init__(self, model: Model, *, legacy: bool = False, loopback: bool = True) -> None:
        self._model = model
        self._legacy = legacy
        self._loopback = loopback

    @property
    def application(self) -> Starlette:
        """The API as an application of its own."""
        return Starlette(
            routes=[
                Route("/", self._home),
                Route("/favicon.ico", self._nothing),
                Route("/api/", self._home),
                Route("/api{rest:path}", self.respond, methods=["GET", "POST"]),
            ]
        )

    async def _home(self, request: Request) -> Response:
        return RedirectResponse("/api", 303)

    async def _nothing(self, request: Request) -> Response:
        return Response(status_code=204)

    async def respond(self, request: Request) -> Response:
        """The answer to a request whose path ends in `rest`."""
        refusal = self._stranger(request)
        if refusal:
            return PlainTextResponse(refusal + "\n", 403)
        path, forced = request.path_params["rest"], ""
        if path.endswith(".json"):
            path, forced = path.removesuffix(".json"), "application/json"
        media = forced or _accepted(request.headers.get("accept", ""))
        if not media:
            wanted = ", ".join(MEDIA)
            return PlainTextResponse(f"406: this API answers with {wanted}\n", 406)
        asked = asked_of(path, request)
        changes = asked["command"] is not None and asked["value"] is not None
        if request.method == "GET" and changes and not self._legacy:
            text = (
                "405: a change of state; use POST (curl -X POST URL), or start with --web-legacy\n"
            )
            return PlainTextResponse(text, 405, {"Allow": "POST"})
        return _rendered(await self._answer(asked), media)

    def _stranger(self, request: Request) -> str:
        """Why this request is not for us, "" where it is."""
        if not self._loopback:
            return ""
        host = request.url.hostname or ""
        if not is_loopback(host):
            return f"403: {host[:60]} is not this machine; use localhost, or bind an address"
        origin = request.headers.get("origin", "")
        if request.method == "POST" and origin and not is_loopback(_host_of(origin)):
            return "403: another site's page may not change anything here"
        return ""

    async def _answer(self, asked: dict[str, str | None]) -> dict[str, Any]:
        command, value = asked["command"], asked["value"]
        data: dict[str, dict[str, Any]] = {}
        done: list[str] = []
        success = True
        for group, entities in self._model.groups().items():
            if not fnmatch.fnmatchcase(group, asked["group"] or "*"):
                continue
            for name, entity in entities.items():
                if not fnmatch.fnmatchcase(name, asked["match"] or "*"):
                    continue
                if command is not None:
                    text, worked = await _do(f"{group}.{name}", entity, command, value)
                    done.append(text)
                    success = success and worked
                data.setdefault(group, {})[name] = dict(entity.show())
        result: dict[str, Any] | None = {} if data else None
        if done:
            result = {"success": success, "message": "; ".join(done)}
        return {
            "alarm": [],
            "command": result,
            "data": data,
            "since": _number(asked["since"]),
            "until": time.time(),
        }


async def _do(where: str, entity: Entity, command: str, value: str | None) -> tuple[str, bool]:
    """(what came of it, whether it worked)."""
    try:
        if value is None:
            return f"{where}.{command}: {entity.get(command)!r}", True
        new = await entity.set(command, value)
        return f"{where}.{command}={value!r} ({new!r})", True
    except Refused as error:
        given = "" if value is None else f"={value!r}"
        return f"{where}.{command}{given} failed: {error}", False


def asked_of(path: str, request: Request) -> dict[str, str | None]:
    """What the URL's path and query ask for."""
    parts = [part for part in path.split("/") if part]
    asked: dict[str, str | None] = dict.fromkeys(PARAMETERS)
    for key, part in zip(("group", "match", "command"), parts, strict=False):
        asked[key] = part
    if len(parts) > 3:
        asked["value"] = "/".join(parts[3:])
    command = asked["command"]
    if command is not None and asked["value"] is None and "=" in command:
        asked["command"], asked["value"] = command.split("=", 1)
    for key in PARAMETERS:
        if key in request.query_params:
            asked[key] = request.query_params[key]
    return asked


def _accepted(accept: str) -> str:
    """The media type to answer with, "" where none is accepted."""
    for item in accept.split(","):
        kind = item.split(";")[0].strip().lower()
        if kind in MEDIA:
            return MEDIA[kind]
        if kind in ("", "*/*", "application/*"):
            return "application/json"
        if kind == "text/*":
            return "text/plain"
    return ""


def _rendered(answer: dict[str, Any], media: str) -> Response:
    text = json.dumps(answer, indent=4, sort_keys=True, default=str)
    if media == "text/html":
        page = f"<!DOCTYPE html><title>API</title><pre>{html.escape(text)}</pre>"
        return HTMLResponse(page, headers=HEADERS)
    return Response(text + "\n", media_type=media, headers=HEADERS)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _host_of(origin: str) -> str:
    try:
        return urllib.parse.urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def as_current(current: Any, text: str) -> Any:
    """`text` as a value of the type that `current` has.

    Raises:
        Refused: it is not a value of that kind.
    """
    try:
        if isinstance(current, bool):
            folded = text.strip().lower()
            if folded in ("true", "yes", "on", "false", "no", "off"):
                return folded in ("true", "yes", "on")
            return bool(int(text))
        if isinstance(current, int):
            return int(text, 0)
        if isinstance(current, float):
            return float(text)
    except ValueError as error:
        raise Refused(str(error)) from None
    return text


class _Server(uvicorn.Server):
    """uvicorn beside other servers: signals are its host's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def serve(
    application: Any, host: str, port: int
) -> tuple[int, Callable[[], Awaitable[None]]]:
    """Serve on the running loop; (the port bound, how to stop).

    Raises:
        OSError: the address is not to be had.
    """
    sock = listening(host, port)
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MAX_BODY,
    )
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))

    async def stop() -> None:
        server.should_exit = True
        await task
        sock.close()

    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    return sock.getsockname()[1], stop


@contextlib.asynccontextmanager
async def serving(application: Any, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port."""
    bound, stop = await serve(application, host, port)
    try:
        yield bound
    finally:
        await stop()
