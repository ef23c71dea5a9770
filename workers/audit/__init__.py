"""The audit's files: one chain of records for each process that makes any."""
