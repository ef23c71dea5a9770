"""The store in SQLite files, one a day."""
