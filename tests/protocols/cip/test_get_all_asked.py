"""Get Attributes All of an instance whose attributes are partly the user's own objects."""

from cpppod.protocols.cip.epath import Logical, LogicalType
from cpppod.protocols.cip.image import Image
from cpppod.protocols.cip.message_router import REPLY, Service
from cpppod.protocols.cip.objects.attributes import Attribute, CipClass, CipInstance, constant
from cpppod.protocols.cip.request import CallNeeded, Origin, Pending


def asked(data: bytes, status: int = 0, *, twice: bool = False) -> Attribute:
    """An attribute whose reply comes when a call has ended, or a second one."""

    def deferred(service: int, given: bytes | None, origin: Origin) -> Pending:
        reply = bytes((service | REPLY, 0, status, 0)) + data
        last = Pending(CallNeeded(lambda: None, "last"), lambda _: reply)
        return Pending(CallNeeded(lambda: None, "first"), lambda _: last) if twice else last

    return Attribute(lambda: b"", deferred=deferred)


def all_of(*attributes: Attribute) -> bytes:
    """What the service answers once everybody has been asked."""
    instance = CipInstance(dict(enumerate(attributes, 1)))
    found = CipClass(0x66)
    found.add(1, instance)
    path = [Logical(LogicalType.CLASS, 0x66), Logical(LogicalType.INSTANCE, 1)]
    reply = found.serve(Service.GET_ATTRIBUTES_ALL, path, b"", Origin(Image()))
    while isinstance(reply, Pending):
        reply = reply.resume(None)
    return reply


def test_the_bytes_of_those_that_are_asked_stand_in_their_order() -> None:
    reply = all_of(constant(b"a"), asked(b"bc"), constant(b"d"), asked(b"e", twice=True))
    assert reply == b"\x81\0\0\0abcde"


def test_one_that_refuses_refuses_the_whole() -> None:
    assert all_of(constant(b"a"), asked(b"", 8), asked(b"e")) == b"\x81\0\x08\0"
