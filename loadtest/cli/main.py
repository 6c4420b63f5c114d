"""The commands that run and show load tests. Exit status: 0 pass, 1 fail, 2 invalid (or a wrong call)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson
import trio
from rich.table import Table
from rich.text import Text

from loadtest import scenario as scenarios
from loadtest.cli.agents import agent_command, agents_options, taken_agents
from loadtest.cli.capacity import plan_command, sweep_command
from loadtest.cli.errors import Commands, NoRun, no_run, reading_reports
from loadtest.cli.options import (
    FILE,
    FOLDER,
    READABLE,
    console,
    factor_option,
    number_option,
    scenario_of,
    server_options,
)
from loadtest.cli.outputs import (
    baseline,
    collector,
    output_options,
    refuse,
    save,
    send,
    taken,
    tell,
    with_targets,
    writable,
    write,
)
from loadtest.cli.simulate import calibrate_command, simulate_command
from loadtest.cli.watch import both, watched
from loadtest.compare import (
    Change,
    compare,
    differences_of_place,
    faults_grown,
    says_nothing,
    verdict_fell,
)
from loadtest.coordinator import run
from loadtest.merge import MergeError, merge
from loadtest.options import Options
from loadtest.protocols import OURS, SHIPPED
from loadtest.report.figures import number, size
from loadtest.report.terminal import LiveView
from loadtest.server import GATEWAY
from loadtest.signals import ignored

EXIT = {"pass": 0, "fail": 1, "invalid": 2}
BASELINES = Path("baselines")
RUN_NAME = re.compile("[A-Za-z0-9._~:@-]{0,64}")  # documents' ids are this and a number
INSTANT_MAX = 100_000_000_000  # of Unix time: in the year 5138


def share_of(text: str) -> tuple[int, int]:
    """ "2/3" on the command line: the second of three machines."""
    try:
        part, whole = map(int, text.split("/"))
    except ValueError:
        raise click.BadParameter("a share looks like 2/3: the second of three machines") from None
    if not 1 <= part <= whole:
        raise click.BadParameter("in N/M, N is from 1 to M")
    return part, whole


def words_of(text: str) -> list[str]:
    """A command line, on the command line."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no command line: {error}") from None
    if not words:  # of a variable that isn't set, say
        raise click.BadParameter("this is empty: leave it out to test the gateway")
    return words


def run_name_of(text: str) -> str:
    """A name that ids begin with, on the command line; empty for one that is made."""
    if not RUN_NAME.fullmatch(text):
        raise click.BadParameter(f"{text!r} is no run's name: it is at most 64 of A-Z a-z 0-9 . _ ~ : @ -")
    return text


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Load tests that judge: is everything delivered, once, in order, and how fast?

    \b
    python -m loadtest list                              the scenarios
    python -m loadtest run smoke                         half a minute against an embedded gateway
    python -m loadtest run headline --html report.html   with a report to look at
    python -m loadtest run rfc002 --url ws://HOST:PORT/realtime --token-secret-file FILE
    python -m loadtest run headline --url ... --agents 10.0.0.7,10.0.0.8 --agents-secret-file FILE
    python -m loadtest compare before.json after.json    what changed beyond noise
    python -m loadtest sweep headline --vary operations --start 4000 --json cal.json
    python -m loadtest plan cal.json --connections 100000 --ops-per-user-s 0.1 --viewers 4

    \b
    Exit status:
      0  the verdict is pass; of other commands: done
      1  it is fail; `compare`: a regression; `sweep`: a fault; `plan`, `simulate`: no answer
      2  it is invalid, or there was no run: wrong usage, files or surroundings (a port in use)
    """


@main.command("list")
@click.option("--keys", "with_keys", is_flag=True, help="Every key that a scenario's file may have instead.")
def list_command(with_keys: bool) -> None:
    """The shipped scenarios.

    \b
    python -m loadtest list
    python -m loadtest list --keys
    """
    if with_keys:
        _list_keys()
        return
    table = Table.grid(padding=(0, 2))
    for name, description in scenarios.shipped().items():
        table.add_row(f"[bold]{name}[/]", description)
    console.print(table)


def _list_keys() -> None:
    """Each table of a scenario's file with its keys; a line that is too long goes on in the next one."""
    for heading, keys in groupby(scenarios.members(), key=lambda key: key.table):
        table = Table.grid(padding=(0, 2))
        for name in ("key", "default", "what it says"):
            table.add_column(no_wrap=name == "key", overflow="fold")
        for key in keys:
            table.add_row(*(Text(cell) for cell in (f"  {key.name}", key.default, key.meaning)))
        console.print(Text(heading or "at the top"), table, sep="\n")


