"""Sockets and serial ports: EtherNet/IP endpoints and connections, TCP and RTU ports."""
