"""cpppo.remote on cpppod."""

from pkgutil import extend_path

from cpppod.compat import submodules

__path__ = extend_path(__path__, __name__)
__getattr__ = submodules(__name__)
