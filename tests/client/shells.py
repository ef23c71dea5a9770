"""Both shells under the blocking one's names, so that the same tests run on either."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, cast

from cpppod import client
from tests.patience import PATIENCE_S

SHELLS = ("blocking", "asyncio")


class OnLoop:
    """An `AsyncConnector` on a loop of its own that runs while a call lasts."""

    def __init__(self, host: str, port: int, timeout: float, **how: Any) -> None:
        self.runner = asyncio.Runner()
        try:
            opened = client.AsyncConnector.open(host, port, timeout, **how)
            self.connector = self.runner.run(opened)
        except BaseException:
            self.runner.close()
            raise

    def close(self) -> None:
        self.runner.run(self.connector.close())
        self.runner.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.connector, name)
        return found if not callable(found) else lambda *a, **how: self._ended(found(*a, **how))

    def _ended(self, made: Any) -> Any:
        if inspect.iscoroutine(made):
            return self.runner.run(made)
        return self._taken(made) if isinstance(made, AsyncIterator) else made

    def _taken(self, results: AsyncIterator[Any]) -> Iterator[Any]:
        async def take() -> Any:
            return await anext(results)

        try:
            while True:
                try:
                    result = self.runner.run(take())
                except StopAsyncIteration:
                    return
                yield result
        finally:
            self.runner.run(cast(AsyncGenerator[Any, None], results).aclose())


def connect(
    shell: str,
    address: tuple[str, int],
    *,
    timeout: float = PATIENCE_S,
    connected: bool = False,
    **how: Any,
) -> client.Connector:
    """A connection by either shell."""
    if shell == "asyncio":
        return cast(client.Connector, OnLoop(*address, timeout, connected=connected, **how))
    kind = client.implicit if connected else client.connector
    return kind(*address, timeout=timeout, **how)
