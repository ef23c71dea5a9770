"""The Message Router (0x02) and Assembly (0x04) objects, whose attributes are tags."""

from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance
from cpppod.protocols.cip.objects.spec import Controller, ObjectSpec

MESSAGE_ROUTER_CLASS = 0x02
ASSEMBLY_CLASS = 0x04


def _message_router(controller: Controller) -> CipClass:
    found = CipClass(MESSAGE_ROUTER_CLASS)
    found.add(1, CipInstance())
    return found


OBJECTS = (
    ObjectSpec(ASSEMBLY_CLASS, lambda controller: CipClass(ASSEMBLY_CLASS)),
    ObjectSpec(MESSAGE_ROUTER_CLASS, _message_router),
)
