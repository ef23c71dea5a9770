"""Tag lists: brought in from other programs and from devices, merged, and given out again."""
