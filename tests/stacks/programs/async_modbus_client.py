"""async-modbus (on uModbus). Argument: tcp://host:port, serial:///path or serial-tcp://host:port."""

import asyncio
import sys

from answering import answer, values
from async_modbus import modbus_for_url

loop = asyncio.new_event_loop()
line = {"baudrate": 9600} if sys.argv[1].startswith("serial:") else {}
client = modbus_for_url(sys.argv[1], line)


def read(name):
    return lambda at, count: values(
        loop.run_until_complete(asyncio.wait_for(getattr(client, name)(1, at, count), 20.0))
    )


def write(name):
    def run(at, value):
        loop.run_until_complete(asyncio.wait_for(getattr(client, name)(1, at, value), 20.0))

    return run


answer(
    {
        "coils": read("read_coils"),
        "discrete": read("read_discrete_inputs"),
        "holding": read("read_holding_registers"),
        "input": read("read_input_registers"),
        "coil=": write("write_coil"),
        "register=": write("write_register"),
        "coils=": write("write_coils"),
        "registers=": write("write_registers"),
    }
)
