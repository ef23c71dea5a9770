"""Logging in and out: `/api/v1/session`."""

import asyncio
import os
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.rights import Right
from cpppod.workers.web.access import NOBODY, SESSION_S, AccessError, Visitor, now_s
from cpppod.workers.web.answers import Problem, answer, asked
from cpppod.workers.web.site import Site

LOCALTIME = "/etc/localtime"
MAX_CHECKS = 4  # passwords being looked at: each takes 16 MB and 50 ms


class Sessions:
    """Handlers of `/api/v1/session`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._checks = 0

    async def show(self, request: Request) -> Response:
        """Who asks, and what his page must send with each change."""
        return answer(request, self._told(self._site.visitor(request)))

    async def log_in(self, request: Request) -> Response:
        """A session for a password or a token.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        given = await asked(request)
        if isinstance(token := given.get("token"), str):
            found = self._site.access.by_token(token, now_s(), spend=True)
            if found is None:
                raise Problem(401, "token", "unknown, used already, or over", "cpppoctl web token")
        else:
            found = await self._by_password(request, given)
        identity, visitor = self._site.access.begin(found.user, found.right, now_s())
        self._note(request, visitor, "logged in")
        return answer(request, self._told(visitor), cookie=self._cookie(identity, SESSION_S))

    async def log_out(self, request: Request) -> Response:
        """The end of a session."""
        visitor = self._site.admit(request, Right.NONE)
        if visitor.session:
            self._site.access.end(visitor.session)
            self._note(request, visitor, "logged out")
        return answer(request, self._told(Visitor(NOBODY, Right.NONE)), cookie=self._cookie("", 0))

    async def _by_password(self, request: Request, given: dict[str, Any]) -> Visitor:
        user, password = given.get("user"), given.get("password")
        if not isinstance(user, str) or not isinstance(password, str) or len(password) > 1000:
            raise Problem(401, "session", "expected user and password, or token", "openapi.json")
        users, failures = self._site.access.users, self._site.failures
        if users is None:
            raise Problem(403, "session", "there are no users", "[web] users_file, or a token")
        user, address = user[:80], request.client.host if request.client else ""
        if wait := failures.wait_s(user, address, asyncio.get_running_loop().time()):
            wait_text = {"Retry-After": str(wait)}
            raise Problem(
                429, "session", "too many wrong passwords", f"in {wait} s", headers=wait_text
            )
        if self._checks >= MAX_CHECKS:
            raise Problem(503, "session", "too many log in at once", "again")
        self._checks += 1
        try:
            right = await self._site.io(users.check, user, password)
        except AccessError as error:
            raise Problem(503, "users", str(error), "mending the file") from None
        finally:
            self._checks -= 1
        if not right:
            failures.failed(user, address, asyncio.get_running_loop().time())
            self._site.monitor.note("user", user[:40], "wrong password", address, by_anybody=True)
            raise Problem(401, "session", "user or password is wrong", "cpppoctl users list")
        failures.succeeded(user, address)
        return Visitor(user, right)

    def _told(self, visitor: Visitor) -> dict[str, Any]:
        return {
            "user": visitor.user,
            "role": visitor.right.name.lower(),
            "csrf": visitor.csrf,
            "users": self._site.access.users is not None,
            "name": self._site.monitor.name,
            "zone": _zone(),
        }

    def _cookie(self, identity: str, seconds: float) -> str:
        secure = "; Secure" if self._site.tls else ""
        return (
            f"{self._site.cookie}={identity}; Path=/; HttpOnly; SameSite=Strict"
            f"; Max-Age={int(seconds)}{secure}"
        )

    def _note(self, request: Request, visitor: Visitor, what: str) -> None:
        who = self._site.source(request, visitor)
        self._site.monitor.note("user", visitor.user, what, visitor.right.name.lower(), who)


def _zone() -> str:
    """The plant's time zone, as the machine has it."""
    if name := os.environ.get("TZ", ""):
        return name.lstrip(":")
    try:
        found = os.readlink(LOCALTIME).partition("zoneinfo/")[2]
    except OSError:
        found = ""
    return found or "UTC"