@main.command("run")
@click.argument("scenario")
@server_options("one is started here", admin_for="metrics and whole histories")
@output_options
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Another target than the scenario's: delivery_p95_ms=100, refused_max=none, ...",
)
@factor_option("--scale", "Users, documents and rates, times this.")
@factor_option("--rate-scale", "Rates of edits alone, times this.", least=0)
@factor_option("--duration-scale", "Lengths of the stages, times this.")
@click.option(
    "--seed",
    type=click.IntRange(0, scenarios.NUMBER_MAX),
    help="Another schedule; the same seed makes the same one.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Generator processes.  [default: one for 15,000 connections]",
)
@click.option(
    "--share",
    type=share_of,
    default="1/1",
    metavar="N/M",
    help="This machine's part of a run, as 2/3; see merge.",
)
@agents_options
@number_option("--start-at", "Unix time to start at, the same on all machines.", 0, INSTANT_MAX)
@click.option(
    "--web", metavar="[HOST:]PORT", help="Serve a page to watch and steer the run; 0 is a free port."
)
@click.option("--users", metavar="FILE", help="Python with edit(kind, index, document): what users write.")
@click.option(
    "--run-name",
    type=run_name_of,
    default="",
    metavar="NAME",
    help="Names the documents; the same on all machines.",
)
@click.option(
    "--server-command",
    type=words_of,
    metavar="COMMAND",
    help="Start this instead of the gateway; it gets --port, --data and so on.",
)
@click.option(
    "--protocol",
    default=OURS,
    show_default=True,
    help="What the server speaks: " + ", ".join(SHIPPED) + ", or a Python file with an adapter, PROTOCOL.",
)
def run_command(
    scenario: str,
    scale: float,
    rate_scale: float,
    duration_scale: float,
    seed: int | None,
    processes: int | None,
    targets: tuple[str, ...],
    server_command: list[str] | None,
    web: str | None,
    **options: Any,
) -> None:
    """Run SCENARIO (a name from `list`, or a TOML file) and judge it.

    Users follow an open-loop schedule: they don't wait for a slow server, and each delivery is timed from
    the moment its edit was meant to leave. Some users keep the whole document, the others check that versions
    come one by one. At the end all documents and histories are compared with the server's.

    Exit status: 0 pass; 1 fail, with the fault's name; 2 invalid: it says nothing about the server, and why.

    \b
    The JSON has: verdict.{status,lost_acknowledged,gaps,duplicates,reordered,diverged,reasons},
    rates.{operations_per_s,deliveries_per_s}, latency_ms.{delivery,ack,connect,sync}.{p50,p95,p99,max},
    connections.{attempted,succeeded,peak}, server.{cpu_s,rss_bytes,kernel_socket_bytes},
    generator.{cpu_s,lag_p99_ms,missed}, stages[], environment.

    \b
    python -m loadtest run smoke
    python -m loadtest run headline --scale 0.25 --html report.html --json report.json
    python -m loadtest run rfc002 --url ws://HOST:8787/realtime --token-secret-file data/jwt-secret
    """
    files, otlp, agents = taken(options, Path(scenario)), collector(options), taken_agents(options)
    loaded = with_targets(scenario_of(scenario, scale, duration_scale, rate_scale), targets)
    if seed is not None:
        loaded = replace(loaded, seed=seed)
    if processes:
        loaded = replace(loaded, generator=replace(loaded.generator, processes=processes))
    with no_run(), watched(web, console) as watch:
        with LiveView(console) as live:
            wanted = Options(loaded, server_command=server_command or GATEWAY, agents=agents, **options)
            wanted.control, wanted.on_progress = watch.control, both(live.show, watch.state.show)
            report = trio.run(run, wanted)
        with ignored():
            watch.over(report)
            untold = tell(report, files)
    _end(report, untold, otlp)


def _end(report: Mapping[str, Any], untold: Sequence[str], otlp: str | None) -> NoReturn:
    """Send the samples of a report, and leave with the status of its verdict; `untold`: see `tell`."""
    send(report, otlp)
    refuse(untold)
    raise SystemExit(EXIT[report["verdict"]["status"]])


def _load(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"{path} is no report: {error}") from None
    if not isinstance(report, dict) or "verdict" not in report:
        raise click.UsageError(f"{path} is no report of `python -m loadtest run --json`")
    if report["verdict"]["status"] not in EXIT:
        raise ValueError(f"{report['verdict']['status']!r} is no status of a verdict")
    return report


@main.command("merge")
@click.argument("reports", nargs=-1, required=True, type=READABLE)
@output_options
@reading_reports()
def merge_command(reports: tuple[Path, ...], **options: Any) -> None:
    """One report and verdict from the JSON REPORTS of several machines.

    Exit status: 0 pass; 1 fail; 2 invalid, or the reports aren't those of one run.

    \b
    On each machine, at the same --start-at, with --share 1/3, 2/3, 3/3 and one --run-name:
      python -m loadtest run rfc002 --url ... --share 1/3 --start-at 1800000000 --run-name a --json 1.json
    Then:
      python -m loadtest merge 1.json 2.json 3.json --html all.html
    """
    files, otlp = taken(options, *reports), collector(options)
    try:
        report = merge([_load(path) for path in reports])
    except MergeError as error:
        raise click.UsageError(str(error)) from None
    _end(report, tell(report, files), otlp)


