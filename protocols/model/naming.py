"""Names of tags made from others' names, which are longer and have other characters.

Program:Main.Pump[3].Speed  ->  Program_Main_Pump_3_Speed       unique without regard to case,
2nd Pump °C                 ->  _2nd_Pump_C                     at most 40 characters
"""

import re
import zlib

LONGEST = 40  # characters of a name (`plant.NAME_PATTERN`)


def name_of(text: str) -> str:
    """The name nearest to `text`: what a name cannot have becomes `_`, a long one ends in a sum."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "tag"
    if text.startswith("_") or name[0].isdigit():
        name = f"_{name}"
    return name if len(name) <= LONGEST else _with_ending(name, f"{zlib.crc32(text.encode()):08x}")


def _with_ending(name: str, ending: str) -> str:
    return f"{name[: LONGEST - 1 - len(ending)]}_{ending}"


class Names:
    """Gives each text a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, text: str) -> str:
        """The name of `text`, numbered where another text has it already."""
        first = name = name_of(text)
        number = 2
        while name.lower() in self._taken:
            name = f"{first}_{number}"
            if len(name) > LONGEST:
                name = _with_ending(first, str(number))
            number += 1
        self._taken.add(name.lower())
        return name
