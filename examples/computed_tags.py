"""A controller whose tags are computed when they are read: the load of the machine it runs on.

python examples/computed_tags.py -a 127.0.0.1:44818 load1=REAL load5=REAL load15=REAL
"""

import os
import sys
from typing import Any

from cpppod.commands.enip.server import main
from cpppod.simulator import Attribute

PLACES = {"load1": 0, "load5": 1, "load15": 2}


class Load(Attribute):
    """The average load of as many minutes as the tag's name says."""

    def __getitem__(self, key: int | slice) -> Any:
        load = os.getloadavg()[PLACES[self.name]]
        return [load] if isinstance(key, slice) else load

    def __setitem__(self, key: int | slice, value: Any) -> None:
        raise ValueError("the load is read only")


if __name__ == "__main__":
    sys.exit(main(attribute_class=Load))
