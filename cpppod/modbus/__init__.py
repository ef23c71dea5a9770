"""Modbus for programs: poll, read and write a device; serve registers."""

from cpppod.modbus.client import Client, PlcOffline
from cpppod.modbus.poller import ParameterException, Poller, merge, shatter
from cpppod.modbus.server import Server
from cpppod.protocols.modbus.pdu import ModbusException

__all__ = [
    "Client",
    "ModbusException",
    "ParameterException",
    "PlcOffline",
    "Poller",
    "Server",
    "merge",
    "shatter",
]
