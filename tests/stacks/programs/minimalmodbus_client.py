"""minimalmodbus, RTU. Argument: path of a serial line."""

import sys

import minimalmodbus
from answering import answer

device = minimalmodbus.Instrument(sys.argv[1], 1)
device.serial.baudrate = 9600
device.serial.timeout = 20.0

answer(
    {
        "coils": lambda at, count: device.read_bits(at, count, 1),
        "discrete": lambda at, count: device.read_bits(at, count, 2),
        "holding": lambda at, count: device.read_registers(at, count, 3),
        "input": lambda at, count: device.read_registers(at, count, 4),
        "coil=": lambda at, value: device.write_bit(at, value, 5),
        "register=": lambda at, value: device.write_register(at, value, functioncode=6),
        "coils=": device.write_bits,
        "registers=": device.write_registers,
        "float": lambda at, order: device.read_float(at, 3, 2, order),
        "float=": lambda at, value, order: device.write_float(at, value, 2, order),
        "long": lambda at, order: device.read_long(at, 3, True, order),
        "long=": lambda at, value, order: device.write_long(at, value, True, order),
        "text": lambda at, count: device.read_string(at, count),
        "text=": lambda at, value, count: device.write_string(at, value, count),
    }
)
