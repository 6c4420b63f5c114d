"""What the commands share: where they print, kinds of files, the server under test, scenarios and models."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from loadtest import scenario as scenarios
from loadtest.capacity.fits import FitError
from loadtest.capacity.model import CostModel, fit
from loadtest.capacity.sweep import Point, stored_points
from loadtest.scenario import Scenario, ScenarioError

Decorator = Callable[[Any], Any]


class Output(Console):
    """What is printed. A reader that has seen enough (`| head`) changes neither reports nor exit status."""

    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):
            super().on_broken_pipe()


console = Output(highlight=False)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
FACTOR_MIN, FACTOR_MAX = 0.001, 1_000_000
READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


def take_any_letters() -> None:
    """What a terminal has no letters for is a question mark there from now on, and changes nothing else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


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


def number_from(least: float, most: float) -> Callable[[str], float]:
    """Numbers within these bounds on the command line; NaN is none."""

    def number(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise click.BadParameter(f"{text!r} is no number from {least:,} to {most:,}")
        return found

    return number


def number_option(
    name: str,
    what: str,
    least: float = 0,
    most: float = FACTOR_MAX,
    default: float | None = None,
    **more: Any,
) -> Decorator:
    """An option for a number within these bounds; `more` is click's."""
    kind = {"type": number_from(least, most), "show_default": default is not None}
    text = None if default is None else f"{default:g}"
    return click.option(*name.split(), default=text, metavar="NUMBER", help=what, **{**kind, **more})


def factor_option(name: str, what: str, least: float = FACTOR_MIN) -> Decorator:
    """An option for how many times as much of something a command takes."""
    return number_option(name, what, least, default=1)


def scenario_of(name: str, users: float = 1.0, durations: float = 1.0, rates: float = 1.0) -> Scenario:
    """A scenario by its name or file, each of these times as large; raises UsageError."""
    try:
        return scenarios.load(name).scaled(users, durations, rates)
    except ScenarioError as error:
        raise click.UsageError(str(error)) from None


def points_in(files: Sequence[Path]) -> list[Point]:
    """The points of calibrations, and of run reports among them; raises UsageError.

    Those whose server ended are left out: what it does no more costs nothing.
    """
    points = [point for path in files for point in _points_of(path)]
    alive = [point for point in points if not point.get("server_died")]
    _mistrust(len(points) - len(alive), len(points), "runs whose server ended: they are left out")
    return alive


def _points_of(path: Path) -> list[Point]:
    try:
        return stored_points(orjson.loads(path.read_bytes()))
    except ValueError as error:  # what is no JSON too
        raise click.UsageError(f"no model can be made of this: {path}: {error}") from None


def model_of(calibrations: Sequence[Path]) -> CostModel:
    """The model fitted to what these files have; raises UsageError.

    What is of invalid runs is told, and what is of runs with faults.
    """
    alive = points_in(calibrations)
    invalid = sum(point.get("status") == "invalid" for point in alive)
    _mistrust(invalid, len(alive), "invalid runs: mistrust the plan")
    faulty = [point for point in alive if point.get("faults")]
    if faulty:
        told = f"runs with faults ({faulty[0]['faults'][0]}): mend the server, and mistrust the plan"
        _mistrust(len(faulty), len(alive), told)
    try:
        return fit(alive)
    except (FitError, ValueError, TypeError) as error:
        raise click.UsageError(f"no model can be made of this: {error}") from None


def _mistrust(stages: int, of: int, what: str) -> None:
    """Tell how many stages of a calibration are of something, if any."""
    if stages:
        console.print(f"{stages} of {of} stages are of {what}", style="yellow")
