"""Every name that cpppo's own programs and tests use is there and takes what they give it.

`names.txt` has a line a name: its module, the name, and how it is called: the number of positional
arguments and the keywords (`2+timeout`), more ways behind `;`.
"""

import importlib
import inspect
import pathlib
import sys
from types import BuiltinFunctionType
from typing import Any

import pytest

from cpppod.compat import Replaced

LINES = pathlib.Path(__file__).with_name("names.txt").read_text(encoding="utf-8").splitlines()
REFUSED = {  # not offered: calling it says what takes its place
    ("cpppo", "state_input.from_regex"),
    ("cpppo.server.enip.hart", "proxy_hart"),
    ("cpppo.server.tnet", "main"),
    ("cpppo.server.tnet", "data_parser"),
    ("cpppo.server.tnet", "tnet_machine"),
    ("cpppo.server.enip.logix", "process"),
}


def found(module: str, name: str) -> Any:
    importlib.import_module(module)
    value: Any = sys.modules[module]
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("line", LINES)
def test_a_name_is_there_and_takes_its_arguments(line: str) -> None:
    module, name, *forms = line.split(" ")
    try:
        value = found(module, name)
    except Replaced:
        return  # its text is checked where it is called
    if (module, name) in REFUSED:
        with pytest.raises(Replaced, match="cpppod"):
            value(None)
        return
    for form in filter(None, "".join(forms).split(";")):
        count, _, keywords = form.partition("+")
        given = dict.fromkeys(filter(None, keywords.split(",")))
        if value is not str and not isinstance(value, BuiltinFunctionType):  # no signature in C
            inspect.signature(value).bind(*[None] * int(count), **given)
