"""Computed tags: a small total language over other tags, and its evaluation block by block."""
