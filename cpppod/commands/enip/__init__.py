"""Command lines for EtherNet/IP."""
