"""Journals: blocks on disk before they are published, read by durable cursors."""
