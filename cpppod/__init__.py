"""cpppod: an industrial gateway daemon for EtherNet/IP (CIP) and Modbus.

The public Python API lives in the modules of this package (`client`, `poll`, `modbus`, `automata`,
`history`, `simulator`, `feed`); importing the package itself does nothing.
"""

__version__ = "0.1.0"
