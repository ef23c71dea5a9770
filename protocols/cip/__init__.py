"""The Common Industrial Protocol: types, paths, services and objects."""
