"""The manifest of the SQLite store: a folder of files, the one that needs nothing installed."""

from pathlib import Path

from cpppod.workers.historian.stores.spec import Options, StoreSpec
from cpppod.workers.historian.stores.store import Store, StoreReader, Writer

LIMITS = ("retention_s", "minutes_retention_s", "bytes", "free_bytes", "roll_up")


def _url(options: Options, state_dir: str) -> str:
    return str(options.get("path") or Path(state_dir) / "history")


def _folder(url: str) -> Path:
    return Path(url.removeprefix("sqlite://") or ".")


def _open(url: str, options: Options, writer: Writer) -> Store:
    from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore

    limits = {name: options[name] for name in LIMITS if name in options}
    return SqliteStore(_folder(url), SqliteLimits(**limits), gateway=writer.gateway)


def _read(url: str, gateway: str | None) -> StoreReader:
    from cpppod.workers.historian.stores.sqlite.reader import SqliteReader

    return SqliteReader(_folder(url), gateway)


SPEC = StoreSpec(
    name="sqlite",
    schemes=("sqlite", ""),
    example="a store's folder",
    settings="cpppod.workers.historian.stores.sqlite.settings:SqliteSettings",
    url=_url,
    open=_open,
    read=_read,
    mends=True,
)
