"""The keys of `[history]` that are the SQLite store's own."""

from typing import Any

from pydantic import Field

from cpppod.workers.historian.stores.settings import StoreSection
from cpppod.workers.settings import Duration, Size, Text


class SqliteSettings(StoreSection):
    """Files in a folder, and what they may take."""

    path: Text = Field(
        default="", description="folder of the SQLite files; default in the state directory"
    )
    minutes_retention: Duration = Field(
        default=0.0, description="SQLite: roll-ups by the minute are kept longer; 0 keeps all"
    )
    size: Size = Field(default=0, description="SQLite: of all files; 0 is half the disk")
    free: Size = Field(default=0, description="SQLite: what stays free; 0 is 5 %, at most 1 GB")
    roll_up: bool = Field(default=True, description="minimum, mean, maximum of every minute")

    def options(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "roll_up": self.roll_up,
            "minutes_retention_s": self.minutes_retention,
            "bytes": self.size,
            "free_bytes": self.free,
        }
