"""The command line: `python -m loadtest`."""

from loadtest.cli.main import main

__all__ = ["main"]
