"""Writes that come to an outlet as JSON, by the contract of every write: control checks and audits.

    order    {"id": "w1", "tag": "boiler.setpoint", "value": 52.5, "expires_us": 1796060165702873}
    answer   {"id": "w1", "outcome": "done", "error": "", "writes": [...]}

`expires_us`, since 1970, may be missing. Whoever may not write is asked for as a viewer: that is
refused, and audited too. An order that a broker had kept is old and refused; one that comes twice
is written once.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cpppod.protocols.model.writing import Writer
from cpppod.workers.bus.requests import RequestFailed
from cpppod.workers.bus.write_orders import WriteOrders
from cpppod.workers.process.worker import Process

REMEMBERED = 1_000  # ids of commands: a broker may repeat those of the last seconds
MAX_COMMAND = 64_000  # bytes


class Commands:
    """The writes that come to one outlet's worker, over all its connections.

    Args:
        way: `mqtt` or `fleet`.
    """

    def __init__(self, process: Process, way: str) -> None:
        self._orders = WriteOrders(process)
        self._way = way
        self._writer = Writer(way)
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def by(self, address: str, session: str, *, allowed: bool) -> None:
        """Who asks from now on: a broker, the session with it, and whether it may write."""
        role = "operator" if allowed else "viewer"
        self._writer = Writer(self._way, address=address, session=session, role=role)

    async def obey(self, payload: bytes, *, kept: bool = False) -> dict[str, Any]:
        """The answer to a JSON command.

        Args:
            kept: the broker had kept it for whoever comes.
        """
        try:
            name, target, value, expires_us = _command(payload)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return _refused("", f"no command: {error}")
        if kept:
            return _refused(name, "the broker kept this command: it may be old; do not retain it")
        if name in self._known:
            return self._known[name]
        answer = await self.write(target, value, expires_us=expires_us)
        answer["id"] = name
        if name:
            self._known[name] = answer
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return answer

    async def write(self, target: str, value: Any, *, expires_us: int = 0) -> dict[str, Any]:
        """What came of writing `value` to `target`: `outcome`, `error`, `writes`."""
        try:
            told = await self._orders.ask(self._writer, [[target, value]], expires_us=expires_us)
        except RequestFailed as error:
            answer = _refused("", str(error))
            return answer | {"outcome": "unknown"} if error.sent else answer
        if told.error:
            return _refused("", f"{told.error.get('what')}: {told.error.get('why')}")
        (write,) = told.writes
        return {
            "id": "",
            "outcome": write.get("outcome", "failed"),
            "error": write.get("error", ""),
            "writes": told.writes,
        }


def _command(payload: bytes) -> tuple[str, str, Any, int]:
    if len(payload) > MAX_COMMAND:
        raise ValueError(f"{len(payload)} bytes")
    plain: Mapping[str, Any] = json.loads(payload)
    if not isinstance(plain, dict):
        raise TypeError("expected an object")
    name, target, expires_us = plain.get("id", ""), plain["tag"], plain.get("expires_us", 0)
    if not isinstance(name, str) or not isinstance(target, str) or type(expires_us) is not int:
        raise TypeError("expected texts id and tag, and an integer expires_us")
    return name, target, plain["value"], expires_us


def _refused(name: str, why: str) -> dict[str, Any]:
    return {"id": name, "outcome": "failed", "error": why, "writes": []}
