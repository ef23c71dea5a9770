"""The feed's access to TCP: whose keys may come in, how many, and what each may ask for.

    secret key file    one line: the feed's CURVE secret key, Z85; readable by its owner alone
    client keys file   one client a line: its public key, Z85, and a name; # begins a comment

Without a secret key (loopback only) everybody who can connect is welcome, within the limits.
"""

import os
import stat
from collections import OrderedDict
from pathlib import Path

from cpppod.protocols.bus.topics import MAX_SUBSCRIPTIONS, is_prefix
from cpppod.workers.bus.zeromq import BusError, curve_public_key

MAX_PEERS = 64  # connections to each of the two TCP sockets: dashboards, scripts, a few gateways
MAX_FRAME = 16_384  # bytes: the longest request; subscriptions and handshakes are far below
REQUESTS_A_S = 20.0  # of one connection, after a burst of ...
BURST = 100.0  # ... so many: the pages of a full replay ring
MAX_KNOWN = 1_000  # connections whose rate is remembered
KEY_LENGTH = 40


class KeyFileError(Exception):
    """A key file cannot be used; the text says which, and why."""


def read_secret_key(path: str | os.PathLike[str]) -> bytes:
    """The secret key in a file of its own.

    Raises:
        KeyFileError: not there, not a key, or readable by others than its owner.
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"secret key {path}: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"secret key {path}: mode {mode:04o}; others may read it: chmod 600")
    key = text.encode()
    try:
        curve_public_key(key)
    except BusError as error:
        raise KeyFileError(f"secret key {path}: {error}") from None
    return key


def read_client_keys(path: str | os.PathLike[str]) -> dict[str, str]:
    """Public key -> name of each client that may come in; names default to the line's number.

    Raises:
        KeyFileError: not there, or a line without a key.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"client keys {path}: {error}") from None
    keys = {}
    for number, line in enumerate(lines, 1):
        key, _, name = line.strip().partition(" ")
        if not key or key.startswith("#"):
            continue
        if len(key) != KEY_LENGTH or not key.isascii():
            raise KeyFileError(f"client keys {path}:{number}: expected 40 characters of Z85")
        keys[key] = name.strip() or f"line {number}"
    return keys


class FeedAccess:
    """One TCP socket's peers; satisfies `workers.bus.access.AccessPolicy`.

    Attributes:
        clients: public key -> name.
        turned_away: reason -> how often; each reason is a constant text.
    """

    largest = MAX_FRAME

    def __init__(self, secret_key: bytes = b"", clients: dict[str, str] | None = None) -> None:
        self.secret_key = secret_key
        self.clients = clients or {}
        self.turned_away: dict[str, int] = {}
        self._subscriptions: dict[int, int] = {}

    @property
    def peers(self) -> int:
        """Connections that are open."""
        return len(self._subscriptions)

    def user(self, public_key: bytes) -> str:
        """The client's name, "" for a key that is not listed."""
        return self.clients.get(public_key.decode("ascii", "replace"), "")

    def opened(self, peer: int) -> bool:
        """Whether there is room for one more."""
        if len(self._subscriptions) >= MAX_PEERS:
            return self._turn_away("too many connections")
        self._subscriptions[peer] = 0
        return True

    def closed(self, peer: int) -> None:
        """The connection is gone."""
        self._subscriptions.pop(peer, None)

    def refused(self, why: str) -> None:
        """A peer did not get through the handshake."""
        self._turn_away(why)

    def may_subscribe(self, peer: int, prefix: bytes) -> bool:
        """Whether a topic can begin so, and the peer has not too many already."""
        if not is_prefix(prefix):
            return self._turn_away("prefix that no topic has")
        count = self._subscriptions.get(peer, 0) + 1
        if count > MAX_SUBSCRIPTIONS:
            return self._turn_away("too many subscriptions")
        self._subscriptions[peer] = count
        return True

    def unsubscribed(self, peer: int, prefix: bytes) -> None:
        """One less."""
        if self._subscriptions.get(peer, 0) > 0:
            self._subscriptions[peer] -= 1

    def _turn_away(self, why: str) -> bool:
        self.turned_away[why] = self.turned_away.get(why, 0) + 1
        return False


class RequestRate:
    """How often each connection may ask; a peer is its routing id."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def allows(self, peer: bytes, now: float) -> bool:
        """Whether the peer may ask again; counts this request if so."""
        tokens, since = self._known.pop(peer, (BURST, now))
        tokens = min(BURST, tokens + (now - since) * REQUESTS_A_S)
        allowed = tokens >= 1.0
        self._known[peer] = (tokens - allowed, now)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return allowed
