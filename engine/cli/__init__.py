"""The command line, one module a command; see design of each in its own docstring."""

from engine.cli.main import main

__all__ = ["main"]
