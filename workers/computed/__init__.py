"""The role that evaluates computed tags."""
