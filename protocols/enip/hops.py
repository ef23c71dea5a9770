"""Hops: how many gateways of ours a request has passed, so that routes in a circle end at once.

    RegisterSession, sender context   `cpppod\\0\\0`          who registers so, may say hops
    a relayed request's               UDINT    UINT    USINT  USINT
                                      number   place   hops   FE

A request loses a segment of its route path at each gateway, but a device with a `route_path` gives
it others: two such gateways that route to each other would hand it on until its time is over.
"""

REGISTER_CONTEXT = b"cpppod\0\0"
MARK = 0xFE
MAX_HOPS = 8  # gateways in a row: plants have two or three


def hops_of(context: bytes) -> int:
    """The hops in the sender context of a request; only where its session registered so."""
    return context[6] if context[7] == MARK else 0
