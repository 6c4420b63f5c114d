"""The standard streams of a command; any of them may be closed."""

from __future__ import annotations

import sys

import click


def typed() -> str:
    """All that comes over standard input; raises UsageError where that is closed, or isn't UTF-8."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed: give it as an argument")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"what comes over standard input isn't UTF-8 ({error.reason})") from None


def is_terminal() -> bool:
    """Whether somebody sees what is printed."""
    return sys.stdout is not None and sys.stdout.isatty()
