"""The manifest of the PostgreSQL store: a row per sample, which other programs query."""

from cpppod.workers.historian.stores.spec import Options, StoreSpec
from cpppod.workers.historian.stores.store import Store, StoreReader, Writer

SCHEMES = ("postgresql", "postgres")


def _url(options: Options, state_dir: str) -> str:
    """The connection string as a URL; what is quoted in it must come as one."""
    dsn = str(options.get("dsn", ""))
    is_url = dsn.partition("://")[0] in SCHEMES and "://" in dsn
    return dsn if is_url else f"postgresql:///?{'&'.join(dsn.split())}"


def _open(url: str, options: Options, writer: Writer) -> Store:
    from cpppod.workers.historian.stores.postgresql.store import PostgresqlLimits, PostgresqlStore

    limits = PostgresqlLimits(options.get("retention_s", 0.0))
    return PostgresqlStore(url, limits, gateway=writer.gateway, instance=writer.instance)


def _read(url: str, gateway: str | None) -> StoreReader:
    from cpppod.workers.historian.stores.postgresql.reader import PostgresqlReader

    return PostgresqlReader(url, gateway)


SPEC = StoreSpec(
    name="postgresql",
    schemes=SCHEMES,
    example="postgresql://...",
    settings="cpppod.workers.historian.stores.postgresql.settings:PostgresqlSettings",
    url=_url,
    open=_open,
    read=_read,
    chosen_by="dsn",
    gives_up=True,
    needs=("psycopg",),
    install="pip install 'cpppod[postgresql]'",
)
