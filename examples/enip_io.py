"""Write and read a few tags; the exit status says whether all went well.

python examples/enip_io.py [HOST[:PORT]]          try it on: enip_server Tag=DINT[10]
"""

import sys

from cpppod import client

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
tags = ["Tag[0-9]+16=(DINT)4,5,6,7,8,9", "@0x2/1/1", "Tag[3-5]"]

with client.connector(host=host, port=int(port or 44818), timeout=1.0) as connection:
    failures, transactions = connection.process(
        operations=client.parse_operations(tags),
        depth=1,  # requests in flight
        multiple=0,  # no Multiple Service Packets
        fragment=False,  # fragments only where a value needs them
        printing=True,
        timeout=1.0,
    )
    connection.close()

sys.exit(1 if failures else 0)
