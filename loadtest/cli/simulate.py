"""The commands that calibrate, and that simulate clusters nobody can run here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import trio
from rich.table import Table

from loadtest.capacity.calibrate import calibrate
from loadtest.capacity.plan import PlanError, check_masters, check_viewers
from loadtest.capacity.prices import PriceError, load_prices
from loadtest.cli.errors import no_run
from loadtest.cli.options import FILE, READABLE, console, factor_option, model_of, number_option
from loadtest.cli.outputs import keep, mention, writable, write
from loadtest.coordinator import run
from loadtest.options import Options
from loadtest.scenario import Scenario
from loadtest.simulate import study as studies
from loadtest.simulate.cluster import Cluster
from loadtest.simulate.page import event_rows, plan_rows, render, stated_text
from loadtest.simulate.study import Objective, StudyError


@click.command("calibrate")
@number_option("--hold-s", "Length of each measured stage.", 0.1, default=8)
@factor_option("--scale", "Users and rates, times this.")
@number_option(
    "--compressed-share",
    "Of the users: their connections have permessage-deflate, and so have the plan's.",
    0,
    1,
    0,
)
@click.option("--json", "json_file", type=FILE, required=True, help="Write the calibration.")
def calibrate_command(hold_s: float, scale: float, compressed_share: float, json_file: Path) -> None:
    """Measure what a connection, an edit, a delivery and a connect cost, one at a time.

    Twenty short runs, each against a gateway of its own, about six minutes. `plan` and `simulate` read the
    file; sweeps may be given beside it. Runs that don't pass are told: mistrust what they measured.

    Exit status: 0; 2 where a run couldn't take place, or was ended early.

    \b
    python -m loadtest calibrate --json costs.json
    """
    writable(json_file)

    async def one(scenario: Scenario) -> Mapping[str, Any]:
        return await run(Options(scenario))

    async def all_runs() -> dict[str, Any]:
        return await calibrate(scale, hold_s, one, mention, compressed_share)

    with no_run():
        found = trio.run(all_runs)
    keep(found, json_file)


@click.command("simulate")
@click.argument("calibrations", nargs=-1, required=True, type=READABLE)
@number_option("--connections", "At the peak.", 1, 100_000_000, required=True)
@number_option("--ops-per-user-s operations_per_user_s", "Edits.", 0, 1000, required=True)
@number_option("--viewers", "How many others see an edit.", 0, 10_000_000, required=True)
@number_option("--p95-ms", "Delivery target.", 0.001, 600_000, 200)
@click.option(
    "--survive",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="Nodes that may fail at once.",
)
@click.option("--prices", default="rfc002", show_default=True, help="A price list: a name, or a TOML file.")
@click.option("--nodes", type=click.IntRange(1, studies.NODES_MAX), help="Judge a plan of so many nodes too.")
@click.option(
    "--redis-masters", type=click.IntRange(1, 1000), help="Of that plan.  [default: as many as needed]"
)
@click.option("--plan-name", default="yours", show_default=True, help="What that plan is called.")
@number_option("--hot-readers", "Of one document, at once.", 0, 10_000_000, 0, show_default=False)
@number_option("--documents", "Changed within 48 h.  [default: connections / (viewers + 1)]", 1, 1e12)
@number_option("--connections-a-worker", "Its connections_max.", 1, 10_000_000, 19_000)
@click.option(
    "--seeds", type=click.IntRange(1, 200), default=5, show_default=True, help="How often each is simulated."
)
@click.option("--day/--no-day", "with_day", default=False, help="Nodes for each hour of a day too.")
@click.option("--json", "json_file", type=FILE, help="Write the study as JSON.")
@click.option("--html", "html_file", type=FILE, help="Write it as one HTML page with pictures.")
def simulate_command(
    calibrations: tuple[Path, ...],
    prices: str,
    nodes: int | None,
    redis_masters: int | None,
    plan_name: str,
    with_day: bool,
    json_file: Path | None,
    html_file: Path | None,
    **wanted: Any,
) -> None:
    """Simulate clusters for a load, from CALIBRATIONS (of `calibrate` and `sweep`): the cheapest, and yours.

    Workers and Redis masters are queues, edits and connects their jobs. Each plan goes through steady state,
    the loss of a node, a zone and a Redis master, a rolling upgrade, everybody coming back at once, and a hot
    document; each several times, with other seeds and other resamples of the costs, whose spread is shown.

    Exit status: 0; 1 where nothing reaches the target; 2 for wrong options and files.

    \b
    python -m loadtest simulate costs.json --connections 100000 --ops-per-user-s 0.1 --viewers 4
    python -m loadtest simulate costs.json --connections 3000 --ops-per-user-s 0.1 --viewers 4 --nodes 2 --day
    """
    writable(json_file, html_file, read=[*calibrations, Path(prices)])
    try:
        found = _study(calibrations, prices, nodes, redis_masters, plan_name, with_day, wanted)
    except (PlanError, PriceError) as error:
        raise click.UsageError(str(error)) from None
    except StudyError as error:
        raise click.ClickException(str(error)) from None
    _print(found)
    if json_file:
        write(json_file, json.dumps(found))
    if html_file:
        write(html_file, render(found))
        console.print(f"report: {html_file}", style="dim")


def _study(
    calibrations: tuple[Path, ...],
    prices_name: str,
    nodes: int | None,
    masters: int | None,
    plan_name: str,
    with_day: bool,
    wanted: Mapping[str, Any],
) -> dict[str, Any]:
    check_viewers(wanted["viewers"], wanted["connections"])
    model = model_of(calibrations)
    prices = load_prices(prices_name)
    objective = Objective(
        wanted["p95_ms"], wanted["survive"], wanted["connections_a_worker"], wanted["seeds"]
    )
    load = Cluster(
        wanted["connections"],
        wanted["operations_per_user_s"],
        wanted["viewers"],
        nodes or 1,
        prices.nodes[0].cores,
        hot_readers=wanted["hot_readers"],
        documents=wanted["documents"],
    )
    load = replace(load, redis_masters=studies.masters_for(load, prices.redis[0]))
    check_masters(load.redis_masters)
    machines, ours = studies.cheapest(load, model, prices, objective)
    plans = [studies.judged("cheapest", ours, model, machines, prices, objective)]
    marks = studies.extrapolated("cheapest", ours, model, objective)
    if nodes is not None:
        given = replace(load, redis_masters=masters or load.redis_masters)
        first = studies.Machines(prices.nodes[0], prices.redis[0])
        plans.append(studies.judged(plan_name, given, model, first, prices, objective))
        marks += studies.extrapolated(plan_name, given, model, objective)
    return {
        "format": 1,
        "wanted": dict(wanted),
        "objective": asdict(objective),
        "prices": prices.name,
        "stated": dict(prices.stated),
        "stated_connections": prices.stated_connections,
        "plans": plans,
        "day": studies.day(ours, model, machines, prices, objective) if with_day else None,
        "extrapolated": [*marks, *studies.assumed(ours, model)],
    }


def _print(study: Mapping[str, Any]) -> None:
    plans = study["plans"]
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("", *(plan["name"] for plan in plans)):
        table.add_column(name)
    for row in plan_rows(plans):
        table.add_row(*row)
    console.print(table)
    if stated := stated_text(study):
        console.print(stated, style="dim")
    for plan in plans:
        events = Table(
            title=f"\n{plan['name']}", box=None, padding=(0, 2), title_justify="left", header_style="dim"
        )
        for name in ("", "p95", "CPU of a worker", "recovered after"):
            events.add_column(name)
        for row in event_rows(plan):
            events.add_row(*row)
        console.print(events)
    if study["day"]:
        day = study["day"]
        console.print(
            f"\nover a day: {min(day['nodes'])} to {day['peak']} nodes; ${day['scaled_month']:,.0f} a month "
            f"for nodes instead of ${day['fixed_month']:,.0f}"
        )
    for mark in study["extrapolated"]:
        console.print(f"  extrapolated or assumed: {mark}", style="yellow")
