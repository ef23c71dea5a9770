"""Questions about what is stored, on a thread of their own: they hold up no reading."""

from collections.abc import Awaitable, Callable
from typing import Any

from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.historian.stores.questions import QuestionError, answer
from cpppod.workers.historian.stores.store import DamagedError, StoreError
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from cpppod.workers.process.worker import CommandError

ANSWER_SIZE = 48_000  # characters: the control socket's lines have 64 KB
MAX_QUESTIONS = 8  # waiting for an answer; more are refused

Mend = Callable[[DamagedError], Awaitable[None]]


class Questions:
    """The questions of one worker."""

    def __init__(self) -> None:
        self._thread = IoThread()
        self._asked = 0

    async def ask(
        self, url: str, gateway: str | None, arguments: dict[str, Any], *, mend: Mend | None = None
    ) -> Any:
        """The answer of the store at `url`.

        Args:
            gateway: whose history it is about; None for everybody's.
            mend: puts aside what is found damaged, after which it is asked again.

        Raises:
            CommandError: too many at once, or the store does not answer.
        """
        if self._asked >= MAX_QUESTIONS:
            raise CommandError("too many questions at once; try again")
        self._asked += 1
        try:
            while True:
                try:
                    return await self._thread.call(_answer, url, gateway, arguments)
                except DamagedError as error:
                    if mend is None:
                        raise
                    await mend(error)
        except (QuestionError, StoreError) as error:
            raise CommandError(str(error)) from None
        except IoThreadBusy:
            raise CommandError("the store does not answer; try again") from None
        finally:
            self._asked -= 1


def _answer(url: str, gateway: str | None, arguments: dict[str, Any]) -> Any:
    reader = open_reader(url, gateway)
    try:
        return answer(reader, arguments, size=ANSWER_SIZE)
    finally:
        reader.close()
