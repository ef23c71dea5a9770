"""The release of cpppo whose names these are."""

__version_info__ = (5, 2, 5)
__version__ = "5.2.5"
