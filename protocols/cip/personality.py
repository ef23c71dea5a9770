"""Personalities: which controller a target passes for, and what such a one refuses.

Source: catalogue numbers as Rockwell publishes them; what clients ask of each as observed.
"""

from dataclasses import dataclass

from cpppod.protocols.cip.objects.identity import Identity
from cpppod.protocols.model.errors import EncodeError


@dataclass(frozen=True, slots=True)
class Personality:
    """What a kind of controller can do.

    Attributes:
        routes: whether it takes Unconnected Sends; others are simple devices.
        packets: whether it takes Multiple Service Packets.
        browsing: whether its tags and templates can be listed.
        logix: whether it has the program name, wall clock and controller objects.
        connected: whether it opens class 3 connections.
        symbols: whether it has named tags at all.
        short_strings: whether its STRING is CIP's SHORT_STRING (0xDA), and no structure.
        pccc: catalogue number told in PCCC diagnostics; "" for no PCCC.
    """

    name: str
    identity: Identity
    routes: bool = True
    packets: bool = True
    browsing: bool = True
    logix: bool = True
    connected: bool = True
    symbols: bool = True
    pccc: str = ""
    short_strings: bool = False


def _identity(name: str, code: int, major: int, minor: int, *, kind: int = 14) -> Identity:
    return Identity(
        device_type=kind, product_code=code, revision=major | minor << 8, product_name=name
    )


PERSONALITIES: dict[str, Personality] = {
    item.name: item
    for item in (
        Personality("controllogix", Identity(), pccc="1756-L61  "),
        Personality(
            "compactlogix", _identity("1769-L33ER/A LOGIX5333ER", 168, 32, 11), pccc="1769-L33ER"
        ),
        Personality(
            "micro800",
            _identity("2080-LC50-24QWB", 169, 12, 11),
            packets=False,
            logix=False,
            short_strings=True,
        ),
        Personality(
            "micrologix",
            _identity("1763-L16BWA  B/14.00", 185, 2, 14),
            routes=False,
            packets=False,
            browsing=False,
            logix=False,
            symbols=False,
            pccc="1763-L16BWA",
        ),
        Personality(
            "slc500",
            _identity("1747-L552/C C/13 - DC 3.54", 23, 3, 54),
            routes=False,
            packets=False,
            browsing=False,
            logix=False,
            symbols=False,
            pccc="1747-L552/C",
        ),
        Personality(
            "plc5",
            _identity("1785-L40E/F", 16, 1, 10),
            routes=False,
            packets=False,
            browsing=False,
            logix=False,
            symbols=False,
            pccc="1785-L40E/F",
        ),
        Personality(
            "simple",
            _identity("Simple CIP device", 1, 1, 1, kind=12),
            routes=False,
            packets=False,
            browsing=False,
            logix=False,
        ),
    )
}


def personality(name: str) -> Personality:
    """The personality of that name.

    Raises:
        EncodeError: there is no personality of that name.
    """
    found = PERSONALITIES.get(name.strip().lower())
    if found is None:
        raise EncodeError(
            f"unknown controller {name!r}; one of {', '.join(PERSONALITIES)}", status=0
        )
    return found
