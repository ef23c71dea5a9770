"""The machine and server of typed netstrings are not offered; `tnetstrings` reads and writes them.

Own machines are built of `cpppod.automata` (`docs/automata.md`).
"""

from typing import Any

from cpppod.compat import Replaced

address = ("", 8008)
_TEXT = "tnet: use cpppo.server.tnetstrings (parse, dump), or build a machine with cpppod.automata"


def data_parser(*_: Any, **__: Any) -> Any:
    """Not offered.

    Raises:
        Replaced: always.
    """
    raise Replaced(_TEXT)


tnet_machine = tnet_from = tnet_server_json = main = data_parser
