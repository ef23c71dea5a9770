"""Force Get and Set Attribute Single: write and read an assembly of 18 INTs.

python examples/enip_attribute_bytes.py [HOST[:PORT]]
try it on: enip_server -S SCADA@0x4/0x96/3=INT[18]
"""

import sys

from cpppod.client import attribute_operations
from cpppod.proxy import proxy_simple as device

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
attribute = "@0x4/0x96/3"
operations = [attribute + " = (INT)512" + ",0" * 17]
print("Raw operations:", operations)
print("Operations:", list(attribute_operations(operations)))

via = device(host, int(port or 44818), operations_parser=attribute_operations)
with via:
    (written,) = via.write(operations)
    (value,) = via.read([(attribute, "INT")])
via.close_gateway()
print(written, value)
