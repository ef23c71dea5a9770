"""The drivers of devices, a folder each."""
