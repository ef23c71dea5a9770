"""The API's changing half: writes, devices paused and asked, the audit of it all.

POST write                       operator    through the write contract, as every outlet does
POST devices/{name}/{action}     operator    pause, resume
GET  audit                       operator    records of attempted writes, the newest first
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.bus.requests import RequestFailed
from cpppod.workers.bus.write_orders import WriteOrders
from cpppod.workers.rights import Right
from cpppod.workers.web.answers import MAX_BODY_WRITES, Problem, answer, asked, number
from cpppod.workers.web.site import Site

EXAMPLE = '[["boiler.limit", 7.5]]'
ACTIONS = {"pause": "paused", "resume": "resumed", "probe": "probed"}


class Changes:
    """Handlers of requests that change something in the plant."""

    def __init__(self, site: Site, orders: WriteOrders) -> None:
        self._site = site
        self._orders = orders

    async def write(self, request: Request) -> Response:
        """Write tags in the order given; 200 tells what came of each, also of those that failed.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        visitor = self._site.admit(request)  # what a viewer tries, control refuses and records
        writes = (await asked(request, writes=list))["writes"]
        if not 1 <= len(writes) <= MAX_BODY_WRITES:
            raise Problem(422, "writes", f"{len(writes)} of them", f"1 to {MAX_BODY_WRITES}")
        if not all(_is_pair(each) for each in writes):
            raise Problem(422, "writes", "not pairs of a tag and a value", EXAMPLE)
        if not all(_is_value(each[1]) for each in writes):
            raise Problem(409, "writes", "a value that no tag can hold", EXAMPLE)
        writer = self._site.writer(request, visitor)
        try:
            outcomes = await self._orders.ask(writer, writes)
        except RequestFailed as error:
            done = "it is not known what was written" if error.sent else "nothing was written"
            raise Problem(503, "control", f"{error}; {done}", "reading the tags") from None
        if refusal := outcomes.error:
            if visitor.right < Right.OPERATOR:
                self._site.admit(request, Right.OPERATOR)  # which says what he lacks
            raise Problem(409, refusal["what"], refusal["why"], refusal["try"])
        return answer(request, {"writes": outcomes.writes, "not_tried": outcomes.not_tried})

    async def device(self, request: Request) -> Response:
        """Pause a device or let it go on.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        visitor = self._site.admit(request, Right.OPERATOR)
        name, action = request.path_params["name"], request.path_params["action"]
        if action not in ACTIONS:
            raise Problem(404, action[:40], "no such action", ", ".join(ACTIONS))
        self._site.known(name)
        source = self._site.source(request, visitor)
        done = await self._site.link.ask(action, {"device": name}, source)
        self._site.monitor.note("device", name, ACTIONS[action], "", source)
        return answer(request, done)

    async def audit(self, request: Request) -> Response:
        """Attempted writes of every way in, the newest first.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        self._site.admit(request, Right.ENGINEER)
        question: dict[str, Any] = {"limit": number(request, "limit", 200, low=1, high=1_000)}
        for key in ("tag", "user", "way", "outcome"):
            if value := request.query_params.get(key):
                question[key] = value
        found = await self._site.link.ask("audit", question)
        return answer(request, {"records": found["records"][::-1]})


def _is_pair(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 2 and isinstance(given[0], str)


def _is_value(given: Any) -> bool:
    """Whether a tag can hold it: a value, or a list of them."""
    return all(map(_is_single, given if isinstance(given, list) else [given]))


def _is_single(given: Any) -> bool:
    if isinstance(given, int):
        return -(2**63) <= given < 2**64  # what the bus can say
    return given is None or isinstance(given, str | float)
