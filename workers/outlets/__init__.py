"""Outlets: who hands on what the gateway knows; each has a room of its own beside this one."""
