"""Where the historian writes: one module per kind of store."""
