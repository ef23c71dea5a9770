"""What the API answers with: JSON, an ETag where it pays, and problems that say what to do.

200  application/json            gzip from `GZIP_FROM` bytes on, if the client takes it
4xx  application/problem+json    {"type", "title", "status", "detail", "try"}    (RFC 9457)
"""

import gzip
import hashlib
import json
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.plain_json import encode

GZIP_FROM = 1_400  # bytes: what fits a packet gains nothing
MAX_LISTED = 4_000  # characters of a query parameter: 200 names
MAX_BODY_WRITES = 1_000  # tags in one request, as on the control socket
MAX_DEPTH = 32  # of what a client sends: a list of pairs has three
MAX_DIGITS = 1_000  # of a whole number: 2**64 has 20; far longer ones cost time to read


KEYS = "cpppod.keys"  # in a request's scope: what its body may have, None for anything


class Problem(Exception):
    """A request that is not done: what, why, what to try."""

    def __init__(
        self,
        status: int,
        what: str,
        why: str,
        advice: str = "",
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{what}: {why}")
        self.status, self.what, self.why, self.advice = status, what, why, advice
        self.headers = headers or {}

    def response(self) -> Response:
        """The problem as a client reads it."""
        return Response(self.body(), self.status, self.headers, "application/problem+json")

    def body(self) -> bytes:
        """The document."""
        return encode(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": f"{self.what}: {self.why}",
                "try": self.advice,
            }
        )


def etag_of(body: bytes) -> str:
    """The entity tag of a body: weak, for it is the same packed and not."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'


def has(request: Request, tag: str) -> bool:
    """Whether the client has that body already."""
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    return "*" in known or tag in known or tag.removeprefix("W/") in known


def takes_gzip(request: Request) -> bool:
    """Whether the client takes gzip."""
    for each in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, quality = each.replace(" ", "").partition(";q=")
        if coding in ("gzip", "*"):
            return not quality or bool(quality.strip("0."))
    return False


def answer(
    request: Request, value: Any, *, status: int = 200, etag: bool = False, cookie: str = ""
) -> Response:
    """`value` as JSON; with `etag` not sent again to whoever has it."""
    body = encode(value)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding, Cookie, Authorization"}
    if etag:
        headers["ETag"] = tag = etag_of(body)
        headers["Cache-Control"] = "no-cache"
        if has(request, tag):
            return Response(status_code=304, headers=headers)
    if cookie:
        headers["Set-Cookie"] = cookie
    if len(body) >= GZIP_FROM and takes_gzip(request):
        body = gzip.compress(body, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, headers, "application/json")


async def asked(request: Request, **wanted: type) -> dict[str, Any]:
    """The object in the request's body, with the keys that are `wanted` of these types; of others
    it has those that the API's document names.

    Raises:
        Problem: 415, 400 or 422.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "body", f"of type {kind[:40] or 'none'}", "application/json")
    body = await request.body()
    value = parsed(body)
    if not isinstance(value, dict):
        raise Problem(400, "body", "not a JSON object", '{"key": value}')
    known = request.scope.get(KEYS)
    if known is not None and (more := value.keys() - set(known)):
        raise Problem(422, ", ".join(sorted(more))[:80], "no such key", ", ".join(known))
    for key, kinds in wanted.items():
        if not isinstance(value.get(key), kinds) or (
            kinds is int and isinstance(value.get(key), bool)
        ):
            raise Problem(422, key, f"expected {_WORDS.get(kinds, kinds.__name__)}", "openapi.json")
    return value


_WORDS: dict[type, str] = {str: "a text", list: "a list", int: "a number", bool: "true or false"}


def parsed(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Problem: it is none; also NaN, a key twice, half a surrogate pair, or nested too deeply.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, parse_constant=_no_number, object_pairs_hook=_no_twice, parse_int=_short_number
        )
        _check(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, "body", f"not JSON: {why[:100]}", "UTF-8, each key once") from None
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _short_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number of too many digits")
    return int(text)


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode("utf-8")  # half a surrogate pair is a UnicodeEncodeError
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth - 1)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)


def number(
    request: Request, name: str, default: int, *, low: int = 0, high: int = 2**53 - 1
) -> int:
    """The whole number of a query parameter.

    Raises:
        Problem: it is none, or out of its range.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
        raise Problem(422, name, f"{text[:40]!r} is no whole number", f"{low} to {high}")
    value = int(text)
    if not low <= value <= high:
        raise Problem(422, name, f"{value} is out of range", f"{low} to {high}")
    return value


def listed(request: Request, name: str, most: int) -> list[str]:
    """The texts of a query parameter, parted by commas.

    Raises:
        Problem: they are too many.
    """
    text = request.query_params.get(name, "")
    if len(text) > MAX_LISTED:
        raise Problem(422, name, f"{len(text)} characters", f"up to {MAX_LISTED}")
    found = [each for each in text.split(",") if each]
    if len(found) > most:
        raise Problem(422, name, f"{len(found)} of them", f"up to {most}")
    return found
