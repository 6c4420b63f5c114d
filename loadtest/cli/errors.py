"""What keeps a run from taking place, as a command says it: exit status 2, for nothing was found out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from loadtest.options import RunError
from loadtest.preflight import PreflightError
from loadtest.server import ServerError
from loadtest.web.server import WebError


class NoRun(click.ClickException):
    """The run says nothing about the server."""

    exit_code = 2


@contextmanager
def no_run() -> Iterator[None]:
    """Tell in one line why there was no run."""
    try:
        yield
    except (RunError, PreflightError, ServerError, WebError) as error:
        raise NoRun(str(error)) from None


@contextmanager
def reading_reports() -> Iterator[None]:
    """Tell in one line that a report which was given isn't one in all its parts."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise click.UsageError(
            "no report of `python -m loadtest run --json` has this form; was it written by another version, "
            f"or changed by hand? {error!r}"
        ) from None