@main.command("html")
@click.argument("report", type=READABLE)
@click.argument("page", type=FILE)
@reading_reports()
def html_command(report: Path, page: Path) -> None:
    """Turn the JSON REPORT of a run into an HTML PAGE.

    \b
    python -m loadtest html report.json report.html
    """
    writable(page, read=[report])
    refuse(save(_load(report), {"html": page}))


@main.command("export")
@click.argument("report", type=READABLE)
@output_options
@reading_reports()
def export_command(report: Path, **options: Any) -> None:
    """Write the JSON REPORT of a run in other forms, or send its samples.

    Exit status: 0; 2 where a file can't be written, or the collector takes no samples.

    \b
    python -m loadtest export report.json --junit junit.xml --csv samples.csv
    python -m loadtest export report.json --otlp http://HOST:4318
    """
    files, otlp, loaded = taken(options, report), collector(options), _load(report)
    if not files and otlp is None:
        raise click.UsageError("say in which form: --csv FILE, --html FILE, --otlp URL, ...")
    untold = save(loaded, files)
    sent = send(loaded, otlp)
    refuse(untold)
    if not sent:
        raise SystemExit(2)


@main.command("baseline")
@click.argument("name")
@click.argument("report", type=READABLE)
@click.option("--baselines", type=FOLDER, default=BASELINES, show_default=True, help="Where they are kept.")
@reading_reports()
def baseline_command(name: str, report: Path, baselines: Path) -> None:
    """Keep the JSON REPORT of a run as the baseline NAME, for `compare --baseline NAME`.

    One of an invalid run isn't kept: it says nothing that another could be compared with.

    \b
    python -m loadtest baseline main before.json
    """
    path = baseline(baselines, name)
    made = _load(report)
    verdict = made["verdict"]
    if verdict["status"] == "invalid":
        raise NoRun(f"{report} is no baseline: its run is invalid: {'; '.join(verdict['reasons'][:2])}")
    try:
        baselines.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{baselines} can't be made: {error.strerror}") from None
    writable(path)
    write(path, json.dumps(made))
    console.print(f"baseline: {path}", style="dim")


@main.command("compare")
@click.argument("reports", nargs=-1, required=True, type=READABLE)
@click.option("--baseline", "name", help="Compare with the baseline of this name; then give AFTER alone.")
@click.option("--baselines", type=FOLDER, default=BASELINES, show_default=True, help="Where they are kept.")
@number_option("--threshold", "A regression is worse by more than this share.", default=0.1)
@reading_reports()
def compare_command(reports: tuple[Path, ...], name: str | None, baselines: Path, threshold: float) -> None:
    """What changed from report BEFORE to report AFTER, beyond noise.

    Exit status: 0; 1 on a regression: a fault that came more often, a verdict that fell to fail, a figure
    that got worse; 2 where one of the runs is invalid, so that its figures say nothing, or is no report.

    \b
    python -m loadtest compare before.json after.json
    python -m loadtest compare --baseline main after.json
    """
    stored = [] if name is None else [baseline(baselines, name)]
    if stored and not stored[0].is_file():
        kept_by = f"python -m loadtest baseline {name} REPORT"
        raise click.UsageError(f"there is no {stored[0]}: keep one with `{kept_by}`")
    if len(stored) + len(reports) != 2:
        raise click.UsageError("give two reports, or one and --baseline NAME")
    old, new = (_load(path) for path in (*stored, *reports))
    for line in differences_of_place(old, new):
        console.print(f"note: {line}", style="yellow")
    changes = compare(old, new, threshold)
    _print_changes(changes)
    console.print(f"verdict: {old['verdict']['status']} -> {new['verdict']['status']}", style="bold")
    nothing, faults = says_nothing(old, new), faults_grown(old, new)
    for line in faults:
        console.print(line, style="bold red")
    found = [] if nothing else [change for change in changes if change.regression]
    if found or faults or verdict_fell(old, new):
        console.print(f"{len(found)} figure(s) worse by more than {threshold:.0%}", style="bold red")
        raise SystemExit(1)
    if nothing:
        raise NoRun("; ".join(nothing))
    console.print(f"no regression beyond {threshold:.0%}", style="green")


def _print_changes(changes: Sequence[Change]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("", "before", "after", "change", ""):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for change in changes:
        table.add_row(*_comparison(change))
    console.print(table)


def _comparison(change: Change) -> tuple[str, str, str, str, str]:
    if change.regression:
        word = "[bold red]worse[/]"
    elif not change.significant:
        word = "[dim]noise[/]"
    else:
        word = "[green]better[/]" if change.relative * change.figure.better > 0 else "changed"
    unit = change.figure.unit
    before, after = (
        size(value) if unit == "bytes" else f"{number(value)} {unit}".rstrip()
        for value in (change.before, change.after)
    )
    return change.figure.name, before, after, f"{change.relative:+.1%}", word


main.add_command(agent_command)
main.add_command(sweep_command)
main.add_command(calibrate_command)
main.add_command(simulate_command)
main.add_command(plan_command)
