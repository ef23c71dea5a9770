"""What a request must be before anything looks at it: ours, small, quick and not one too many.

    421 Host is none of ours      DNS rebinding
    403 Origin is another site    cross-site writing and reading, and WebSockets of other pages
    400 lengths that contradict   request smuggling
    413 body over `MAX_BODY`      408 body slower than `BODY_S`
    431 head over `MAX_HEAD`      429 over `RATE` a second of one address

and the headers that keep a browser from doing more with the page than it should.
"""

import asyncio
import logging
import time
from typing import Any
from urllib.parse import urlsplit

from cpppod.protocols.model.addresses import is_loopback
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.web.answers import Problem

MAX_HEADERS = 100
MAX_HEAD = 32_768  # bytes of all headers and the path: a browser sends 2,000
MAX_BODY = 1 << 20  # bytes: a configuration file of ten thousand tags
BODY_S = 10.0  # for a body to arrive
RATE = 200.0  # requests a second of one address: fifty pages behind one proxy ask for 100
BURST = 400.0
MAX_ADDRESSES = 4_096  # whose rate is remembered
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = [
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]  # fmt: skip

log = logging.getLogger("cpppod.web")

Scope = Any
Receive = Any
Send = Any


class Rates:
    """A bucket of requests for each address."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, address: str, now: float) -> bool:
        """Whether `address` may make one more."""
        left, at = self._buckets.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if len(self._buckets) >= MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]  # who was not heard of for longest
        self._buckets[address] = (max(left - 1, 0.0), now)
        return left >= 1


class Guard:
    """ASGI middleware in front of `app`.

    Attributes:
        hosts: names under which we are reached, in lower case, without ports.
        loopback: we are bound to loopback, all of whose names are ours.
        counts: refusals by status, for the metrics.
    """

    def __init__(self, app: Any, hosts: frozenset[str], *, loopback: bool, tls: bool) -> None:
        self.hosts = hosts
        self.loopback = loopback
        self.tls = tls
        self.counts: dict[int, int] = {}
        self._app = app
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            self.counts[refusal.status] = self.counts.get(refusal.status, 0) + 1
            await _refuse(scope, receive, send, refusal)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        body, started = _Body(receive), False

        async def with_headers(message: Any) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            await self._app(scope, body, with_headers)
        except Problem as problem:
            self.counts[problem.status] = self.counts.get(problem.status, 0) + 1
            await _refuse(scope, body, send, problem)
        except Exception as error:
            # the top of a request: a defect of ours costs its client an answer, and nobody else
            strangers.error(log, "request failed path=%.200r", scope["path"], exc_info=error)
            if started:
                raise
            defect = Problem(
                500, "request", "internal error", "the log of web, which has the reason"
            )
            await _refuse(scope, body, send, defect)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> Problem | None:
        address = scope["client"][0] if scope.get("client") else ""
        if not self._rates.allows(address, time.monotonic()):
            return Problem(
                429, address, "too many requests", "slower", headers={"Retry-After": "1"}
            )
        if len(scope["headers"]) > MAX_HEADERS or _size(scope) > MAX_HEAD:
            return Problem(431, "request", "its head is too long", f"{MAX_HEAD} bytes of headers")
        names = [value for name, value in scope["headers"] if name == b"host"]
        host = _host(headers.get(b"host", ""))
        if len(names) != 1 or not self._is_ours(host):
            advice = "one of [web] hosts"
            return Problem(421, "host", f"{host[:60]!r} is not this gateway", advice)
        origin = headers.get(b"origin", "")
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE
        if origin and not self._is_same(origin, headers[b"host"]):
            return Problem(403, "origin", "another site's page may change nothing here", "the page")
        if headers.get(b"sec-fetch-site", "none") == "cross-site" and unsafe:
            return Problem(403, "origin", "another site's page may change nothing here", "the page")
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if len(lengths) > 1 or (lengths and b"transfer-encoding" in headers):
            return Problem(400, "request", "two lengths", "Content-Length once, or chunks")
        if lengths and (not lengths[0].isdigit() or int(lengths[0][:20]) > MAX_BODY):
            return Problem(413, "body", f"over {MAX_BODY} bytes", "less at once")
        return None

    def _is_ours(self, host: str) -> bool:
        return host in self.hosts or (self.loopback and is_loopback(host))

    def _is_same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        schemes = ("https",) if self.tls else ("http", "https")  # a proxy may speak TLS for us
        return parts.scheme in schemes and parts.netloc.lower() == host.lower()


class _Body:
    """A `receive` that ends where the body is too long or too slow."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = MAX_BODY
        self._until: float | None = None
        self._whole = False

    async def __call__(self) -> Any:
        if self._whole:
            return await self._receive()
        now = time.monotonic()
        if self._until is None:
            self._until = now + BODY_S
        try:
            message = await asyncio.wait_for(self._receive(), self._until - now)
        except TimeoutError:
            self._whole = True
            raise Problem(408, "body", f"not here within {BODY_S:g} s", "again") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self._whole = True
            raise Problem(413, "body", f"over {MAX_BODY} bytes", "less at once")
        self._whole = not message.get("more_body", False)
        return message


def _size(scope: Scope) -> int:
    """Bytes of the head, about."""
    heads = sum(len(name) + len(value) for name, value in scope["headers"])
    return heads + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")


def _host(text: str) -> str:
    """The host in a Host header, without its port."""
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return text.partition(":")[0].rstrip(".").lower()


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": problem.why})
        return
    response = problem.response()
    response.raw_headers += [*HEADERS, (b"connection", b"close")]
    await response(scope, receive, send)
