"""The command line: `python -m loadtest`."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from gateway.errors import first_of
from loadtest.cli.main import main
from loadtest.cli.options import take_any_letters

__all__ = ["main", "run_main"]


def run_main() -> None:
    """Run a command; tell in a line what the system refuses that the command has no words for."""
    take_any_letters()
    try:
        main(prog_name="python -m loadtest")
    except (OSError, BaseExceptionGroup) as raised:
        error = first_of(raised)
        if not isinstance(error, OSError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        with suppress(OSError):  # of a full disk that standard error is on too
            click.echo(f"loadtest: {where}{error.strerror or repr(error)}", err=True)
        sys.exit(2)
