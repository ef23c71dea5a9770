"""Simulated Modbus devices, scripted and moving."""
