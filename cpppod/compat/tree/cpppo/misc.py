"""Small helpers: sorting, scaling, hex dumps, addresses, log levels."""

import ast
import functools
import ipaddress
import logging
import math
import re
import reprlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

NORMAL, DETAIL, TRACE = logging.INFO + 5, logging.INFO + 3, logging.NOTSET + 5
_Made = TypeVar("_Made", bound=Callable[..., Any])

timer = time.time
nan, inf, isnan, isinf = math.nan, math.inf, math.isnan, math.isinf
unicode = str
type_str_base = str
type_bytes_iter, type_bytes_array_symbol = int, "B"
type_str_iter, type_str_array_symbol = str, "u"
type_unicode_array_symbol = "u"

_ROW = re.compile(
    r"\s*(?P<address>[0-9A-Fa-f]{1,16}):\s*(?P<values>(?:\s{0,2}[0-9A-Fa-f]{2})+)(?:\s+.*)?$"
)


def _add_levels() -> None:
    """Give `logging` the levels NORMAL, DETAIL and TRACE, with functions and methods."""
    for number, name in ((NORMAL, "NORMAL"), (DETAIL, "DETAIL"), (TRACE, "TRACE")):
        logging.addLevelName(number, name)
        setattr(logging, name, number)
        word = name.lower()

        def method(self: Any, *args: Any, _level: int = number, **keywords: Any) -> None:
            keywords["stacklevel"] = keywords.get("stacklevel", 1) + 1
            self.log(_level, *args, **keywords)

        def function(*args: Any, _level: int = number, **keywords: Any) -> None:
            keywords["stacklevel"] = keywords.get("stacklevel", 1) + 1
            logging.log(_level, *args, **keywords)

        setattr(logging.Logger, word, method)
        setattr(logging, word, function)


_add_levels()


def mutexmethod(mutex: str = "lock", blocking: bool = True) -> Callable[[_Made], Any]:
    """A decorator: hold the lock that the instance or class has under `mutex` meanwhile."""

    def decorate(method: _Made) -> Any:
        @functools.wraps(method)
        def locked(owner: Any, *args: Any, **keywords: Any) -> Any:
            lock: threading.Lock = getattr(owner, mutex)
            if not lock.acquire(blocking):
                raise AssertionError("Lock is held")
            try:
                return method(owner, *args, **keywords)
            finally:
                lock.release()

        return locked

    return decorate


def change_function(function: Any, **attributes: Any) -> None:
    """Replace attributes of a function's code: `co_filename` and the like."""
    function.__code__ = function.__code__.replace(**attributes)


def function_name(function: Any) -> str:
    """`module.name` of a function."""
    return f"{function.__module__}.{function.__name__}"


def near(a: float, b: float, significance: float = 1.0e-4) -> bool:
    """Whether two numbers differ by no more than a share of the larger."""
    return abs(a - b) <= significance * max(abs(a), abs(b))


def clamp(val: float, lim: tuple[float, float]) -> float:
    """`val`, or the limit that it exceeds; a limit of NaN is none."""
    low, high = lim
    if val < low:
        return low
    return high if val > high else val


def scale(
    val: float,
    dom: tuple[float, float],
    rng: tuple[float, float],
    clamped: bool = False,
    exponent: float = 1,
) -> float:
    """`val` of the domain `dom` as a value of the range `rng`, along a power where asked for."""
    assert dom[0] != dom[1], f"Scaling {val} needs a domain that is no point: {dom}"
    if exponent != 1:
        assert dom[0] < dom[1], f"Scaling {val} along a power needs an ordered domain: {dom}"
        val = clamp(val, dom) if clamped else val
        assert dom[0] <= val <= dom[1], f"{val} is outside the domain {dom}"
    share = (val - dom[0]) ** exponent / (dom[1] - dom[0]) ** exponent
    result = rng[0] + share * (rng[1] - rng[0])
    return clamp(result, (min(rng), max(rng))) if clamped else result


def magnitude(val: float, base: float = 10) -> float:
    """The step that suits a value: the power of `base` below its own; NaN up to 0."""
    return nan if val <= 0 else base ** (round(math.log(val, base)) - 1)


