"""Command lines: one module per console script, each with a `main(argv=None) -> int`."""
