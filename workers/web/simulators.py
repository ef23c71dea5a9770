"""The demo's simulated devices: how they are, and faults for them on demand.

    GET  simulators            viewer      those whose control sockets lie in `demo/` of the runtime
    POST simulators/{name}     engineer    {"order": "fault silent" | "die 10" | "clear" ...}

Orders are those of `modbus_sim --control`.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.rights import Right
from cpppod.workers.web.answers import Problem, answer, asked
from cpppod.workers.web.site import Site

FOLDER = "demo"
SUFFIX = ".control"
VERBS = ("fault", "clear", "die", "set")
ANSWER_S = 3.0
LONGEST = 200  # characters of an order


class Simulators:
    """Handlers of `/api/v1/simulators`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def show(self, request: Request) -> Response:
        """Every simulator that answers."""
        self._site.admit(request)
        found = []
        for name, path in self._sockets().items():
            told = await _tell(path, "status")
            if told is not None and told["ok"]:
                found.append({"name": name, **told["result"]})
        return answer(request, {"simulators": found})

    async def order(self, request: Request) -> Response:
        """Do what is asked.

        Raises:
            Problem: there is no such simulator or order, or it says no.
        """
        visitor = self._site.admit(request, Right.ENGINEER)
        name, order = request.path_params["name"], (await asked(request, order=str))["order"]
        path = self._sockets().get(name)
        if path is None:
            raise Problem(404, name[:40], "no such simulator", "/api/v1/simulators")
        words = order.split(" ", 1)
        if words[0] not in VERBS or not order.isprintable() or len(order) > LONGEST:
            raise Problem(409, order[:60], "no such order", ", ".join(VERBS))
        told = await _tell(path, order)
        if told is None:
            raise Problem(503, name, "does not answer", "/api/v1/simulators")
        if not told["ok"]:
            raise Problem(409, name, str(told["error"])[:200], "modbus_sim --help")
        self._site.monitor.note("device", name, order, "", self._site.source(request, visitor))
        return answer(request, {"name": name, "result": told["result"]})

    def _sockets(self) -> dict[str, Path]:
        folder = Path(self._site.worker.runtime_dir) / FOLDER
        return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


async def _tell(path: Path, order: str) -> dict[str, Any] | None:
    """The answer to an order; None where nobody listens."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(order.encode() + b"\n")
                told: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    return told
