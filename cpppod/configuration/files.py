"""The files of a configuration: found, read as TOML, merged, with the origin of every table kept.

`/etc/cpppod/cpppod.toml` and `conf.d/*.toml` beside it, in the order of their names. Lists
(`[[listener]]`, `[[tag]]` ...) are joined; a named table (`[device.NAME]`) or a key of a single
section may stand in one file only.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.configuration.sections import kinds, shape_of
from cpppod.workers.outlets.spec import OUTLETS

Tables = dict[str, Any]
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")  # how tomllib ends its messages
LARGEST_FILE = 16_000_000  # bytes: ten thousand tags take about one million


def beside(path: Path, instead: Mapping[Path, str]) -> list[Path]:
    """`path` and the files of `conf.d/` beside it, those in `instead` too, in reading order."""
    folder = path.parent / "conf.d"
    return [path, *sorted({*folder.glob("*.toml"), *(each for each in instead if each != path)})]


def read(path: Path, findings: Findings, instead: Mapping[Path, str]) -> Tables:
    """The tables of one file; what keeps it from being read is a problem of that file."""
    findings.origins[(str(path),)] = (str(path), ())
    try:
        if path in instead:
            findings.texts[str(path)] = instead[path]
            return tomllib.loads(instead[path])
        if path.stat().st_size > LARGEST_FILE:
            findings.add((str(path),), None, f"a file of at most {LARGEST_FILE} bytes")
            return {}
        text = findings.texts[str(path)] = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        findings.add((str(path),), None, f"a readable file ({error.strerror})")
    except UnicodeDecodeError as error:
        findings.add((str(path),), None, f"UTF-8 text (byte {error.start} is not)")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = _AT_LINE.search(str(error))
        findings.add((str(path),), None, f"TOML ({error})", line=int(where[1]) if where else 0)
    return {}


def merge(paths: list[Path], findings: Findings, instead: Mapping[Path, str]) -> Tables:
    """All files as one set of tables."""
    merged: Tables = {}
    for path in paths:
        for section, value in read(path, findings, instead).items():
            _merge_section(merged, section, value, str(path), findings)
    return merged


def _merge_section(merged: Tables, section: str, value: Any, file: str, findings: Findings) -> None:
    place: KeyPath = (section,)
    kind = kinds().get(section)
    findings.origins.setdefault(place, (file, place))
    if kind is None:
        _refuse(section, value, file, findings)
    elif not isinstance(value, kind):
        wanted = shape_of(section)
        findings.origins[(*place, file)] = (file, place)
        findings.add((*place, file), value, wanted)
    elif isinstance(value, list):
        items = merged.setdefault(section, [])
        for index, item in enumerate(value):
            findings.origins[(section, len(items))] = (file, (section, index))
            items.append(item)
    else:
        _merge_table(merged.setdefault(section, {}), section, value, file, findings)


def _refuse(section: str, value: Any, file: str, findings: Findings) -> None:
    known = kinds()
    close = difflib.get_close_matches(section, known, 1)
    meant = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
    if section in OUTLETS.failures:
        meant = f"; {OUTLETS.failures[section]}"
    findings.origins[(section, file)] = (file, (section,))
    findings.add((section, file), value, f"no such section{meant}")


def _merge_table(table: Tables, section: str, value: Tables, file: str, findings: Findings) -> None:
    for key, item in value.items():
        place = (section, key)
        if key in table:
            other = findings.locate(place)[0]
            findings.origins[(section, key, file)] = (file, place)
            findings.add((section, key, file), None, f"it once: it is also in {other}")
            continue
        findings.origins[place] = (file, place)
        table[key] = item
