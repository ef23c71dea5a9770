"""pyModbusTCP's client. Arguments: host port."""

import sys

from answering import answer, values
from pyModbusTCP.client import ModbusClient

client = ModbusClient(sys.argv[1], int(sys.argv[2]), unit_id=1, timeout=20.0)


class Refused(Exception):
    def __init__(self):
        super().__init__(client.last_except_as_txt or client.last_error_as_txt)
        self.code = client.last_except


def done(result):
    if not result:
        raise Refused
    return values(result) if isinstance(result, list) else None


answer(
    {
        "coils": lambda *a: done(client.read_coils(*a)),
        "discrete": lambda *a: done(client.read_discrete_inputs(*a)),
        "holding": lambda *a: done(client.read_holding_registers(*a)),
        "input": lambda *a: done(client.read_input_registers(*a)),
        "coil=": lambda *a: done(client.write_single_coil(*a)),
        "register=": lambda *a: done(client.write_single_register(*a)),
        "coils=": lambda *a: done(client.write_multiple_coils(*a)),
        "registers=": lambda *a: done(client.write_multiple_registers(*a)),
        "both": lambda read, count, write, those: done(
            client.write_read_multiple_registers(write, those, read, count)
        ),
        "identity": lambda: client.read_device_identification().vendor_name.decode(),
    }
)
client.close()
