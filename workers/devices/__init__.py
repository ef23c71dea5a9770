"""Devices as a poller or a line sees them: schedule, queue, health, one driver a protocol."""
