"""Stores by their URL: `sqlite:///var/lib/cpppod/history`, a folder's path, `postgresql://...`."""

from pathlib import Path
from typing import Any

from cpppod.workers.historian.stores.store import Store, StoreError, StoreReader

POSTGRESQL = ("postgresql://", "postgres://")


def store_url(options: dict[str, Any], state_dir: str) -> str:
    """The URL of the store that a historian's options name."""
    if options.get("store") == "postgresql" or options.get("dsn"):
        dsn = str(options.get("dsn", ""))
        return dsn if dsn.startswith(POSTGRESQL) else f"postgresql:///?{_as_query(dsn)}"
    return str(options.get("path") or Path(state_dir) / "history")


def _as_query(dsn: str) -> str:
    """`host=db dbname=plant` as a URL's query; what is quoted in there must come as a URL."""
    return "&".join(dsn.split())


def sqlite_folder(url: str) -> Path:
    """The folder of a SQLite store's URL.

    Raises:
        StoreError: a URL of something else.
    """
    if url.startswith("sqlite://"):
        return Path(url.removeprefix("sqlite://") or ".")
    if "://" in url:
        raise StoreError(f"{url}: no store; expected a folder, sqlite:///folder or postgresql://")
    return Path(url)


def open_store(url: str, options: dict[str, Any]) -> Store:
    """The store of a URL, not yet opened; limits are the options that begin like theirs.

    Raises:
        StoreError: no such kind of store, or what it needs is not installed.
    """
    if url.startswith(POSTGRESQL):
        from cpppod.workers.historian.stores.postgresql.store import (
            PostgresqlLimits,
            PostgresqlStore,
        )

        return PostgresqlStore(url, PostgresqlLimits(options.get("retention_s", 0.0)))
    from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore

    names = {"bytes": "bytes", "free_bytes": "free_bytes", "roll_up": "roll_up"}
    names |= {"retention_s": "retention_s", "minutes_retention_s": "minutes_retention_s"}
    limits = {names[name]: value for name, value in options.items() if name in names}
    return SqliteStore(sqlite_folder(url), SqliteLimits(**limits))


def open_reader(url: str) -> StoreReader:
    """A reader of the store at a URL.

    Raises:
        StoreError: there is none, or it cannot be reached.
    """
    if url.startswith(POSTGRESQL):
        from cpppod.workers.historian.stores.postgresql.reader import PostgresqlReader

        return PostgresqlReader(url)
    from cpppod.workers.historian.stores.sqlite.reader import SqliteReader

    return SqliteReader(sqlite_folder(url))
