"""The router: which requests leave, where to, by when, and who may."""
