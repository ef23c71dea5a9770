"""List a controller's tags, then read one structure as a dict.

python examples/enip_browse.py [HOST[:PORT]]      try it on any ControlLogix
"""

import sys

from cpppod import client
from cpppod.protocols.cip.structures import Structure

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")

with client.connector(host=host, port=int(port or 44818), timeout=5.0) as connection:
    tree = connection.browse()
    for line in tree.lines():
        print(line)
    structures = [tag.name for tag in tree.tags if isinstance(tag.type, Structure)]
    for result in connection.pipeline(structures[:1]):
        print(result.description, result.value)
    connection.close()
