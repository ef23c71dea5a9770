"""Subjects of a fleet; every name is one token: letters, digits, `_` and `-`.

cpppod.v1.live.<site>.<gateway>.<device>.<group>        every block, as on the feed
cpppod.v1.h.<site>.<gateway>.<worker>.<device>.<group>  blocks; with `-.-`: gaps
cpppod.v1.ask.<site>.<gateway>.<verb>                   requests
stream H_<site>                                         what holds the history of a site
"""

from cpppod.protocols.model.errors import DecodeError

PREFIX = "cpppod.v1"
LEASES, TOLD = "cpppod_lease", "cpppod_told"  # key-value buckets: who lives; what it is
NONE = "-"  # a device or group of which there is none


def live(site: str, gateway: str, device: str, group: str) -> str:
    """Where a block goes that nobody keeps."""
    return f"{PREFIX}.live.{site}.{gateway}.{device}.{group}"


def history(site: str, gateway: str, worker: str, device: str = "", group: str = "") -> str:
    """Where a block of the history goes; without a group, a gap."""
    return f"{PREFIX}.h.{site}.{gateway}.{worker}.{device or NONE}.{group or NONE}"


def of_worker(site: str, gateway: str, worker: str) -> str:
    """All of one worker's history."""
    return f"{PREFIX}.h.{site}.{gateway}.{worker}.>"


def of_site(site: str) -> str:
    """All history of a site."""
    return f"{PREFIX}.h.{site}.>"


def ask(site: str, gateway: str, verb: str) -> str:
    """Where a gateway is asked."""
    return f"{PREFIX}.ask.{site}.{gateway}.{verb}"


def stream(site: str) -> str:
    """The stream that holds a site's history."""
    return f"H_{site}"


def worker_of(subject: str) -> tuple[str, str]:
    """The gateway's name and the worker of a subject of the history.

    Raises:
        DecodeError: it is none.
    """
    tokens = subject.split(".")
    if len(tokens) != 8 or tokens[:3] != [*PREFIX.split("."), "h"]:
        raise DecodeError(f"subject {subject[:100]!r}", status=0)
    return tokens[4], tokens[5]