def exponential_moving_average(current: float | None, sample: float, weight: float) -> float:
    """The average with a new sample in it; the first sample is the average."""
    return sample if current is None else current + weight * (sample - current)


def reprargs(*args: Any, **keywords: Any) -> str:
    """Arguments as a call shows them, shortened."""
    shown = [reprlib.repr(item) for item in args]
    return ", ".join(shown + [f"{name}={reprlib.repr(item)}" for name, item in keywords.items()])


def logresult(
    prefix: str | None = None,
    log: logging.Logger | None = None,
    log_level: int = logging.DEBUG,
    exc_level: int = logging.WARNING,
    exc_swallow: bool = False,
) -> Callable[[_Made], Any]:
    """A decorator that logs what a function returns or raises."""
    to = log or logging.getLogger()

    def decorate(function: _Made) -> Any:
        @functools.wraps(function)
        def logged(*args: Any, **keywords: Any) -> Any:
            what = prefix or lazystr(lambda: f"{function.__name__}({reprargs(*args, **keywords)})")
            try:
                result = function(*args, **keywords)
            except Exception as error:
                to.log(exc_level, "%s-->%r", what, error)
                if exc_swallow and not isinstance(error, StopIteration):
                    return None
                raise
            to.log(log_level, "%s-->%r", what, result)
            return result

        return logged

    return decorate


class lazystr:
    """A text that is made when it is shown."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], str]) -> None:
        self._function = function

    def __str__(self) -> str:
        return self._function()


def natural(string: Any, fmt: str = "%9s") -> tuple[Any, ...]:
    """A key that sorts texts with numbers in them by the numbers' values."""
    text = str(string) if type(string) in (int, float) else string
    if not isinstance(text, str):
        number = id(text) if type(text).__hash__ is None else hash(text)
        return ("", type(text).__name__, fmt % number)
    parts: list[Any] = re.findall(r"\d+|\D", text)
    return tuple(fmt % int(part) if part.isdigit() else part.lower() for part in parts)


def non_value(number: float | None) -> bool:
    """Whether it is None or NaN."""
    return number is None or isnan(number)


def nan_first(number: float | None) -> float:
    """A key that sorts None and NaN before every number."""
    return -inf if number is None or isnan(number) else number


def nan_last(number: float | None) -> float:
    """A key that sorts None and NaN after every number."""
    return inf if number is None or isnan(number) else number


