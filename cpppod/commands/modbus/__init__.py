"""Command lines for Modbus."""
