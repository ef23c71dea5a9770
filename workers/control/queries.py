"""Verbs that only read: answered from what control holds in memory, without asking anybody.

`device` with `wire` alone asks the device's worker, for what went over its wire of late.

status  devices  device  tags  read  watch  routes  outlets
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from cpppod.protocols.model.plant import Device, to_plain
from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.socket import Caller, Refusal, Verb
from cpppod.workers.control.table import WorkerRecord
from cpppod.workers.control.verdict import verdict
from cpppod.workers.control.worker_commands import OrderFailed
from cpppod.workers.control.writing import NotWritable, target_of
from cpppod.workers.rights import Right
from cpppod.workers.values import TagInfo

WIRE_S = 1.0  # for a worker to say what went over a wire
MAX_NAMED = 1_000  # tags or patterns in one request
OUTLET = {  # what an outlet's beat says of it, where it says nothing
    "place": "",
    "state": "",
    "connected_us": 0,
    "error": "",
    "behind_bytes": 0,
    "behind_s": 0.0,
    "sent": 0,
    "refused": 0,
    "lost": 0,
}
UP_STATES = ("online", "degraded")
ADVICE_TAGS = "cpppoctl tags, which lists them"


class Queries:
    """The reading verbs of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def verbs(self) -> dict[str, Verb]:
        """The table of them; every right may read."""
        answers = {
            "status": self._status,
            "devices": self._devices,
            "device": self._device,
            "tags": self._tags,
            "read": self._read,
            "routes": self._routes,
            "outlets": self._outlets,
        }
        table = {name: Verb(Right.VIEWER, answer=answer) for name, answer in answers.items()}
        return table | {"watch": Verb(Right.VIEWER, stream=self._watch)}

    async def _status(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        gateway, now = self._gateway, time.monotonic()
        devices = self._device_rows(now)
        workers, waiting = gateway.table.rows(now), gateway.table.not_ready(now)
        return {
            "name": gateway.settings.options.get("name", "cpppod"),
            "gateway": gateway.settings.gateway,
            "version": gateway.version,
            "generation": gateway.generation,
            "ready": bool(workers) and not waiting,
            "not_ready": waiting,
            "damaged": gateway.damaged(),
            "up_s": round(now - gateway.started_at, 1),
            "summary": summary(gateway, now),
            "listeners": [
                {"name": each.name, "address": each.address} for each in gateway.settings.listeners
            ],
            "workers": workers,
            "devices": devices,
        }

    async def _outlets(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        """What every outlet's worker says of its other side; nothing of those that say nothing."""
        rows = []
        for worker in self._gateway.table.rows(time.monotonic()):
            told = worker["extra"].get("outlet")
            if told is not None:
                rows.append({"name": worker["name"], "role": worker["role"], **OUTLET, **told})
        return {"outlets": rows}

    async def _devices(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"devices": self._device_rows(time.monotonic())}

    async def _device(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        name = text(arguments, "name", "device")
        device = self._gateway.device(name)
        if device is None:
            raise Refusal(name[:40], "no such device", "cpppoctl devices, which lists them")
        now = time.monotonic()
        plain = to_plain(device)
        plain.pop("groups", None)
        told = self._gateway.table.devices().get(device.name, {})
        wire = arguments.get("wire", False)
        if not isinstance(wire, bool):
            raise Refusal("device", "wire is neither true nor false", '"wire": true')
        if wire:
            told = {**told, "wire": await self._wire(device)}
        answer = {**self._device_row(device, told, now), "configured": plain, "told": told}
        return {**answer, "verdict": verdict(answer)}

    async def _wire(self, device: Device) -> list[Any]:
        """What went over the device's wire of late; its worker knows, and may not answer."""
        owner = self._gateway.settings.owners.get(device.name, "")
        try:
            asked = {"name": device.name}
            told = await self._gateway.orders.ask(owner, "device", asked, timeout_s=WIRE_S)
        except OrderFailed:
            return []
        return list(told["wire"])

    def _device_rows(self, now: float) -> list[dict[str, Any]]:
        told = self._gateway.table.devices()
        return [
            self._device_row(device, told.get(device.name, {}), now)
            for device in self._gateway.settings.devices
        ]

    def _device_row(self, device: Device, told: dict[str, Any], now: float) -> dict[str, Any]:
        """The device in one line: state, rate, age, last error."""
        owner = self._gateway.settings.owners.get(device.name, "")
        record = self._gateway.table.workers.get(owner)
        error_us = told.get("last_error_us") or 0
        return {
            "name": device.name,
            "driver": device.driver,
            "address": device.address,
            "worker": owner,
            "state": _state(device, record, told),
            "rate_hz": _rounded(self._gateway.rates.rate(device.name), 2),
            "age_s": _rounded(_age(told, record, now), 3),
            "tags": told.get("tags", 0),
            "tags_bad": told.get("tags_bad", 0),
            "last_error": told.get("last_error", ""),
            "last_error_age_s": round(time.time() - error_us / 1e6, 1) if error_us else None,
            "description": device.description,
        }

    async def _tags(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        patterns = names(arguments, "patterns", "tags") if arguments.get("patterns") else ["*"]
        now_us = _now_us()
        values = self._gateway.values
        return {
            "tags": [
                {
                    **values.reading(info, now_us).plain(),
                    "device": info.device,
                    "group": info.group,
                    "length": info.length,
                    "writable": info.writable,
                    "description": info.description,
                }
                for info in values.matching(patterns)
            ]
        }

    async def _read(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        now_us = _now_us()
        found: list[dict[str, Any]] = []
        for name in names(arguments, "tags", "read"):
            found += [self._plain(info, element, now_us) for info, element in self._named(name)]
        return {"values": found}

    def _named(self, name: str) -> list[tuple[TagInfo, int | None]]:
        """The tags, each with the element asked for, that `name` stands for."""
        values = self._gateway.values
        info = values.find(name)
        if info is not None:
            return [(info, None)]
        try:
            tag, element = target_of(name)
        except NotWritable:
            tag, element = "", 0
        info = values.find(tag)
        if info is not None and name.endswith("]"):
            if element >= info.length:
                raise Refusal(name, f"{info.name} has {info.length} elements", "a lower element")
            return [(info, element)]
        matching = values.matching([name])
        if not matching:
            raise Refusal(name[:80], "no such tag", ADVICE_TAGS)
        return [(each, None) for each in matching]

    def _plain(self, info: TagInfo, element: int | None, now_us: int) -> dict[str, Any]:
        plain = self._gateway.values.reading(info, now_us).plain()
        if element is not None:
            plain["tag"] = f"{info.name}[{element}]"
            if isinstance(plain["value"], list):
                plain["value"] = plain["value"][element]
        return plain

    async def _watch(self, caller: Caller, arguments: dict[str, Any]) -> AsyncIterator[Any]:
        """First every tag that matches, then those that change, at most one update a turn."""
        values = self._gateway.values
        patterns = names(arguments, "patterns", "watch")
        watched = values.matching(patterns)
        if not watched:
            raise Refusal(", ".join(patterns)[:80], "no such tag", ADVICE_TAGS)
        wanted = {info.name for info in watched}
        pending: dict[str, TagInfo] = {info.name: info for info in watched}
        wake = asyncio.Event()
        wake.set()

        def changed(infos: list[TagInfo]) -> None:
            ours = {info.name: info for info in infos if info.name in wanted}
            if ours:
                pending.update(ours)
                wake.set()

        leave = values.watch(changed)
        try:
            while True:
                await wake.wait()
                wake.clear()
                batch, now_us = list(pending.values()), _now_us()
                pending.clear()
                yield {"values": [values.reading(info, now_us).plain() for info in batch]}
        finally:
            leave()

    async def _routes(self, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
        gateway = self._gateway
        router = gateway.table.workers.get(gateway.worker_of("router"))
        told = router.beat.extra.get("routes", {}) if router and router.beat else {}
        states = gateway.table.devices()
        return {
            "routes": [
                {
                    **to_plain(route),
                    "device": route.device,
                    "worker": gateway.settings.owners.get(route.device, ""),
                    "state": states.get(route.device, {}).get("state", "unknown"),
                    **(told.get(route.path, {}) if isinstance(told, dict) else {}),
                }
                for route in gateway.settings.routes
            ]
        }


def summary(gateway: Gateway, now: float) -> dict[str, Any]:
    """Counts over all devices and workers, for `status` and systemd's STATUS=."""
    told = gateway.table.devices()
    states: dict[str, int] = {}
    for device in gateway.settings.devices:
        record = gateway.table.workers.get(gateway.settings.owners.get(device.name, ""))
        state = _state(device, record, told.get(device.name, {}))
        states[state] = states.get(state, 0) + 1
    records = gateway.table.workers.values()
    return {
        "devices": len(gateway.settings.devices),
        "devices_up": sum(states.get(state, 0) for state in UP_STATES),
        "device_states": states,
        "workers": len(gateway.table.workers),
        "workers_running": sum(record.alive for record in records),
        "backing_off": gateway.table.backing_off(now),
    }


def _state(device: Device, record: WorkerRecord | None, told: dict[str, Any]) -> str:
    """The device's state; one that its worker has not told of yet is `unknown`."""
    if not device.enabled and not told:
        return "disabled"
    return str(told.get("state", "unknown")) if record is not None else "unknown"


def _age(told: dict[str, Any], record: WorkerRecord | None, now: float) -> float | None:
    """Age of the device's youngest value, now."""
    groups = told.get("groups", {}).values()
    ages = [group["age_s"] for group in groups if group.get("age_s") is not None]
    if not ages:
        return None
    since_beat = now - record.beat_at if record and record.beat_at is not None else 0.0
    return float(min(ages) + since_beat)


def text(arguments: dict[str, Any], key: str, verb: str) -> str:
    """The string argument `key`.

    Raises:
        Refusal: it is missing.
    """
    value = arguments.get(key)
    if not isinstance(value, str) or not value:
        raise Refusal(verb, f"lacks the argument {key!r}", f'"arguments": {{"{key}": "..."}}')
    return value


def names(arguments: dict[str, Any], key: str, verb: str) -> list[str]:
    """The list of strings in the argument `key`.

    Raises:
        Refusal: it is missing, or too long.
    """
    value = arguments.get(key)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Refusal(verb, f"lacks the list {key!r}", f'"arguments": {{"{key}": ["..."]}}')
    if not 1 <= len(value) <= MAX_NAMED:
        raise Refusal(verb, f"{len(value)} {key}", f"1 to {MAX_NAMED}")
    return value


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _now_us() -> int:
    return time.monotonic_ns() // 1000
