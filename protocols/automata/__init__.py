"""State machines, regular expressions and peekable sources for parsing streams."""
