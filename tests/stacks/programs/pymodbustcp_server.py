"""pyModbusTCP's server. Argument: a port of loopback."""

import sys

from pyModbusTCP.server import ModbusServer

server = ModbusServer("127.0.0.1", int(sys.argv[1]), no_block=True)
server.data_bank.set_holding_registers(0, [7] * 100)
server.data_bank.set_input_registers(0, [42] * 100)
server.data_bank.set_coils(0, [True, False] * 16)
server.data_bank.set_discrete_inputs(0, [False, True] * 16)
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
