"""`cpppoctl`: asks and steers a running gateway through its control socket."""

from cpppod.commands.cpppoctl.command import main

__all__ = ["main"]
