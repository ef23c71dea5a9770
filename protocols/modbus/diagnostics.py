"""The rarer functions: exception status, diagnostics, event counter, server id, identification.

    7   read exception status          11  get comm event counter
    8   diagnostics (return query data)   17  report server id
    43/14  read device identification

Their PDUs are pymodbus's, encoded and decoded; that a reply belongs to its request is checked here
and in `pdu.decode_reply`.
"""

from dataclasses import dataclass, field

from cpppod.protocols.modbus.pdu import Answer, ReplyMismatch, Request


@dataclass(frozen=True, slots=True)
class Identification:
    """What a device says of itself: object id -> text; `next_object` is where to go on, or None."""

    objects: dict[int, str] = field(default_factory=dict)
    next_object: int | None = None


def read_exception_status() -> Request:
    """Function 7: eight device-specific status bits."""
    return Request(b"\x07", Answer.OTHER)


def return_query_data(data: int = 0xA55A) -> Request:
    """Function 8, sub-function 0: the device sends back what it got."""
    from pymodbus.pdu.diag_message import ReturnQueryDataRequest

    pdu = b"\x08" + ReturnQueryDataRequest(data.to_bytes(2, "big")).encode()
    return Request(pdu, Answer.ECHO)


def comm_event_counter() -> Request:
    """Function 11: status word and number of messages processed."""
    return Request(b"\x0b", Answer.OTHER)


def report_server_id() -> Request:
    """Function 17: id and run indicator."""
    return Request(b"\x11", Answer.OTHER)


def read_device_identification(code: int = 1, object_id: int = 0) -> Request:
    """Function 43/14: basic (1), regular (2), extended (3) objects, or one of them (4)."""
    from pymodbus.pdu.mei_message import ReadDeviceInformationRequest

    made = ReadDeviceInformationRequest(read_code=code, object_id=object_id)
    return Request(b"\x2b" + made.encode(), Answer.OTHER)


def decode_server_id(data: bytes) -> tuple[bytes, bool]:
    """Id and whether the device runs, out of `pdu.decode_reply`'s data.

    Raises:
        ReplyMismatch: the byte count lies.
    """
    if len(data) < 2 or data[0] != len(data) - 1:
        raise ReplyMismatch("server id: the byte count does not fit")
    from pymodbus.pdu.other_message import ReportDeviceIdResponse

    reply = ReportDeviceIdResponse()
    reply.decode(data)
    return bytes(reply.identifier), bool(reply.status)


def decode_identification(request: Request, data: bytes) -> Identification:
    """The objects in one reply to `read_device_identification`.

    Raises:
        ReplyMismatch: it answers another question, or its lengths lie.
    """
    if len(data) < 6 or data[:2] != request.pdu[1:3]:
        raise ReplyMismatch("identification: another kind was asked for")
    at = 6
    for _ in range(data[5]):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise ReplyMismatch("identification: an object is cut short")
        at += 2 + data[at + 1]
    if at != len(data):
        raise ReplyMismatch("identification: bytes behind the last object")
    from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

    reply = ReadDeviceInformationResponse()
    reply.decode(data)
    texts = {
        int(number): value.decode("utf-8", "replace")
        for number, value in reply.information.items()
        if isinstance(value, bytes)
    }
    return Identification(texts, data[4] if data[3] == 0xFF else None)
