"""EtherNet/IP: encapsulation, sessions and discovery, on the target's and the originator's side."""
