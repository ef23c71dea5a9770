"""EtherNet/IP under cpppo's names."""

from pkgutil import extend_path

from cpppod.compat import submodules

__path__ = extend_path(__path__, __name__)
__getattr__ = submodules(__name__)

from .defaults import *
from .device import *
from .parser import *
from .udt import *
