"""Instruments that speak text."""
