"""What a unit says of itself, as tags: the objects of function 43/14, read once a connection."""

from collections.abc import Awaitable, Callable, Mapping

from cpppod.protocols.modbus import diagnostics
from cpppod.protocols.modbus.pdu import ModbusException, ReplyMismatch, Request
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import Sample

KINDS = ((0x02, 1), (0x7F, 2), (0xFF, 3))  # objects up to this one are of that kind of stream
MOST_REQUESTS = 32  # for one stream: a unit that never comes to an end is not asked for ever

Transact = Callable[[str, Request, int], Awaitable[bytes]]


class IdentityReader:
    """Reads them; nobody asks where no tag is one of them."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact
        self._known: dict[int, Sample] = {}

    def forget(self) -> None:
        """It may be another unit: ask anew."""
        self._known.clear()

    async def add(self, objects: Mapping[str, int], samples: dict[str, Sample]) -> None:
        """Add what the unit says of these objects to `samples`.

        Args:
            objects: tag -> number.

        Raises:
            DeviceError: no answer.
        """
        for name, number in objects.items():
            if number not in self._known:
                await self._read(number)
            samples[name] = self._known[number]

    async def _read(self, number: int) -> None:
        """Ask for the stream that has this object; all of it is known then."""
        code = next(code for last, code in KINDS if number <= last)
        at: int | None = 0
        try:
            for _ in range(MOST_REQUESTS):
                request = diagnostics.read_device_identification(code, at or 0)
                data = await self._transact("read", request, 1)
                found = diagnostics.decode_identification(request, data)
                good = int(Quality.GOOD)
                self._known |= {each: (text, good) for each, text in found.objects.items()}
                at = found.next_object
                if at is None:
                    break
            worth = quality(Quality.NOT_CONFIGURED)
        except ModbusException as error:
            worth = quality(Quality.DEVICE_STATUS, status=error.code)
        except ReplyMismatch:
            worth = int(Quality.BAD_REPLY)
        self._known.setdefault(number, (None, worth))
