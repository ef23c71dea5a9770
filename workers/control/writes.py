"""Writes for the control socket and for outlets: one function, one contract, one record of each.

    verb `write`          ─┐              ┌ refused ──────────────► Refusal          ┐
    WriteOrder of an outlet ┴► perform ───┤                                          ├─► audit
                                          └ sent, read back, in turn ► an outcome each┘

The contract is `protocols.model.writing`'s; limits of values are the owner's to check. Writes are
done in the order given and stop at the first that is not done. What is behind a refused one was not
attempted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.bus.messages import WriteOrder, WriteOutcomes, WriteReply
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.cip.status import words_of
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.writing import (
    WAYS,
    Outcome,
    Writer,
    WriteRefused,
    attempt,
    elements_of,
    outcome_of,
    refuse_expired,
    refuse_role,
)
from cpppod.workers.audit.recorder import Recorder
from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.queries import ADVICE_TAGS
from cpppod.workers.control.socket import Refusal
from cpppod.workers.control.worker_commands import OrderFailed
from cpppod.workers.control.writing import NotWritable, target_of, values_of
from cpppod.workers.values import TagInfo

MAX_WRITES = 1_000  # tags in one request


@dataclass(frozen=True, slots=True)
class _Checked:
    """A write that may be sent."""

    info: TagInfo
    first: int
    values: list[Any]


class Writes:
    """Carries out the write contract.

    Args:
        now_us: the wall clock, and `mono_us` the machine's monotonic one, in microseconds.
    """

    def __init__(
        self,
        gateway: Gateway,
        audit: Recorder,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        mono_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ) -> None:
        self._gateway = gateway
        self._audit = audit
        self._now_us = now_us
        self._mono_us = mono_us

    async def obey(self, order: WriteOrder) -> WriteOutcomes:
        """What came of an outlet's order."""
        if order.way not in WAYS or self._mono_us() >= order.deadline_us:
            return WriteOutcomes(order.id, Refusal("write", "came too late").plain())
        writer = Writer(order.way, order.user, order.address, order.session, order.role)
        try:
            done = await self.perform(writer, order.writes, expires_us=order.expires_us)
        except Refusal as refusal:
            return WriteOutcomes(order.id, refusal.plain())
        return WriteOutcomes(order.id, {}, done["writes"], done["not_tried"])

    async def perform(self, writer: Writer, given: Any, *, expires_us: int = 0) -> dict[str, Any]:
        """Write tags in the order given, stopping at the first that is not done.

        Where the outcome of one is not known, only the writes to its own device stop.

        Args:
            given: [[tag, value] ...] or {tag: value}.
            expires_us: wall clock, from which the rest is not sent any more; 0 for never.

        Raises:
            Refusal: nothing was sent; the attempt is in the audit.
        """
        checked = [self._checked(writer, pair) for pair in _pairs(given)]
        results: list[dict[str, Any]] = []
        doubtful: set[str] = set()
        for each in checked:
            if each.info.device in doubtful:
                continue
            results.append(await self._write(writer, each, expires_us))
            if results[-1]["outcome"] == "unknown":
                doubtful.add(each.info.device)
            elif not results[-1]["ok"]:
                break
        return {"writes": results, "not_tried": len(checked) - len(results)}

    def refuse(self, writer: Writer, given: Any) -> None:
        """Record the attempt of somebody who may not write; what `perform` would have begun."""
        try:
            self._checked(writer, _pairs(given)[0])
        except Refusal:
            pass

    def _checked(self, writer: Writer, pair: Any) -> _Checked:
        """One write as it may be sent; nothing is sent unless all are well."""
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise Refusal("write", "not a pair of tag and value", '["boiler.level", 5]')
        name, given = pair
        advice = ADVICE_TAGS
        info, first = None, 0
        try:
            refuse_role(writer)
            self._audit.check()
            try:
                tag, first = target_of(name)
                info = self._gateway.values.find(tag)
                if info is None:
                    raise WriteRefused(Failure.NO_SUCH_TAG, "no such tag")
                advice = "writable = true for it, and a reload"
                if not info.writable:
                    raise WriteRefused(Failure.NOT_WRITABLE, "not writable")
                advice = f"a value of type {info.type}"
                values = values_of(given, info.type)
            except NotWritable as error:
                failure = Failure.NO_SUCH_TAG if info is None else Failure.BAD_VALUE
                raise WriteRefused(failure, str(error)) from None
            if first + len(values) > info.length:
                advice = "fewer values"
                text = f"elements {first} to {first + len(values) - 1} of {info.length}"
                raise WriteRefused(Failure.BAD_PARAMETER, text)
        except WriteRefused as refused:
            raise self._refused(writer, info or name, first, given, refused, advice) from None
        return _Checked(info, first, values)

    def _refused(
        self,
        writer: Writer,
        tag: TagInfo | str,
        first: int,
        given: Any,
        refused: WriteRefused,
        advice: str,
    ) -> Refusal:
        """The refusal to answer with, recorded."""
        status, extended = cip_status(refused.failure)
        values = given if isinstance(given, list) else [given]
        name = tag if isinstance(tag, str) else tag.name
        self._audit.record(
            attempt(
                writer,
                name,
                first,
                values,
                time_us=self._now_us(),
                old=None if isinstance(tag, str) else self._old(tag, first, len(values)),
                status=status,
                extended=extended,
                why=refused.text,
            )
        )
        what = name[:80]
        if refused.failure is Failure.NOT_ALLOWED:
            what, advice = "write", "as a member of cpppod-operator"
        elif refused.failure is Failure.NO_AUDIT:
            advice = "cpppoctl status"
        return Refusal(what, refused.text, advice)

    def _old(self, info: TagInfo, first: int, count: int) -> list[Any] | None:
        value = self._gateway.values.reading(info, self._mono_us()).value
        return elements_of(value, first, count)

    async def _write(self, writer: Writer, write: _Checked, expires_us: int) -> dict[str, Any]:
        """Send one write, read it back, record it, and tell what came of it."""
        gateway, info, first, values = self._gateway, write.info, write.first, write.values
        before = gateway.values.reading(info, self._mono_us())
        try:
            refuse_expired(expires_us, self._now_us())
        except WriteRefused as refused:
            reply = WriteReply(0, *cip_status(refused.failure), refused.text)
        else:
            reply = await self._send(info, writer.source, first, values)
        if reply.payload:
            await gateway.read_backs.applied(reply.topic, reply.payload)
        after = gateway.values.reading(info, self._mono_us())
        outcome = outcome_of(reply.status, unknown=reply.unknown)
        old = elements_of(before.value, first, len(values))
        await self._audit.recorded(
            attempt(
                writer,
                info.name,
                first,
                values,
                time_us=self._now_us(),
                old=old,
                outcome=outcome,
                status=reply.status,
                extended=reply.extended,
                why=reply.error,
            )
        )
        return {
            "tag": info.name,
            "ok": outcome is Outcome.DONE,
            "outcome": str(outcome),
            "status": reply.status,
            "extended": reply.extended,
            "status_text": words_of(reply.status, reply.extended),
            "error": reply.error,
            "first": first,
            "count": len(values),
            "was": old[0] if old and len(old) == 1 else old,
            "now": after.plain(),
        }

    async def _send(self, info: TagInfo, source: str, first: int, values: list[Any]) -> WriteReply:
        """What the tag's owner says: a device's by the router, a local tag's listener itself."""
        writes = [[info.member, first, values]]
        if info.device:
            return await self._gateway.write_tags(info.device, source, writes)
        try:
            result = await self._gateway.orders.ask(
                f"listener-{info.group}", "write", {"source": source, "writes": writes}
            )
        except OrderFailed as error:
            status, extended = cip_status(error.failure)
            unknown = error.failure in (Failure.TIMEOUT, Failure.LOST, Failure.INTERNAL)
            return WriteReply(0, status, extended, str(error), unknown)
        reply: dict[str, Any] = result if isinstance(result, dict) else {}
        return WriteReply(
            0,
            status=int(reply.get("status", 0)),
            error=str(reply.get("error", "")),
            topic=reply.get("topic", b""),
            payload=reply.get("payload", b""),
        )


def _pairs(given: Any) -> list[Any]:
    if isinstance(given, dict):
        given = list(given.items())
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_WRITES:
        raise Refusal("write", f"expected 1 to {MAX_WRITES} writes", '[["boiler.level", 5]]')
    return given
