"""What cpppod's processes say to each other: messages, codec, limits, topics."""
