"""A listener's local tags: published as they are written, restored, and some of them retained.

    client ── write ──► Variable ── written ──► a block per `FLUSH_S` ──► feed
    start: configured value, then the retained one, then the feed's snapshot

Structures travel as bytes; in the state directory those are hexadecimal.
"""

import asyncio
import logging
import time
from typing import Any

from cpppod.protocols.bus.topics import LOCAL
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.tag_services import check_rate
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.values import Quality, judged
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.listener.state import ListenerState
from cpppod.workers.process.worker import Process

log = logging.getLogger("cpppod")

FLUSH_S = 0.02  # local tags written meanwhile are published in one block
RETAIN_S = 1.0  # retained values are stored at most so often


class LocalTags:
    """The local tags of one listener; `target` is set anew when the listener begins anew."""

    def __init__(
        self, process: Process, state: ListenerState, publishing: Publishing, name: str
    ) -> None:
        self._process = process
        self._state = state
        self._publishing = publishing
        self._name = name
        self._flushing = False
        self._retaining = False
        self._target: Target | None = None

    def attach(self, target: Target) -> None:
        """Follow what is written to this target."""
        self._target = target
        target.image.notify = self._on_written

    def restore(self, name: str, value: Any) -> None:
        """Set a tag to what it was, where there is one of that name."""
        variable = self._find(name)
        if variable is not None:
            restore(variable, value)

    def keep(self, name: str, variable: Variable) -> None:
        """A tag declared anew has its last published value, where that still fits."""
        sample = self._publishing.publisher.whole(LOCAL, self._name).get(name)
        if sample is not None:
            restore(variable, sample[0])

    def publish_all(self) -> None:
        """The first block of an epoch names all local tags."""
        self._publish(self._all())

    def write(self, writes: list[Any]) -> dict[str, Any]:
        """Writes by an operator: status, error, and the block that says so."""
        written: dict[str, Variable] = {}
        for name, first, values in writes:
            variable = self._find(str(name))
            if variable is None:
                return {
                    "status": cip_status(Failure.NO_SUCH_TAG)[0],
                    "error": f"no local tag {name!r:.60}",
                }
            try:
                check_rate(variable, self._process.now_us() / 1e6)
                variable.set(values, int(first))
            except ProtocolError as error:
                status = error.status or cip_status(Failure.BAD_VALUE)[0]
                return {"status": status, "error": str(error)}
            written[variable.name] = variable
        assert self._target is not None
        for name in written:
            self._target.image.written.pop(name, None)
        topic, payload = self._publish(written)
        if any(variable.retain for variable in written.values()):
            self._retain()
        return {"status": 0, "error": "", "topic": topic, "payload": payload}

    def _find(self, name: str) -> Variable | None:
        if self._target is None:
            return None
        variable = self._target.image.variables.get(name.casefold())
        return None if variable is None or variable.device else variable

    def _all(self) -> dict[str, Variable]:
        if self._target is None:
            return {}
        variables = self._target.image.variables.values()
        return {item.name: item for item in variables if not item.device}

    def _on_written(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        """Publish the local tags written lately, in one block."""
        self._flushing = False
        if self._target is None:
            return
        written, self._target.image.written = self._target.image.written, {}
        self._publish(written)
        if any(variable.retain for variable in written.values()) and not self._retaining:
            self._retaining = True
            asyncio.get_running_loop().call_later(RETAIN_S, self._retain)

    def _publish(self, variables: dict[str, Variable]) -> tuple[bytes, bytes]:
        if not variables:
            return b"", b""
        samples = {name: judged(plain(item), int(Quality.GOOD)) for name, item in variables.items()}
        try:
            return self._publishing.block(
                LOCAL,
                self._name,
                len(self._all()),
                samples,
                source_us=time.time_ns() // 1000,
            )
        except EncodeError as error:
            log.warning("local tags not published why=%s", error)
            return b"", b""

    def _retain(self) -> None:
        self._retaining = False
        values = {name: _stored(item) for name, item in self._all().items() if item.retain}
        self._process.io.call(self._state.save_values, values)


def plain(variable: Variable) -> Any:
    """A local tag's value as the feed says it: structures are bytes."""
    if isinstance(variable.type, Structure) and not variable.type.is_string:
        size = variable.type.size
        raw = [bytes(variable.data[at : at + size]) for at in range(0, len(variable.data), size)]
        return raw if variable.dimensions else raw[0]
    return variable.value


def _stored(variable: Variable) -> Any:
    """The same as JSON can say it."""
    value = plain(variable)
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return {"hex": [item.hex() for item in value]}
    return value


def restore(variable: Variable, value: Any) -> None:
    """Set a tag to what it was; what no longer fits leaves it as configured."""
    try:
        if isinstance(value, dict) and set(value) == {"hex"}:
            held = value["hex"]
            value = (
                [bytes.fromhex(item) for item in held]
                if isinstance(held, list)
                else bytes.fromhex(held)
            )
        variable.set(value if variable.dimensions and isinstance(value, list) else [value])
    except (ProtocolError, TypeError, ValueError) as error:
        log.warning("value not restored tag=%s why=%s", variable.name, error)
