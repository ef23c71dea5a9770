"""An outlet's way to write: orders to control, which checks, sends, reads back and audits.

    outcomes = await orders.ask(writer, [["boiler.setpoint", 52.5]])

Every way in that is neither a CIP listener nor the control socket writes through this.
"""

from typing import Any

from cpppod.protocols.bus.codec import unpack
from cpppod.protocols.bus.messages import WriteOrder, WriteOutcomes
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.writing import Writer
from cpppod.workers.bus.requests import RequestFailed, Requests
from cpppod.workers.process.worker import Process, decode_or_count

ORDER_S = 15.0  # a device may take 12 s, behind a poll of a slow line


class WriteOrders:
    """The orders of one outlet's process; made on its loop, before or in `run`."""

    def __init__(self, process: Process) -> None:
        self._socket = process.bus.dealer("control", self._on_frames, named=False)
        self._requests = Requests(self._socket)

    async def ask(
        self,
        writer: Writer,
        writes: list[Any],
        *,
        expires_us: int = 0,
        timeout_s: float = ORDER_S,
    ) -> WriteOutcomes:
        """What came of `writes`, [target, value] each, done in this order by control.

        Args:
            writer: who wants it; its role is what the outlet has made sure of.
            expires_us: wall clock in microseconds from which nobody wants it any more, 0 for never.

        Raises:
            RequestFailed: control is away (nothing was written), or, with `sent`, has not answered
                in time: the outcome is unknown.
        """
        order = WriteOrder(
            0,
            writer.way,
            0,
            writes,
            writer.user,
            writer.address,
            writer.session,
            writer.role,
            expires_us,
        )
        try:
            unpack(order.encode())  # what control would not read is refused here, at once
        except ProtocolError as error:
            raise RequestFailed(f"a value that cannot be passed on: {error}", sent=False) from None
        reply = await self._requests.ask(order, timeout_s)
        assert isinstance(reply, WriteOutcomes)
        return reply

    def _on_frames(self, frames: list[bytes]) -> None:
        message = decode_or_count(frames, self._socket.counters)
        if isinstance(message, WriteOutcomes):
            self._requests.reply(message)
