"""Modbus: transactions matched to their requests, registers, read plans."""
