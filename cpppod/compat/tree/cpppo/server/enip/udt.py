"""Structures: not offered as machines."""

from typing import Any

from .parser import STRUCT


class STRUCT_typed(STRUCT):
    """A structure of a known layout; `cpppod.client` reads and writes structures as dicts."""

    REPLACEMENT = (
        "after `connection.browse()` structures are read and written as dicts; `enip_server -D` "
        "serves those of a JSON file"
    )

    def __init__(self, name: str | None = None, data_type: Any = None, **keywords: Any) -> None:
        super().__init__(name, **keywords)
        self.data_type = data_type
