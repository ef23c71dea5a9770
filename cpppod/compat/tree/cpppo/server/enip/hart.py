"""HART pass-through is not offered; its service codes are."""

from typing import Any

from cpppod.compat import Replaced

from .device import Message_Router, _codes

_TEXT = "HART is not offered: issue its services by cpppod.client's service_code(code, path, data)"


class HART(Message_Router):
    """The HART object of a 1756-IF8H."""

    class_id = 0x35D
    CODES = _codes(RD_VAR=0x4B, PT_INI=0x4E, PT_QRY=0x4F)


class proxy_hart:
    """Not offered."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise Replaced(_TEXT)