def centeraxis(
    string: Any,
    width: int,
    axis: str = ".",
    fillchar: str = " ",
    reverse: bool = False,
    clip: bool = False,
    left_right: Callable[[int], tuple[int, int]] = lambda width: (width // 2, width - width // 2),
) -> str:
    """`string` in a field, its last axis character (`reverse`: the first) in the middle."""
    text = str(string)
    at = text.find(axis) if reverse else text.rfind(axis)
    if at < 0:
        at, text = (len(text), text) if reverse else (0, fillchar + text)
    left, right = text[:at], text[at:]
    left_width, right_width = left_right(width)
    left, right = left.rjust(left_width, fillchar), right.ljust(right_width, fillchar)
    return left[-left_width:] + right[:right_width] if clip else left + right


def assert_tps(
    minimum: float | None = None, scale: float | str | None = None, repeat: int = 1
) -> Callable[[_Made], Any]:
    """A decorator: call `repeat` times, log the calls a second, and insist on `minimum` of them.

    `scale` is how many operations a call is: a number, or the name of a keyword that tells it.
    """

    def decorate(function: _Made) -> Any:
        @functools.wraps(function)
        def measured(*args: Any, **keywords: Any) -> Any:
            begun = timer()
            for _ in range(repeat):
                result = function(*args, **keywords)
            each = max(timer() - begun, 1e-9) / repeat
            operations = keywords[scale] if isinstance(scale, str) else scale or 1
            rate = operations / each
            name = function_name(function)
            logging.warning("Performance: %7.3f TPS (%d x %s)", rate, repeat * operations, name)
            assert minimum is None or rate >= minimum, f"{name}: {rate:.3f} TPS below {minimum}"
            return result

        return measured

    return decorate


def hexdumper(
    src: Any, offset: int = 0, length: int = 16, sep: str = ".", quote: str = "|"
) -> Iterator[str]:
    """The rows of a hex dump: address, bytes with a gap in the middle, text."""
    octets = src.encode("latin-1") if isinstance(src, str) else bytes(src)
    for start in range(0, len(octets), length):
        row = octets[start : start + length]
        half = length // 2
        halves = (row[:half], row[half:]) if length % 2 == 0 else (row, b"")
        shown = "  ".join(part.hex(" ") for part in halves if part)
        text = "".join(chr(octet) if 0x20 <= octet < 0x7F else sep for octet in row)
        mark = quote or ""
        yield f"{start + offset:08X}:  {shown:<{3 * length + 1}}  {mark}{text}{mark}"


def hexdump(src: Any, offset: int = 0, length: int = 16, sep: str = ".", quote: str = "|") -> str:
    """A hex dump as one text."""
    return "\n".join(hexdumper(src, offset, length, sep, quote))


def hexdump_differs(*dumps: str, inclusive: bool = False) -> str:
    """Hex dumps side by side: the rows that differ, or all."""
    rows = []
    for columns in zip(*(dump.split("\n") for dump in dumps), strict=False):
        same = len(set(columns)) == 1
        if inclusive or not same:
            rows.append((" == " if same else " != ").join(columns))
    return "\n".join(rows)


def hexdecode(enc: str, offset: int = 0, sep: str = ":") -> bytes:
    """The bytes of `ab:cd:ef`, from the one at `offset` on."""
    return bytes.fromhex(enc.replace(sep, ""))[offset:]


def hexloader(
    dump: str | Iterable[str], offset: int = 0, fill: bytes | bool = False, skip: bool = False
) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of each row of a dump, from the address `offset` on.

    Args:
        fill: one byte that takes the place of those that are missing.
        skip: pass over rows that are none; else they raise AssertionError.
    """
    filler = fill if isinstance(fill, bytes) else b""
    assert len(filler) <= 1, f"fill is one byte, not {fill!r}"
    for row in dump.split("\n") if isinstance(dump, str) else dump:
        found = _ROW.match(row)
        if found is None:
            assert skip or not row.strip(), f"Failed to match a hex dump on row: {row!r}"
            continue
        address = int(found["address"], 16)
        octets = bytes.fromhex("".join(found["values"].split()))
        if address > offset and filler:
            yield offset, filler * (address - offset)
        missing = max(0, offset - address)
        octets, address = octets[missing:], address + missing
        if octets:
            yield address, octets
            offset = address + len(octets)
        else:
            offset = max(offset, address)


def hexload(
    dump: str | Iterable[str], offset: int = 0, fill: bytes | bool = False, skip: bool = False
) -> bytes:
    """The bytes of a hex dump; see `hexloader`."""
    return b"".join(octets for _, octets in hexloader(dump, offset, fill, skip))


def ip(a: Any) -> Any:
    """An IP address."""
    return ipaddress.ip_address(str(a))


def network(a: Any) -> Any:
    """An IP network."""
    return ipaddress.ip_network(str(a))


def parse_ip_port(netloc: Any, default: tuple[Any, int | None] = (None, None)) -> tuple[Any, Any]:
    """(address or name, port) of `host:port`, `[v6]:port`, `("host", port)` ...

    What is not given is taken from `default`. Addresses are `ipaddress` objects; a name that comes
    with a port is in lower case.

    Raises:
        AssertionError: there is no host, and no default.
    """
    host, port = _pair(netloc) if not isinstance(netloc, str) else _host_and_port(netloc)
    if not host and default[0] is not None:
        host = default[0]
    assert host is not None, f"No IP/hostname found in {netloc!r}"
    port = default[1] if port is None else port
    return host, None if port is None else int(port)


def _pair(netloc: Any) -> tuple[Any, int | None]:
    host, port = netloc
    return _address(host), port


def _host_and_port(text: str) -> tuple[Any, int | None]:
    if text.startswith("("):
        return _pair(ast.literal_eval(text))
    found = _address(text)
    if not isinstance(found, str):
        return found, None
    head, colon, tail = text.rpartition(":")
    if not colon or not tail.isdigit():
        return text, None
    return _address(head.strip("[]").lower()), int(tail)


def _address(text: Any) -> Any:
    try:
        return ip(text)
    except ValueError:
        return text
