"""Protocols as pure code: bytes to values and back, without I/O, clocks or threads."""
