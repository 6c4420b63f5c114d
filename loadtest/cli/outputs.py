"""What the commands write: reports in several forms; targets from the command line; stored baselines."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from loadtest.cli.errors import NoRun, no_run
from loadtest.cli.options import FILE, console, together
from loadtest.preflight import check_files
from loadtest.report.exports import junit, markdown, samples_csv
from loadtest.report.otlp import OtlpError, endpoint, export
from loadtest.report.page import render
from loadtest.report.terminal import print_report
from loadtest.scenario import Scenario, ScenarioError, parse

FORMS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "json": ("the report as JSON", json.dumps),
    "html": ("the report as one HTML page with pictures", render),
    "junit": ("faults and targets as JUnit test cases", junit),
    "csv": ("the samples, a line for each half second (of the last: 0.25 to 0.75 s), as CSV", samples_csv),
    "markdown": ("a summary in Markdown, for a job's summary on GitHub", markdown),
}
NAME = re.compile(r"[\w.-]{1,80}")
ASIDE_NAME_MAX = 60  # characters: of four bytes each, they leave room for more in a name's 255


# --json, --html, --junit, --csv, --markdown, --otlp: see `taken` and `collector`.
output_options = together(
    *(
        click.option(f"--{form}", f"{form}_file", type=FILE, help=f"Write {what}.")
        for form, (what, _) in FORMS.items()
    ),
    click.option("--otlp", metavar="URL", help="Send the samples to an OTLP collector."),
)


def taken(options: dict[str, Any], *read: Path) -> dict[str, Path]:
    """The files that were asked for, out of a command's options; see `writable`."""
    files = {form: options.pop(f"{form}_file") for form in FORMS}
    writable(*files.values(), read=read)
    return {form: path for form, path in files.items() if path is not None}


def writable(*paths: Path | None, read: Iterable[Path] = ()) -> None:
    """Tell in one line, and before anything else, which of these files can't be written; raises NoRun.

    Nor may one be among those that are `read`, or be given twice.
    """
    with no_run():
        check_files(paths, read)


def collector(options: dict[str, Any]) -> str | None:
    """The OTLP collector that was asked for, taken out of a command's options; raises UsageError."""
    url: str | None = options.pop("otlp")
    try:
        return None if url is None else endpoint(url)
    except OtlpError as error:
        raise click.UsageError(str(error)) from None


def send(report: Mapping[str, Any], url: str | None) -> bool:
    """Send the samples to a collector. One that doesn't take them is told, and changes no verdict: False."""
    if url is None:
        return True
    try:
        export(report, url)
    except OtlpError as error:
        mention(f"no samples were sent: {error}", "yellow")
        return False
    mention(f"samples: {url}", "dim")
    return True


def mention(text: str, style: str = "") -> None:
    """Print a line, where it can be printed: nothing that was measured is lost for it."""
    with suppress(OSError):  # of a full disk, or a terminal that is gone
        console.print(text, style=style)


def tell(report: Mapping[str, Any], files: Mapping[str, Path]) -> list[str]:
    """Print a report and write it in each form, one though another can't be; returns what couldn't be.

    Where standard output takes nothing, the report is on standard error.
    """
    problems = []
    try:
        with console:
            print_report(report, console)
    except OSError as error:
        problems.append(f"standard output takes nothing: {error.strerror}")
        console.file = sys.stderr
        with suppress(OSError):
            console.print()  # and what waits
    return problems + save(report, files)


def save(report: Mapping[str, Any], files: Mapping[str, Path]) -> list[str]:
    """Write a report in each form, one though another can't be; returns what couldn't be, and why."""
    problems = []
    for form, path in files.items():
        try:
            write(path, FORMS[form][1](report))
        except NoRun as problem:
            problems.append(problem.message)
            continue
        mention(f"report: {path}", "dim")
    return problems


def refuse(problems: Sequence[str]) -> None:
    """Raises NoRun where there are any."""
    if problems:
        raise NoRun("\n".join(problems))


def write(path: Path, text: str) -> None:
    """Write a file, in UTF-8 in any locale; raises NoRun where the disk is full, or the folder gone, by now.

    Then a report that was there before is as it was.
    """
    try:
        if _is_replaceable(path):
            _replace(path.resolve(), text)
        else:
            path.write_text(text, "utf-8")
    except OSError as error:
        raise NoRun(f"{path} can't be written: {error.strerror}") from None


def _is_replaceable(path: Path) -> bool:
    """Whether this is a file, or none yet, in a folder that takes another one."""
    is_file = path.is_file() or not path.exists()
    return is_file and os.access(path.resolve().parent, os.W_OK)


def _replace(path: Path, text: str) -> None:
    """Write a file beside this one, and put it in its place once it is whole."""
    aside = path.with_name(f".{path.name[:ASIDE_NAME_MAX]}.{os.getpid()}")
    try:
        aside.write_text(text, "utf-8")
        if path.exists():
            shutil.copymode(path, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def keep(calibration: Mapping[str, Any], path: Path) -> None:
    """Write a calibration."""
    write(path, json.dumps(calibration))
    mention(f"calibration: {path}", "dim")


def with_targets(scenario: Scenario, wanted: Sequence[str]) -> Scenario:
    """The scenario with targets like delivery_p95_ms=100, or =none; raises UsageError."""
    changed = scenario.document()
    for one in wanted:
        name, _, value = one.partition("=")
        try:
            changed["targets"][name] = None if value == "none" else float(value)
        except ValueError:
            raise click.UsageError(f"--target {one}: give NAME=NUMBER, or NAME=none") from None
    try:
        return dataclasses.replace(scenario, targets=parse(changed).targets)
    except ScenarioError as error:
        raise click.UsageError(f"--target: {error}") from None


def baseline(folder: Path, name: str) -> Path:
    """Where a baseline is kept; raises UsageError."""
    if not NAME.fullmatch(name):
        raise click.UsageError(f"{name!r}: a baseline's name has letters, digits, dots and dashes")
    return folder / f"{name}.json"
