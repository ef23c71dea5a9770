"""Devices that speak EtherNet/IP."""
