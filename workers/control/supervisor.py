"""supervisord as control sees it: XML-RPC over its Unix socket, without blocking the loop.

    control ──HTTP/1.0 POST /RPC2──> supervisord.sock
            <── methodResponse ───

One connection a call: supervisord closes HTTP/1.0 connections itself. Every call also wakes the
loop of supervisord, which otherwise looks at its children once a second: `wake` is such a call and
nothing more.
"""

import asyncio
from typing import Any
from xmlrpc import client as xmlrpc

CALL_S = 5.0  # addProcessGroup and the like take milliseconds; a supervisord this slow is stuck
MAX_REPLY = 4_194_304  # bytes: getAllProcessInfo of 200 programs is 160 KB


class SupervisorError(Exception):
    """supervisord refused a call, or could not be reached.

    Attributes:
        code: supervisor's fault code (`supervisor.xmlrpc.Faults`), 0 where it was not reached.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Supervisor:
    """Calls of supervisord's XML-RPC interface at the Unix socket `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def call(self, method: str, *arguments: Any) -> Any:
        """The result of `method`, e.g. `supervisor.getAllProcessInfo`.

        Raises:
            SupervisorError: refused with a fault, unreachable, or no answer within `CALL_S`.
        """
        body = xmlrpc.dumps(arguments, method).encode()
        try:
            async with asyncio.timeout(CALL_S):
                reply = await self._post(body)
            return xmlrpc.loads(reply)[0][0]
        except xmlrpc.Fault as fault:
            raise SupervisorError(f"{method}: {fault.faultString}", fault.faultCode) from None
        except TimeoutError:
            raise SupervisorError(f"{method}: no answer within {CALL_S:g} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise SupervisorError(f"{method}: {error or type(error).__name__}") from None

    async def _post(self, body: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=MAX_REPLY)
        try:
            head = (
                "POST /RPC2 HTTP/1.0\r\nHost: supervisord\r\nContent-Type: text/xml\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            header = await reader.readuntil(b"\r\n\r\n")
            length = _checked_length(header)
            return await (reader.readexactly(length) if length is not None else reader.read(-1))
        finally:
            writer.close()

    async def wake(self) -> None:
        """Have supervisord look at its children now rather than within a second."""
        await self.call("supervisor.getState")

    async def processes(self) -> dict[str, dict[str, Any]]:
        """Program -> supervisord's word on it: `pid`, `statename`, `spawnerr` ..."""
        return {info["name"]: info for info in await self.call("supervisor.getAllProcessInfo")}

    async def restart(self, group: str) -> None:
        """Stop and start the programs of `group`; returns when they are up.

        Raises:
            SupervisorError: there is no such group, or it did not start.
        """
        await self.call("supervisor.stopProcessGroup", group)
        await self.call("supervisor.startProcessGroup", group, False)

    async def stop_all(self) -> None:
        """Stop everything; our supervisord (`cpppod.supervisord`) stops all groups at once."""
        await self.call("supervisor.shutdown")

    async def reread(self) -> tuple[list[str], list[str], list[str]]:
        """Read the configuration anew: names of the groups (added, changed, removed) by it."""
        added, changed, removed = (await self.call("supervisor.reloadConfig"))[0]
        return list(added), list(changed), list(removed)

    async def add(self, group: str) -> None:
        """Start the programs of a group that the configuration now has."""
        await self.call("supervisor.addProcessGroup", group)

    async def remove(self, group: str) -> None:
        """Stop the programs of `group` and forget it."""
        await self.call("supervisor.stopProcessGroup", group)
        await self.call("supervisor.removeProcessGroup", group)

    async def notify(self, state: str) -> None:
        """Send `state` (`READY=1` ...) to systemd from supervisord, the unit's main process."""
        await self.call("cpppod.notify", state)


def _checked_length(header: bytes) -> int | None:
    """Content-Length of an HTTP reply of 200, None where it has none."""
    lines = header.decode("latin-1").split("\r\n")
    if lines[0].split(" ", 2)[1:2] != ["200"]:
        raise ValueError(f"answered {lines[0][:80]!r}")
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
            if length > MAX_REPLY:
                raise ValueError(f"reply of {length} bytes")
            return length
    return None
