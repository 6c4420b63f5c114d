"""A whole cluster on this machine under the load harness while something breaks; exit status 0 if all pass.

\b
python -m benchmarks.faults --list                        the drills
python -m benchmarks.faults --drill all                   each of them once, about a minute each
python -m benchmarks.faults --drill takeover --scale 0.2  15,000 come back at once, times this
python -m benchmarks.faults --drill worker --repeat 3     one of them, three times
python -m benchmarks.faults --drill none --scenario headline --rate-scale 0.334
python -m benchmarks.faults --drill none --scenario connections --scale 1.7

The servers are started for each run, on free ports of loopback: Redis (two or three where the drill
needs them, or a cluster of three masters and three replicas), PostgreSQL as the archive, one or two
nodes of two workers, HAProxy before two. The outage and the time to recover are what the harness's users saw
(docs/how-to/run-a-load-test.md#outages).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console

from benchmarks.faults.bystanders import Bystanders, told
from benchmarks.faults.cluster import Cluster, Shape, running
from benchmarks.faults.drills import DRILLS, Drill
from benchmarks.faults.table import summary, table
from gateway.errors import first_of
from loadtest.cli.options import scenario_of, take_any_letters
from loadtest.coordinator import run
from loadtest.observe import scrape
from loadtest.options import Action, Options, RunError
from loadtest.report.page import render
from loadtest.report.terminal import LiveView, print_report
from loadtest.scenario import Scenario

KEPT_METRICS = (
    "gateway_archive",
    "gateway_worker",
    "gateway_conflicts",
    "gateway_bus",
    "gateway_batches",
    "gateway_commit",
    "gateway_loop",
    "gateway_gc",
    "gateway_accept",
    "gateway_connections",
    "websocket_connections",
    "websocket_message_latency",
)
PROFILE_RATE_HZ = 200
EVERYDAY = "drill"
# Bystanders come so long before it breaks.
WATCHED_BEFORE_S = 10.0
PIPE_WIDTH = 200
console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the drills are run."""

    scenario: Scenario
    at_s: float  # of the drill
    profile: Path | None
    profile_s: float


async def drilled(drill: Drill, wanted: Wanted) -> dict[str, Any]:
    """The harness's report of one drill, with the node's metrics at the end as `metrics`."""
    async with running(drill.shape, wanted.scenario.server) as cluster, trio.open_nursery() as beside:
        actions, bystanders = [], Bystanders(drill.spares)
        if drill.watched:
            come = partial(_begin, beside, partial(bystanders.watch, cluster))
            actions.append(Action("bystanders", max(0.0, wanted.at_s - WATCHED_BEFORE_S), come))
        if drill.disrupt is not None:
            actions.append(Action(drill.name, wanted.at_s, partial(_disrupt, drill, cluster, bystanders)))
        if wanted.profile is not None:
            actions.append(Action("profile", wanted.at_s, partial(_profile, cluster, wanted)))
        with LiveView(console) as live:
            options = Options(
                wanted.scenario,
                url=cluster.url,
                secret=cluster.secret,
                admin_url=cluster.admin_url,
                pids=cluster.pids,
                actions=actions,
                on_progress=live.show,
            )
            report = await run(options)
            if drill.watched:
                p95_max_ms = wanted.scenario.targets.delivery_p95_ms
                bystanders.judge(report, drill.name, p95_max_ms, trio.current_time())
        metrics = await trio.to_thread.run_sync(scrape, cluster.admin_url)
        report["metrics"] = {name: value for name, value in metrics.items() if name.startswith(KEPT_METRICS)}
        report["logs"] = {node.log.stem: node.log.read_text()[-20_000:] for node in cluster.nodes}
        beside.cancel_scope.cancel()
    return report


async def _disrupt(drill: Drill, cluster: Cluster, bystanders: Bystanders) -> None:
    assert drill.disrupt is not None
    bystanders.broken_s = trio.current_time()
    await drill.disrupt(cluster)


async def _begin(nursery: trio.Nursery, work: Callable[[], Awaitable[None]]) -> None:
    nursery.start_soon(work)
    await trio.lowlevel.checkpoint()


async def _profile(cluster: Cluster, wanted: Wanted) -> None:
    """Have py-spy sample a worker (where it is installed and may); its raw stacks go to the file."""
    worker = cluster.nodes[0].workers()[0]
    words = [_py_spy(), "record", "--pid", str(worker.pid), "--duration", f"{wanted.profile_s:.0f}"]
    words += ["--rate", str(PROFILE_RATE_HZ), "--format", "raw", "--output", str(wanted.profile)]
    done = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        console.print(f"no profile: {bytes(done.stderr).decode()[-300:]}", style="yellow")


