"""Issue requests now and take their replies later, one by one.

python examples/enip_harvest.py [HOST[:PORT]]     try it on: enip_server SCADA=INT[1000]
"""

import sys

from cpppod import client

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")

with client.connector(host=host, port=int(port or 44818), timeout=5.0) as connection:
    for number in range(3):
        connection.read(f"SCADA[{number}]", sender_context=b"read %d" % number)
    for _ in range(3):
        assert connection.readable(timeout=5.0), "no reply"
        response = next(connection)
        assert response is not None and response.reply is not None
        context = response["enip.sender_context.input"]
        print(response.peer, context.rstrip(b"\0").decode(), response.reply.text)
    connection.close()
