"""Topics: what a value message is published under, and what a subscriber may ask for.

    boiler/fast/     group `fast` of device `boiler`
    local/plant/     local tags of the listener `plant`
    $/poller-1/      heartbeats of the publisher `poller-1`; `$/feed/` are the feed's own

Every topic ends in a slash, so that a subscription to `boiler/` does not match `boiler2/fast/`:
ZeroMQ compares prefixes byte by byte.
"""

import re

from cpppod.protocols.model.errors import DecodeError, EncodeError

MAX_TOPIC = 96  # bytes: two names of 40, their slashes, and room for a version prefix
MAX_PUBLISHER = 64  # bytes of a worker's name
HEARTBEATS = b"$/"
# Of one subscriber: each takes 3.2 KB of the feed's memory. Who wants more takes everything.
MAX_SUBSCRIPTIONS = 512
LOCAL = "local"

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,39}"
_TOPIC = re.compile(rf"({_NAME})/({_NAME})/".encode())
_PATTERN = re.compile(rf"(\*)|({_NAME})(?:/(?:\*|({_NAME})/?)?)?")
_PREFIX = re.compile(rb"(?:\$/[A-Za-z0-9_.:-]{0,64}/?|[A-Za-z0-9_/]{0,82})")


def topic(device: str, group: str) -> bytes:
    """The topic of a device's group."""
    return f"{device}/{group}/".encode("ascii")


def heartbeat_topic(publisher: str) -> bytes:
    """The topic of a publisher's heartbeats."""
    return f"$/{publisher}/".encode("ascii")


def split(topic: bytes) -> tuple[str, str]:
    """Device and group of a value's topic.

    Raises:
        DecodeError: not `<device>/<group>/`.
    """
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise DecodeError(f"topic {topic[:MAX_TOPIC]!r}", status=0)
    return match[1].decode(), match[2].decode()


def prefix(pattern: str) -> bytes:
    """What to subscribe to for a person's pattern: `*`, `boiler`, `boiler/*` or `boiler/fast`.

    Raises:
        EncodeError: nothing that ZeroMQ's prefixes can say.
    """
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise EncodeError(
            f"pattern {pattern!r}: expected *, device, device/* or device/group", status=0
        )
    everything, device, group = match.groups()
    if everything:
        return b""
    return topic(device, group) if group else f"{device}/".encode("ascii")


def is_prefix(prefix: bytes) -> bool:
    """Whether some topic could begin with `prefix`; a peer's subscription must."""
    return len(prefix) <= MAX_TOPIC and _PREFIX.fullmatch(prefix) is not None


def matches(topic: bytes, prefixes: tuple[bytes, ...]) -> bool:
    """Whether a subscriber to `prefixes` gets what is published under `topic`."""
    return topic.startswith(prefixes)