def _py_spy() -> str:
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    found = shutil.which("py-spy", path=path)
    if found is None:
        raise click.UsageError("--profile needs py-spy: pip install py-spy")
    return found


def _shaped(drill: Drill, archive: bool, settings: Sequence[str]) -> Drill:
    pairs = dict(one.split("=", 1) for one in settings)
    shape: Shape = replace(drill.shape, archive=drill.shape.archive and archive)
    return replace(drill, shape=replace(shape, settings={**shape.settings, **pairs}))


def _list() -> None:
    for drill in DRILLS.values():
        console.print(f"[bold]{drill.name:<10}[/]{drill.description}")


def _chosen(names: Sequence[str]) -> list[Drill]:
    if "all" in names:
        return [one for one in DRILLS.values() if one.disrupt is not None and one.scenario == EVERYDAY]
    return [DRILLS[name] for name in names]


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--list", "listing", is_flag=True, help="Name the drills.")
@click.option(
    "--drill", "names", multiple=True, type=click.Choice([*DRILLS, "all"]), help="Which; may be repeated."
)
@click.option("--repeat", default=1, show_default=True, help="Run each so often.")
@click.option("--scenario", help="A name of `python -m loadtest list`, or a file.  [default: the drill's]")
@click.option("--scale", default=1.0, help="Users, documents and rates, times this.")
@click.option("--rate-scale", default=1.0, help="Rates of edits alone, times this.")
@click.option("--duration-scale", default=1.0, help="Lengths of the stages, times this.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Generator processes.  [default: one for 15,000 connections]",
)
@click.option(
    "--at", "at_s", type=float, help="Break it so many seconds into the run.  [default: the drill's]"
)
@click.option("--archive/--no-archive", default=True, help="With PostgreSQL or without.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the gateway.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures there.")
@click.option("--html", "html", type=click.Path(path_type=Path), help="Directory for a page a run.")
@click.option(
    "--profile", type=click.Path(path_type=Path), help="Profile a worker with py-spy into this file."
)
@click.option("--profile-s", default=8.0, show_default=True, help="For so long, from --at on.")
def main(
    listing: bool,
    names: tuple[str, ...],
    repeat: int,
    scenario: str | None,
    scale: float,
    rate_scale: float,
    duration_scale: float,
    processes: int | None,
    at_s: float | None,
    archive: bool,
    settings: tuple[str, ...],
    json_file: Path | None,
    html: Path | None,
    profile: Path | None,
    profile_s: float,
) -> None:
    if listing or not names:
        _list()
        return
    if profile is not None:
        _py_spy()
    take_any_letters()
    summaries = []
    for drill in _chosen(names):
        loaded = scenario_of(scenario or drill.scenario, scale, duration_scale, rate_scale)
        if processes:
            loaded = replace(loaded, generator=replace(loaded.generator, processes=processes))
        at = (drill.at_s if at_s is None else at_s) * duration_scale
        wanted = Wanted(loaded, at, profile, profile_s)
        for time in range(1, repeat + 1):
            label = f"{drill.name} {time}" if repeat > 1 else drill.name
            console.print(f"\n[bold]{label}[/]: {drill.description}")
            report = _run(_shaped(drill, archive, settings), wanted)
            print_report(report, console)
            if "bystanders" in report:
                console.print(told(report["bystanders"]))
            made = summary(label, report)
            summaries.append(
                {
                    **made,
                    "outages": report["outages"],
                    "bystanders": report.get("bystanders"),
                    "metrics": report["metrics"],
                }
            )
            _save(summaries, json_file, html, label, report)
    console.print(table(summaries))
    raise SystemExit(0 if all(one["verdict"] == "pass" for one in summaries) else 1)


def _run(drill: Drill, wanted: Wanted) -> dict[str, Any]:
    """The report; raises ClickException where the run couldn't take place."""
    why = ""
    try:
        return trio.run(drilled, drill, wanted)
    except* RunError as group:
        why = str(first_of(group))
    raise click.ClickException(why)


def _save(
    summaries: Sequence[dict[str, Any]],
    json_file: Path | None,
    html: Path | None,
    label: str,
    report: dict[str, Any],
) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(summaries, indent=1))
    if html is not None:
        html.mkdir(parents=True, exist_ok=True)
        name = label.replace(" ", "-")
        (html / f"{name}.html").write_text(render(report), "utf-8")
        (html / f"{name}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
