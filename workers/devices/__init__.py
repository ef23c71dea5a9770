"""Devices as a poller or a serial line sees them: schedule, queue, health, one driver a protocol."""
