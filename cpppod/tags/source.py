"""What every source of a tag list has to do with: what is wished of it, and how it is refused."""

from dataclasses import dataclass


class ImportRefused(Exception):
    """A file that is not of its kind; the text says what was expected."""


class Refused(Exception):
    """One tag that cannot come over; the text says why."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of an import.

    Attributes:
        address: of the device, where the file has none; `name` likewise.
        driver: of the device, "" to see by the addresses.
        writable: what the source lets its clients write is writable.
        period: of a group, where the source has no scan rate.
    """

    address: str = ""
    name: str = ""
    driver: str = ""
    route_path: str = ""
    writable: bool = False
    period: str = "1s"
