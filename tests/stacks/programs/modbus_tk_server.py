"""modbus_tk's slave. Argument: a port of loopback, or the path of a serial line."""

import sys

import serial
from modbus_tk import defines, modbus_rtu, modbus_tcp

if sys.argv[1].isdigit():
    server = modbus_tcp.TcpServer(int(sys.argv[1]), "127.0.0.1")
else:
    server = modbus_rtu.RtuServer(serial.Serial(sys.argv[1], 19_200))
server.start()
slave = server.add_slave(1)
for name, kind, held in (
    ("holding", defines.HOLDING_REGISTERS, [7] * 100),
    ("input", defines.ANALOG_INPUTS, [42] * 100),
    ("coils", defines.COILS, [1, 0] * 16),
    ("discrete", defines.DISCRETE_INPUTS, [0, 1] * 16),
):
    slave.add_block(name, kind, 0, len(held))
    slave.set_values(name, 0, held)
print("ready", flush=True)
sys.stdin.read()
server.stop()
