"""Simulated EtherNet/IP controllers in any program, without a gateway."""

from cpppod.protocols.cip.status import CipError
from cpppod.simulator.attribute import Attribute
from cpppod.simulator.simulator import Settings, Simulator
from cpppod.simulator.tags import TagError

__all__ = ["Attribute", "CipError", "Settings", "Simulator", "TagError"]
