"""What every request handler works with, and who is allowed what."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.requests import HTTPConnection, Request

from cpppod.protocols.model.plant import Worker
from cpppod.protocols.model.writing import Writer
from cpppod.workers.rights import Right
from cpppod.workers.values import TagInfo, ValueCache
from cpppod.workers.web.access import NOBODY, Access, Failures, Visitor, now_s
from cpppod.workers.web.answers import Problem
from cpppod.workers.web.control_link import ControlLink, Shared
from cpppod.workers.web.live import Hub
from cpppod.workers.web.monitor import Monitor

CSRF = "x-csrf-token"
NEW_TOKEN = "cpppoctl web token --role engineer"

Blocking = Callable[..., Awaitable[Any]]


@dataclass(slots=True)
class Site:
    """The web worker's parts.

    Attributes:
        io: runs a function that may block.
    """

    worker: Worker
    values: ValueCache
    link: ControlLink
    status: Shared
    monitor: Monitor
    hub: Hub
    access: Access
    failures: Failures
    io: Blocking

    @property
    def options(self) -> dict[str, Any]:
        """The section's, in force."""
        options: dict[str, Any] = self.worker.options
        return options

    @property
    def tls(self) -> bool:
        """Whether it is served over TLS."""
        return bool(self.options.get("certificate_file"))

    @property
    def cookie(self) -> str:
        """The session's cookie: with the prefix that only TLS may set, where there is TLS."""
        return "__Host-cpppod" if self.tls else "cpppod"

    def visitor(self, connection: HTTPConnection) -> Visitor:
        """Who asks: by bearer token, by session, or a viewer where there are no users.

        Raises:
            Problem: 401 for a token that is none.
        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = self.access.by_token(token.strip(), now_s())
            if found is None:
                raise Problem(401, "token", "unknown, over, or for the page only", NEW_TOKEN)
            return found
        if identity := _cookie(connection, self.cookie):
            session = self.access.by_session(identity, now_s())
            if session is not None:
                return session
        anybody = Right.NONE if self.access.users else Right.VIEWER
        return Visitor(NOBODY, anybody)

    def admit(self, request: HTTPConnection, right: Right = Right.VIEWER) -> Visitor:
        """Who asks, if he may.

        Raises:
            Problem: 401 or 403; also for a change by a session without its page's word.
        """
        visitor = self.visitor(request)
        if visitor.right < right:
            if visitor.user == NOBODY:
                wanted = "the page, or with a token: cpppoctl web token --role"
                raise Problem(
                    401,
                    "this",
                    f"needs the role {right.name.lower()}",
                    f"logging in: {wanted} {right.name.lower()}",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            role = right.name.lower()
            token = visitor.user.startswith("token:")
            how = f"web token --role {role}" if token else f"users role {visitor.user} {role}"
            why = f"is {visitor.right.name.lower()}; this needs {role}"
            raise Problem(403, visitor.user, why, f"cpppoctl {how}")
        changes = isinstance(request, Request) and request.method not in ("GET", "HEAD")
        if changes and visitor.session and request.headers.get(CSRF, "") != visitor.csrf:
            raise Problem(403, CSRF, "missing or wrong", "the csrf of GET /api/v1/session")
        return visitor

    def known(self, name: str) -> None:
        """Nothing, where there is a device of that name.

        Raises:
            Problem: there is none.
        """
        if name.lower() not in {device.name.lower() for device in self.worker.devices}:
            raise Problem(404, name[:40], "no such device", "/api/v1/devices")

    @staticmethod
    def writer(request: HTTPConnection, visitor: Visitor) -> Writer:
        """Him, as one who writes."""
        return Writer(
            "web",
            user=visitor.user,
            address=request.client.host if request.client else "",
            session=visitor.session[:12],
            role=visitor.right.name.lower(),
        )

    def reading(self, info: TagInfo) -> dict[str, Any]:
        """What a tag is worth now, as the API says it."""
        return self.values.reading(info, time.monotonic_ns() // 1000).plain()

    @staticmethod
    def source(request: HTTPConnection, visitor: Visitor) -> str:
        """How the audit names who asks."""
        address = request.client.host if request.client else ""
        return f"web:{visitor.user}@{address}"


def _cookie(connection: HTTPConnection, name: str) -> str:
    try:
        morsel = SimpleCookie(connection.headers.get("cookie", "")[:4096]).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
