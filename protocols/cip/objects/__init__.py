"""CIP objects that a target serves, one module per class or close family."""
