"""What keeps a run from taking place, as a command says it: exit status 2, for nothing was found out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from loadtest.agents.address import AgentError
from loadtest.options import RunError
from loadtest.preflight import PreflightError
from loadtest.server import ServerError
from loadtest.web.server import WebError


class NoRun(click.ClickException):
    """The run says nothing about the server."""

    exit_code = 2


class Commands(click.Group):
    """Commands for which Ctrl-C is no fault of a server's: click has the status 1 for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise NoRun("ended by Ctrl-C") from None


@contextmanager
def no_run() -> Iterator[None]:
    """Tell in one line why there was no run."""
    try:
        yield
    except (AgentError, RunError, PreflightError, ServerError, WebError) as error:
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
