"""The store in PostgreSQL, with TimescaleDB where it is there."""
