"""The listener: one EtherNet/IP address, and what it serves there."""
