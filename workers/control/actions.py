"""Verbs that change something or ask a worker: writes, pauses, restarts, reloads, history, stop.

    right      verbs
    VIEWER     history  gateway  token
    OPERATOR   write  pause  resume  probe  restart
    ENGINEER   reload  log  stop  adopt  audit  configuration  users

A write is `.writes`'s to carry out.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

from cpppod.workers.audit.reading import Question, QuestionError, select, verify
from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.queries import text
from cpppod.workers.control.reload import Plan, Reload, ReloadRefused
from cpppod.workers.control.socket import Caller, Refusal, Verb
from cpppod.workers.control.supervisor import SupervisorError
from cpppod.workers.control.worker_commands import OrderFailed
from cpppod.workers.control.writes import Writes
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.rights import RIGHTS, Right

HISTORY_S = 20.0  # a query over months of one tag reads many files
LEVELS = ("debug", "info", "warning", "error")

audit = logging.getLogger("cpppod.audit")

Spawn = Callable[[Coroutine[Any, Any, None]], Any]


class Actions:
    """The acting verbs of one gateway.

    Args:
        spawn: runs a coroutine to its end although its caller has gone.
    """

    def __init__(self, gateway: Gateway, writes: Writes, spawn: Spawn) -> None:
        self._gateway = gateway
        self._writes = writes
        self._spawn = spawn
        self._reloading = asyncio.Lock()
        self._reading: IoThread | None = None

    def verbs(self) -> dict[str, Verb]:
        """The table of them, with the right that each needs."""
        return {
            "history": Verb(Right.VIEWER, answer=self._history),
            "gateway": Verb(Right.VIEWER, answer=self._identity),
            "adopt": Verb(Right.ENGINEER, answer=self._adopt),
            "write": Verb(Right.OPERATOR, answer=self._write, forbidden=self._may_not_write),
            "pause": Verb(Right.OPERATOR, answer=self._pause),
            "probe": Verb(Right.OPERATOR, answer=self._probe),
            "resume": Verb(Right.OPERATOR, answer=self._resume),
            "restart": Verb(Right.OPERATOR, answer=self._restart),
            "reload": Verb(Right.ENGINEER, answer=self._reload),
            "log": Verb(Right.ENGINEER, answer=self._log),
            "stop": Verb(Right.ENGINEER, answer=self._stop),
            "audit": Verb(Right.ENGINEER, answer=self._audit),
            "configuration": Verb(Right.ENGINEER, answer=self._configuration),
            "token": Verb(Right.VIEWER, answer=self._token),
            "users": Verb(Right.ENGINEER, answer=self._users),
        }

    async def _write(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._writes.perform(caller.writer, arguments.get("writes"))

    def _may_not_write(self, caller: Caller, arguments: dict[str, Any]) -> None:
        self._writes.refuse(caller.writer, arguments.get("writes"))

    async def _audit(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("verify"):
            return await self._verify(arguments)
        try:
            question = Question.of(arguments)
        except QuestionError as error:
            raise Refusal("audit", str(error), '{"tag": "boiler.*", "limit": 100}') from None
        return {"records": await self._read_audit(select, question)}

    async def _verify(self, arguments: dict[str, Any]) -> dict[str, Any]:
        reports = await self._read_audit(verify, _anchors(arguments.get("newest")))
        return {
            "ok": all(report.ok for report in reports),
            "writers": [report.plain() for report in reports],
        }

    async def _read_audit(self, read: Callable[..., Any], *given: Any) -> Any:
        """What `read` finds, on a thread of its own: records go on being written meanwhile."""
        if self._reading is None:
            self._reading = IoThread()
        try:
            return await self._reading.call(read, self._gateway.settings.state_dir, *given)
        except OSError as error:
            raise Refusal("audit", f"cannot be read: {error}", "cpppoctl status") from None
        except IoThreadBusy:
            raise Refusal("audit", "too many questions at once", "again in a moment") from None

    # Devices and workers

    async def _pause(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._tell_owner(caller, "pause", arguments)

    async def _probe(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._tell_owner(caller, "probe", arguments)

    async def _resume(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._tell_owner(caller, "resume", arguments)

    async def _tell_owner(
        self, caller: Caller, verb: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        name = text(arguments, "device", verb)
        device = self._gateway.device(name)
        if device is None:
            raise Refusal(name[:40], "no such device", "cpppoctl devices, which lists them")
        owner = self._gateway.settings.owners.get(device.name, "")
        await self._ask(owner, verb, {"device": device.name}, device.name)
        audit.info("audit: %s source=%s device=%s", verb, caller.source, device.name)
        return {"device": device.name, "worker": owner, "done": verb}

    async def _ask(
        self, worker: str, verb: str, arguments: dict[str, Any], what: str, timeout_s: float = 5.0
    ) -> Any:
        try:
            return await self._gateway.orders.ask(worker, verb, arguments, timeout_s=timeout_s)
        except OrderFailed as error:
            raise Refusal(what, str(error), "cpppoctl status") from None

    async def _restart(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        name = text(arguments, "worker", "restart")
        if name not in self._gateway.roles:
            known = ", ".join(sorted(self._gateway.roles))
            raise Refusal(name[:40], "no such worker", f"one of {known}")
        audit.info("audit: restart source=%s worker=%s", caller.source, name)
        if name == self._gateway.settings.name:
            self._spawn(self._restart_quietly(name))
        else:
            try:
                await self._gateway.supervisor.restart(name)
            except SupervisorError as error:
                raise Refusal(name, str(error), "cpppoctl status") from None
        return {"worker": name, "done": "restart"}

    async def _restart_quietly(self, name: str) -> None:
        """Restart control itself: ending is all, for supervisord starts what it did not stop."""
        record = self._gateway.table.workers.get(name)
        if record is not None and record.pid:
            await asyncio.sleep(0.1)  # the answer leaves first
            await self._gateway.supervisor.call("supervisor.signalProcess", name, "TERM")

    async def _log(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        level = text(arguments, "level", "log").lower()
        if level not in LEVELS:
            raise Refusal(level[:40], "no such level", ", ".join(LEVELS))
        wanted = arguments.get("worker")
        roles = self._gateway.roles
        if wanted is not None and (not isinstance(wanted, str) or wanted not in roles):
            raise Refusal(f"{wanted!s:.40}", "no such worker", f"one of {', '.join(sorted(roles))}")
        workers = [wanted] if wanted else sorted(roles)
        answers = await asyncio.gather(
            *(self._gateway.orders.ask(name, "log", {"level": level}) for name in workers),
            return_exceptions=True,
        )
        failed = {
            name: str(answer)
            for name, answer in zip(workers, answers, strict=True)
            if isinstance(answer, OrderFailed)
        }
        return {"level": level, "workers": workers, "failed": failed}

    # The whole gateway

    async def _history(self, caller: Caller, arguments: dict[str, Any]) -> Any:
        historian = self._gateway.worker_of("historian") or self._gateway.worker_of("collector")
        if not historian:
            raise Refusal("history", "no history is kept", "[history] in the configuration")
        return await self._ask(historian, "history", arguments, "history", HISTORY_S)

    async def _identity(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        found = {"id": self._gateway.settings.gateway, "gateways": [], "adopted": {}}
        historian = self._gateway.worker_of("historian")
        if historian:
            found |= await self._ask(historian, "gateways", {}, "gateway", HISTORY_S)
        return found

    async def _adopt(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        name = text(arguments, "id", "adopt")
        historian = self._gateway.worker_of("historian")
        if not historian:
            raise Refusal("adopt", "no history is kept", "[history] in the configuration")
        told = await self._ask(historian, "adopt", {"id": name}, name[:40], HISTORY_S)
        audit.info("audit: adopt source=%s gateway=%s", caller.source, name)
        return {"id": self._gateway.settings.gateway, **told}

    async def _reload(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._reloading.locked():
            raise Refusal("reload", "another reload is under way", "again in a moment")
        async with self._reloading:
            return await asyncio.shield(
                asyncio.ensure_future(self._reload_now(caller, bool(arguments.get("dry_run"))))
            )

    async def _reload_now(self, caller: Caller, dry_run: bool) -> dict[str, Any]:
        gateway = self._gateway
        reload = Reload(gateway.settings, gateway.orders, gateway.supervisor)
        started = time.monotonic()
        try:
            plan: Plan = await reload.plan()
            if dry_run:
                await reload.discard(plan)
                return {"plan": plan.plain(), "applied": False, "restarted": []}
            restarted = await reload.apply(plan)
        except ReloadRefused as refused:
            gateway.reloads["refused"] += 1
            audit.info("audit: reload refused source=%s", caller.source)
            raise Refusal("reload", "; ".join(refused.problems), "cpppod --check FILE") from None
        gateway.reloads["done"] += 1
        gateway.reloaded_at = time.time()
        audit.info(
            "audit: reload done source=%s generation=%d duration_s=%.2f",
            caller.source,
            plan.generation,
            time.monotonic() - started,
        )
        return {"plan": plan.plain(), "applied": True, "restarted": restarted}

    async def _configuration(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        settings = self._gateway.settings
        return {"files": settings.options.get("files", []), "generation": settings.generation}

    async def _token(self, caller: Caller, arguments: dict[str, Any]) -> Any:
        role = text(arguments, "role", "token")
        if RIGHTS.get(role, Right.VIEWER) > caller.right:
            why = f"you are {caller.right.name.lower()}"
            raise Refusal(role[:40], why, f"as a member of cpppod-{role}")
        strangers.info(audit, "audit: token source=%s role=%.40r", caller.source, role)
        return await self._ask(self._web(), "token", arguments, "token")

    async def _users(self, caller: Caller, arguments: dict[str, Any]) -> Any:
        action, name = arguments.get("action"), arguments.get("name")
        if action != "list":
            audit.info("audit: users source=%s %.40r %.40r", caller.source, action, name)
        return await self._ask(self._web(), "users", arguments, "users")

    def _web(self) -> str:
        worker = self._gateway.worker_of("web")
        if not worker:
            raise Refusal("web", "not enabled", "[web] enabled = true, and a reload")
        return worker

    async def _stop(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        audit.info("audit: stop source=%s", caller.source)
        self._spawn(self._stop_now())
        return {"done": "stop", "workers": len(self._gateway.roles), "pid": os.getppid()}

    async def _stop_now(self) -> None:
        await asyncio.sleep(0.05)  # the answer leaves first
        await self._gateway.supervisor.stop_all()


def _anchors(given: Any) -> dict[str, tuple[int, str]]:
    """{writer: [number, hash]} of records as they were told elsewhere."""
    if given is None:
        return {}
    advice = '"newest": {"control": [17, "3c8fbd34ea61"]}'
    if not isinstance(given, dict):
        raise Refusal("audit", "newest is no map", advice)
    found = {}
    for writer, told in given.items():
        if not isinstance(told, list) or [type(each) for each in told] != [int, str]:
            raise Refusal("audit", f"{writer!r:.40}: no number and hash", advice)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", writer):
            raise Refusal("audit", f"{writer!r:.40}: no worker's name", advice)
        found[writer] = (told[0], told[1].lower())
    return found
