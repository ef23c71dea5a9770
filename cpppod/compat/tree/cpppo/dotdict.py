"""Dotted data, and `apidict`: values that are handed over to another thread or process."""

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import managers
from typing import Any

from cpppod.protocols.automata.dotdict import dotdict as _dotdict
from cpppod.protocols.automata.dotdict import leading

__all__ = ["apidict", "apidict_threading", "dotdict", "make_apidict_proxy"]


class dotdict(_dotdict):
    """cpppod's, with the lists and names that cpppo's has besides; plain dicts become its own."""

    __slots__ = ()

    def _layer(self, *sources: Any) -> "dotdict":
        return dotdict(*sources)

    def _resolve(self, key: str) -> tuple[str, str | None]:
        """(the first name on the way, the rest of it)."""
        return leading(key)

    def __dir__(self) -> Iterable[str]:
        magic = [name for name in dir(type(self)) if name.startswith("__")]
        return [*magic, *dict.keys(self)]

    def items(self, depth: int | None = None) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """(path, value) of every leaf; indexes of a list are as wide as its last one."""
        for path, value in super().items(depth):
            yield _aligned(self, path) if "[" in path else path, value

    def keys(self, depth: int | None = None) -> Iterator[str]:  # type: ignore[override]
        """The path of every leaf."""
        return (path for path, _ in self.items(depth))

    def __delattr__(self, name: str) -> None:
        raise AttributeError(name)  # as cpppo: entries are deleted by index

    def iteritems(self, depth: int | None = None) -> Iterator[tuple[str, Any]]:
        """`items`."""
        return self.items(depth)

    def iterkeys(self, depth: int | None = None) -> Iterator[str]:
        """`keys`."""
        return self.keys(depth)

    def itervalues(self, depth: int | None = None) -> Iterator[Any]:
        """`values`."""
        return self.values(depth)

    def listitems(self, depth: int | None = None) -> list[tuple[str, Any]]:
        """`items` as a list."""
        return list(self.items(depth))

    def listkeys(self, depth: int | None = None) -> list[str]:
        """`keys` as a list."""
        return list(self.keys(depth))

    def listvalues(self, depth: int | None = None) -> list[Any]:
        """`values` as a list."""
        return list(self.values(depth))


def _aligned(data: dotdict, path: str) -> str:
    parts = path.split("[")
    made = parts[0]
    for part in parts[1:]:
        index, rest = part.split("]", 1)
        width = len(str(len(data[made]) - 1))
        made = f"{made}[{index:>{width}}]{rest}"
    return made


class apidict(dotdict):
    """A dotdict whose setting of an attribute (or `set`) waits until another has got one.

    Setting and getting by index neither waits nor wakes.

    Args:
        timeout: seconds to wait at most; or another apidict, to copy it.
    """

    __slots__ = ("_cnd", "_lck", "_tmo")
    _sync: Any = multiprocessing

    def __init__(self, timeout: Any, *sources: Any, **named: Any) -> None:
        if isinstance(timeout, apidict):
            sources, timeout = (dict(dict.items(timeout)),), timeout._tmo
        assert isinstance(timeout, int | float), "an apidict needs a timeout, or an apidict"
        lock = self._sync.RLock()
        for name, held in (("_lck", lock), ("_cnd", self._sync.Condition(lock)), ("_tmo", timeout)):
            object.__setattr__(self, name, held)
        super().__init__(*sources, **named)

    def __setitem__(self, key: str, value: Any) -> None:
        with self._cnd:
            super().__setitem__(key, value)

    def __getitem__(self, key: str) -> Any:
        with self._cnd:
            return super().__getitem__(key)

    def _handed(self, change: Callable[[], Any]) -> Any:
        with self._cnd:
            result = change()
            self._cnd.wait(self._tmo)
            return result

    def __setattr__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def set(self, key: str, value: Any) -> None:
        """Set, and wait until another gets something."""
        self._handed(lambda: self.__setitem__(key, value))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As `set` where there is no value; it waits in any case."""
        return self._handed(lambda: dotdict.setdefault(self, key, default))

    def __getattr__(self, key: str) -> Any:
        with self._cnd:
            self._cnd.notify_all()
            return super().__getattr__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value at `key`; whoever waits goes on."""
        with self._cnd:
            self._cnd.notify_all()
            return super().get(key, default)

    def __reduce__(self) -> Any:
        return type(self), (self._tmo, dict(dict.items(self)))


class apidict_threading(apidict):
    """An apidict for threads only."""

    __slots__ = ()
    _sync = threading


_PROXIED = (
    *("__contains__", "__delitem__", "__dir__", "__getitem__", "__iter__", "__len__"),
    *("__setitem__", "clear", "copy", "get", "listitems", "listkeys", "listvalues", "pop"),
    *("popitem", "set", "setdefault", "update"),
)


def make_apidict_proxy(apidict_class: type[apidict]) -> tuple[str, type[apidict], Any]:
    """What `Manager.register` takes, for an apidict that lives in a manager's process."""
    name = apidict_class.__name__
    proxy: Any = managers.MakeProxyType(name, _PROXIED)  # type: ignore[attr-defined]
    proxy._method_to_typeid_ = {"__iter__": "Iterator"}
    return name, apidict_class, proxy


managers.SyncManager.register(*make_apidict_proxy(apidict))
