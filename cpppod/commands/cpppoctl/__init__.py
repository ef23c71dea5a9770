"""`cpppoctl`: asks and steers a running gateway through its control socket."""

from cpppod.commands.cpppoctl.command import main, parser

__all__ = ["main", "parser"]
