"""Roles of the gateway, one module per process, and what only they share."""
