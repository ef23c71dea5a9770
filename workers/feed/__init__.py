"""The feed: every value, numbered, with snapshot and replay."""
