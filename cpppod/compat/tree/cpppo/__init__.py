"""cpppo's names on cpppod: state machines, dotdicts and small helpers."""

from pkgutil import extend_path

from cpppod.compat import submodules

__path__ = extend_path(__path__, __name__)
__getattr__ = submodules(__name__)

from .automata import *
from .dotdict import *
from .misc import *
from .version import __version__, __version_info__
