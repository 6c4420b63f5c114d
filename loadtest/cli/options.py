"""What the commands share: where they print, kinds of files, the server under test, scenarios and models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from loadtest import scenario as scenarios
from loadtest.capacity.fits import FitError
from loadtest.capacity.model import CostModel, fit
from loadtest.capacity.sweep import Point, merged_points
from loadtest.scenario import Scenario, ScenarioError

Decorator = Callable[[Any], Any]

console = Console(highlight=False)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator; a command's help has them in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _secret(context: click.Context, parameter: click.Parameter, path: Path | None) -> bytes | None:
    return path.read_bytes().strip() if path else None


def server_options(otherwise: str, admin_for: str) -> Decorator:
    """--url, --admin-url and --token-secret-file, which a command gets as `secret`.

    In words: what is done without a URL, and what the admin HTTP is for.
    """
    return together(
        click.option(
            "--url", help=f"The gateway under test; without it {otherwise}. ws://HOST:PORT/realtime"
        ),
        click.option("--admin-url", help=f"Its admin HTTP, for {admin_for}. http://HOST:PORT"),
        click.option(
            "--token-secret-file",
            "secret",
            type=READABLE,
            callback=_secret,
            help="The secret that signs tokens: DATA/jwt-secret.",
        ),
    )


def scenario_of(name: str, users: float = 1.0, durations: float = 1.0, rates: float = 1.0) -> Scenario:
    """A scenario by its name or file, each of these times as large; raises UsageError."""
    try:
        return scenarios.load(name).scaled(users, durations, rates)
    except ScenarioError as error:
        raise click.UsageError(str(error)) from None


def points_in(files: Sequence[Path]) -> list[Point]:
    """The points of calibrations, and of run reports among them."""
    return merged_points([json.loads(path.read_text()) for path in files])


def model_of(calibrations: Sequence[Path]) -> CostModel:
    """The model fitted to what these files have; raises UsageError."""
    try:
        return fit(points_in(calibrations))
    except (FitError, ValueError, KeyError) as error:
        raise click.UsageError(f"no model can be made of this: {error}") from None
