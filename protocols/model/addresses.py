"""`host:port` as people write it: read here for every setting, command and program.

    10.0.0.5:502   plc.example:502   [::1]:502    host and port
    10.0.0.5       plc.example       ::1  [::1]   the port is the default one
    :502                                          the host is the default one

An IPv6 address beside a port stands in brackets. Nothing is looked up.
"""

import ipaddress
import re
from typing import NamedTuple

MAX_PORT = 65_535
ANY = ("0.0.0.0", "::")  # to listen on: every address of this machine, of IPv4 or of IPv6
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(.*))?")
_DIGITS = re.compile(r"[\d.]+")


class AddressError(ValueError):
    """A text that is no address; the message says what is expected."""


class SocketAddress(NamedTuple):
    """A host (a name, or an IP address without brackets; "" for any) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def socket_address(
    text: str, *, host: str | None = None, port: int | None = None, any_port: bool = False
) -> SocketAddress:
    """The address in `text`.

    Args:
        host, port: what stands for one that is left out; None where it must be there.
        any_port: whether 0 is a port: to listen on one that is free.

    Raises:
        AddressError: it is none.
    """
    found, number = _split(text.strip())
    if not found and host is None:
        raise AddressError(f"{text!r}: no host; expected host:port")
    if found and not _is_host(found):
        raise AddressError(f"{text!r}: {found!r} is no host; expected host:port")
    if not number and port is not None:
        return SocketAddress(found or host or "", port)
    if not (number.isascii() and number.isdigit() and len(number) <= len(str(MAX_PORT))):
        raise AddressError(f"{text!r}: expected host:port")
    if not (0 if any_port else 1) <= int(number) <= MAX_PORT:
        raise AddressError(f"{text!r}: port {number}; expected host:port, port 1 to {MAX_PORT}")
    return SocketAddress(found or host or "", int(number))


def listen_address(text: str, *, any_port: bool = False) -> SocketAddress:
    """An address to listen on: IPv4 or IPv6, `localhost` (127.0.0.1), or no host for any IPv4.

    A name is none: what it means can change.

    Raises:
        AddressError: it is another.
    """
    found = socket_address(text, host="", any_port=any_port)
    if found.host.lower() == "localhost":
        return found._replace(host="127.0.0.1")
    try:
        if found.host:
            ipaddress.ip_address(found.host)
    except ValueError:
        raise AddressError(f"{text!r}: expected an IP address and a port") from None
    return found


def is_loopback(address: str) -> bool:
    """Whether a host, or `host:port`, is this machine, and reached from nowhere else."""
    try:
        host = socket_address(address, port=0, any_port=True).host
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str) -> tuple[str, str]:
    """Host and port as they stand there, each "" where it does not."""
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed:
        address, port = bracketed[1], bracketed[2] or ""
        if ":" not in address:
            raise AddressError(f"{text!r}: brackets are for IPv6; expected host:port")
        return address, port
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _is_host(host: str) -> bool:
    if ":" not in host and not _DIGITS.fullmatch(host):
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
