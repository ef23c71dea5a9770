"""Devices as a poller or a serial line sees them: schedule, queue, health and one driver per protocol."""
