"""The keys of `[history]` that are the PostgreSQL store's own."""

from collections.abc import Iterable

from pydantic import Field

from cpppod.workers.historian.stores.settings import StoreSection
from cpppod.workers.settings import Mistake, Text


class PostgresqlSettings(StoreSection):
    """A database."""

    dsn: Text = Field(default="", description="PostgreSQL: connection string, without the password")

    def mistakes(self) -> Iterable[Mistake]:
        if not self.dsn:
            yield Mistake("dsn", None, "a connection string for postgresql")
