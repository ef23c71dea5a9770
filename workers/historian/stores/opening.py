"""Stores by their URL: `sqlite:///var/lib/cpppod/history`, a folder's path, `postgresql://...`."""

from cpppod.workers.historian.stores.spec import STORES, Options, StoreSpec
from cpppod.workers.historian.stores.store import Store, StoreError, StoreReader, Writer


def chosen_store(options: Options) -> StoreSpec:
    """The kind of store that a historian's options name.

    Raises:
        StoreError: no store has that name.
    """
    for spec in STORES.ours():
        if spec.chosen_by and options.get(spec.chosen_by):
            return spec
    name = str(options.get("store", "sqlite"))
    found = STORES.find(name)
    if found is None:
        raise StoreError(STORES.failures.get(name, f"no store is called {name}"))
    return found


def store_url(options: Options, state_dir: str) -> str:
    """The URL of the store that a historian's options name.

    Raises:
        StoreError: no store has that name.
    """
    return chosen_store(options).url(options, state_dir)


def store_at(url: str) -> StoreSpec:
    """The kind of the store at a URL.

    Raises:
        StoreError: no such kind of store, or what it needs is not installed.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme if separator else ""
    for spec in STORES:
        if scheme in spec.schemes:
            if missing := spec.missing():
                raise StoreError(f"{spec.name} needs {missing}")
            return spec
    raise StoreError(f"{url}: no store; expected {store_examples()}")


def store_examples() -> str:
    """How the places of stores are written, for help texts and errors."""
    *first, last = [spec.example for spec in STORES]
    return f"{', '.join(first)}, or {last}"


def open_store(url: str, options: Options, gateway: str = "", instance: str = "") -> Store:
    """The store of a URL, not yet opened; its limits are among the options.

    Args:
        gateway: who writes; "" for what is of no gateway, as an import is.
        instance: tells a living gateway from a copy of it (`workers.identity`).

    Raises:
        StoreError: no such kind of store, or what it needs is not installed.
    """
    return store_at(url).open(url, options, Writer(gateway, instance))


def open_reader(url: str, gateway: str | None = None) -> StoreReader:
    """A reader of the store at a URL.

    Args:
        gateway: who asks, and gets its own history and that which it adopted; None: all.

    Raises:
        StoreError: there is no such store, or it cannot be reached.
    """
    return store_at(url).read(url, gateway)
