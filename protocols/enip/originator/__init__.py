"""The originator's side of EtherNet/IP: sessions that ask, sans I/O."""
