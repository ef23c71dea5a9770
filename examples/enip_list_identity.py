"""Ask everybody on the network who they are, until nobody has answered for a second.

python examples/enip_list_identity.py [HOST[:PORT]]        default: 255.255.255.255
"""

import sys

from cpppod import client

timeout = 1.0
host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "255.255.255.255").partition(":")

with client.client(host=host, port=int(port or 44818), udp=True, broadcast=True) as connection:
    connection.list_identity(timeout=timeout)
    while True:
        response, elapsed = client.await_response(connection, timeout=timeout)
        if not response:
            break
        print(client.enip_format(response))
    connection.close()
