"""The API's reading half: answered from this worker's image of the feed, and from control.

status  devices  devices/{name}  tags  read  history  routes  events  openapi.json
"""

import csv
import io
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.values import GLOB, TagInfo
from cpppod.workers.web.answers import Problem, answer, asked, listed, number
from cpppod.workers.web.site import Site

MAX_FILTER = 100  # characters: each word is looked for in every tag, on the loop
MAX_PAGE = 1_000  # tags in one answer, and tags read at once
FIELDS = (
    "tag value good quality reason time_us age_s type unit device group length writable"
    " description minimum maximum history"
).split()
LIVE = frozenset("value good quality reason time_us age_s".split())
AGGREGATES = ("", "last", "step", "buckets")


class Reading:
    """Handlers of requests that change nothing."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._searched: list[tuple[str, TagInfo]] = []
        self._historised: set[bytes] = set()

    def configured(self) -> None:
        """Other settings are in force: lay out what tags are searched by."""
        values = self._site.values
        self._searched = [(_searched_by(name, info), info) for name, info in values.tags.items()]
        self._historised = {
            f"{device.name}/{group.name}/".encode()
            for device in self._site.worker.devices
            for group in device.groups
            if group.history
        }

    async def status(self, request: Request) -> Response:
        """Everything in one: what `cpppoctl status` shows."""
        self._site.admit(request)
        return answer(request, await self._site.status.get())

    async def devices(self, request: Request) -> Response:
        """A row for each device, with its polls per second of the last minute."""
        self._site.admit(request)
        status = await self._site.status.get()
        rates = self._site.monitor.rates
        return answer(
            request,
            {"devices": [{**row, "rates": rates(row["name"])} for row in status["devices"]]},
        )

    async def device(self, request: Request) -> Response:
        """All that is known of one.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        self._site.admit(request)
        name = request.path_params["name"]
        self._site.known(name)
        found = await self._site.link.ask("device", {"name": name, "wire": True})
        return answer(request, {**found, "rates": self._site.monitor.rates(found["name"])})

    async def tags(self, request: Request) -> Response:
        """A page of the tags that match.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        self._site.admit(request)
        offset = number(request, "offset", 0)
        limit = number(request, "limit", 100, low=1, high=MAX_PAGE)
        fields = listed(request, "fields", len(FIELDS)) or FIELDS
        if unknown := set(fields) - set(FIELDS):
            names = ", ".join(sorted(unknown))[:80]
            raise Problem(422, "fields", f"there is no {names}", ", ".join(FIELDS))
        found = self._matching(request.query_params.get("filter", ""))
        page = [self._row(info, fields) for info in found[offset : offset + limit]]
        told = {"total": len(found), "offset": offset, "tags": page}
        return answer(request, told, etag=LIVE.isdisjoint(fields))

    def _matching(self, text: str) -> list[TagInfo]:
        """Tags by patterns, or by words that all are in their names, descriptions or units."""
        if len(text) > MAX_FILTER:
            raise Problem(422, "filter", f"{len(text)} characters", f"up to {MAX_FILTER}")
        words = list(dict.fromkeys(text.lower().split()))
        if not words:
            return list(self._site.values.tags.values())
        if GLOB.search(text):
            return self._site.values.matching(words)
        found = self._searched
        for word in sorted(words, key=len, reverse=True):
            found = [pair for pair in found if word in pair[0]]
        return [info for _searched, info in found]

    def _row(self, info: TagInfo, fields: list[str]) -> dict[str, Any]:
        row = {
            **self._site.reading(info),
            "device": info.device,
            "group": info.group,
            "length": info.length,
            "writable": info.writable,
            "description": info.description,
            "minimum": info.minimum,
            "maximum": info.maximum,
            "history": info.topic in self._historised,
        }
        return row if fields is FIELDS else {field: row[field] for field in fields}

    async def read(self, request: Request) -> Response:
        """Values by name, in the order asked for.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        self._site.admit(request)
        names = listed(request, "tags", MAX_PAGE)
        if request.method == "POST":
            names = (await asked(request, tags=list))["tags"]
            if not all(isinstance(name, str) for name in names):
                raise Problem(422, "tags", "expected names", '["boiler.pressure"]')
        if not 1 <= len(names) <= MAX_PAGE:
            raise Problem(422, "tags", f"{len(names)} names", f"1 to {MAX_PAGE}")
        values, found = self._site.values, []
        for name in names:
            info = values.find(name)
            if info is None:
                raise Problem(404, name[:80], "no such tag", "/api/v1/tags?filter=...")
            found.append(self._site.reading(info))
        return answer(request, {"values": found})

    async def history(self, request: Request) -> Response:
        """What a tag was worth: raw samples, at steps, or in buckets; JSON or CSV.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        self._site.admit(request)
        tag = request.query_params.get("tag", "")
        if self._site.values.find(tag) is None:
            raise Problem(404, tag[:80] or "tag", "no such tag", "/api/v1/tags?filter=...")
        aggregate = request.query_params.get("aggregate", "")
        if aggregate not in AGGREGATES:
            raise Problem(422, "aggregate", f"no {aggregate[:40]!r}", "last, step or buckets")
        wanted = request.query_params.get("format", "json")
        if wanted not in ("json", "csv"):
            raise Problem(422, "format", f"no {wanted[:40]!r}", "json or csv")
        now_us = time.time_ns() // 1000
        question: dict[str, Any] = {"tag": tag, "aggregate": aggregate}
        question["since_us"] = number(request, "since_us", max(0, now_us - 3_600_000_000))
        question["until_us"] = number(request, "until_us", now_us)
        if question["since_us"] > question["until_us"]:
            raise Problem(409, "since_us", "after until_us", "the earlier time first")
        stepped = aggregate in ("step", "buckets")
        if (step := number(request, "step_us", 0)) or stepped:
            question["step_us"] = step
        if stepped and not step:
            raise Problem(409, "step_us", f"{aggregate} needs it", "microseconds: 60000000")
        if limit := number(request, "limit", 0):
            question["limit"] = limit
        found = await self._site.link.ask("history", question)
        return _csv(found) if wanted == "csv" else answer(request, found)

    async def routes(self, request: Request) -> Response:
        """Who may reach what through the gateway."""
        self._site.admit(request)
        return answer(request, await self._site.link.ask("routes", {}))

    async def events(self, request: Request) -> Response:
        """What happened, the newest first."""
        self._site.admit(request)
        after = number(request, "after", 0)
        limit = number(request, "limit", 200, low=1, high=MAX_PAGE)
        monitor = self._site.monitor
        told = {"life": monitor.life, "events": list(monitor.events(after, limit))}
        return answer(request, told)


def _csv(found: dict[str, Any]) -> Response:
    """A table, times in UTC; texts that a spreadsheet would run get a quote."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["time", *found["columns"]])
    for row in found["rows"]:
        seconds, micros = divmod(row[0], 1_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        writer.writerow([f"{stamp}.{micros:06d}Z", *map(_cell, row)])
    headers = {"Content-Disposition": 'attachment; filename="history.csv"'}
    if found["next_us"] is not None:
        headers["X-Next-Us"] = str(found["next_us"])
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return f"'{value}"
    return value


def _searched_by(name: str, info: TagInfo) -> str:
    """What words are looked for in: the same object as the name where there is nothing else."""
    if not (info.description or info.unit):
        return name
    return f"{name} {info.description} {info.unit}".lower()
