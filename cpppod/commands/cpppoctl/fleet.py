"""A gateway far away, asked over the fleet's servers instead of its control socket.

    cpppoctl --fleet nats://hub:4222 --creds FILE --at north/plant1 devices

Without `--at` it is the one that is there, where there is only one.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from cpppod.control_client import ControlClient, ControlError, Unreachable
from cpppod.protocols.fleet import subjects

VERBS = ("status", "devices", "device", "tags", "read", "write", "reload", "outlets")
ANSWER_S = 45.0
WRITE_S = 10.0  # an order that comes later is not carried out

_Result = TypeVar("_Result")


class FleetClient(ControlClient):
    """A gateway as `ControlClient` has it, over a server of the fleet.

    Args:
        credentials: a user's JWT and seed, as nsc makes it; "" for none. Names and passwords can be
            in the server's address.
        gateway: SITE/NAME; "" for the only one.
    """

    def __init__(self, server: str, credentials: str, gateway: str) -> None:
        self._server, self._credentials = server, credentials
        self.path = Path(server)
        self._site, self._name = self._chosen(gateway)

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Nothing is open between two questions."""

    def _chosen(self, gateway: str) -> tuple[str, str]:
        site, _, name = gateway.partition("/")
        if site and name:
            return site, name
        if gateway:
            raise ControlError("--at", f"{gateway} is no SITE/NAME", "--at north/plant1")
        known = self._run(_told)
        if len(known) == 1:
            site, _, name = known[0].partition(".")
            return site, name
        listed = ", ".join(each.replace(".", "/", 1) for each in known) or "none"
        raise ControlError("--at", f"which one? there are {listed}", "--at SITE/NAME")

    def ask(self, verb: str, **arguments: Any) -> Any:
        if verb == "write":
            return self._write(arguments["writes"])
        reply = self._request(verb, arguments)
        if not reply.get("ok"):
            refused = reply.get("error", {})
            raise ControlError(*(str(refused.get(key, "")) for key in ("what", "why", "try")))
        return reply["result"]

    def stream(self, verb: str, **arguments: Any) -> Iterator[Any]:
        raise ControlError(verb, "cannot be asked over the fleet", f"one of {', '.join(VERBS)}")

    def _write(self, writes: list[Any]) -> dict[str, Any]:
        """One order after another, each with an id and a time after which it is too late."""
        done: list[Any] = []
        for at, (tag, value) in enumerate(writes):
            expires_us = time.time_ns() // 1000 + round(WRITE_S * 1e6)
            order = {"id": uuid.uuid4().hex, "tag": tag, "value": value, "expires_us": expires_us}
            answer = self._request("write", order)
            if not answer["writes"]:
                raise ControlError(tag, answer["error"], "cpppoctl tags; writes = true in [fleet]")
            done += answer["writes"]
            if answer["outcome"] != "done":
                return {"writes": done, "not_tried": len(writes) - at - 1}
        return {"writes": done, "not_tried": 0}

    def _request(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        from nats.errors import NoRespondersError
        from nats.errors import TimeoutError as NatsTimeout

        subject = subjects.ask(self._site, self._name, verb)
        who = f"{self._site}/{self._name}"

        async def request(client: Any) -> dict[str, Any]:
            try:
                reply = await client.request(
                    subject, json.dumps(arguments).encode(), timeout=ANSWER_S
                )
            except NoRespondersError:
                raise Unreachable(who, "is not there, or you may not ask it") from None
            except NatsTimeout:
                raise Unreachable(who, "no answer in time", "again") from None
            answer: dict[str, Any] = json.loads(reply.data)
            return answer

        return self._run(request)

    def _run(self, work: Callable[[Any], Awaitable[_Result]]) -> _Result:
        """What `work` makes of a connection.

        Raises:
            Unreachable: there is none.
        """
        try:
            from nats.aio.client import Client
            from nats.errors import Error

            from cpppod.workers.transport.nats_link import reason
        except ImportError:
            raise ControlError(
                "--fleet", "nats-py is missing", "pip install 'cpppod[fleet]'"
            ) from None
        told: list[str] = []

        async def note(error: Exception) -> None:
            told.append(reason(error))

        async def connected() -> _Result:
            client = Client()
            try:
                await client.connect(
                    self._server,
                    user_credentials=self._credentials or None,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.05,  # type: ignore[arg-type]
                    connect_timeout=5,
                    error_cb=note,
                )
                return await work(client)
            finally:
                if client.is_connected:
                    await client.close()

        if self._credentials and not Path(self._credentials).is_file():
            raise ControlError("--creds", f"{self._credentials}: no such file")
        try:
            return asyncio.run(connected())
        except (Error, OSError, ValueError) as error:
            why = told[0] if told else reason(error)
            raise Unreachable(self._server, why) from None


async def _told(client: Any) -> list[str]:
    """The gateways that are there: <site>.<name>."""
    from nats.js.errors import NoKeysError, NotFoundError

    try:
        bucket = await client.jetstream().key_value(subjects.TOLD)
        return sorted(await bucket.keys())
    except (NoKeysError, NotFoundError):
        return []
