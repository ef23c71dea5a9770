"""The target's side of EtherNet/IP: sessions that answer, sans I/O."""
