"""modbus_tk's master. Arguments: host port, or the path of a serial line."""

import sys

import serial
from answering import answer, values
from modbus_tk import defines, modbus_rtu, modbus_tcp

if len(sys.argv) == 3:
    master = modbus_tcp.TcpMaster(sys.argv[1], int(sys.argv[2]), timeout_in_sec=20.0)
else:
    master = modbus_rtu.RtuMaster(serial.Serial(sys.argv[1], 9600, timeout=20.0))
    master.set_timeout(20.0)


def read(function):
    return lambda at, count: values(master.execute(1, function, at, count))


def write(function):
    def run(at, value):
        master.execute(1, function, at, output_value=value)

    return run


answer(
    {
        "coils": read(defines.READ_COILS),
        "discrete": read(defines.READ_DISCRETE_INPUTS),
        "holding": read(defines.READ_HOLDING_REGISTERS),
        "input": read(defines.READ_INPUT_REGISTERS),
        "coil=": write(defines.WRITE_SINGLE_COIL),
        "register=": write(defines.WRITE_SINGLE_REGISTER),
        "coils=": write(defines.WRITE_MULTIPLE_COILS),
        "registers=": write(defines.WRITE_MULTIPLE_REGISTERS),
        "both": lambda at, count, write, those: values(
            master.execute(
                1,
                defines.READ_WRITE_MULTIPLE_REGISTERS,
                at,
                count,
                output_value=those,
                write_starting_address_fc23=write,
            )
        ),
        "mask=": lambda at, keep, add: (
            master.execute(1, defines.MASK_WRITE_REGISTER, at, and_mask=keep, or_mask=add) and None
        ),
    }
)
master.close()
