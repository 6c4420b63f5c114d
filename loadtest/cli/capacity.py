"""The commands that find the knee and answer what a load needs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import trio
from rich.table import Table

from loadtest.capacity.fits import Estimate, FitError
from loadtest.capacity.model import CPU_TERMS, CostModel, fit_usl
from loadtest.capacity.plan import BOUNDS, AbsurdLoad, Answer, PlanError, Wanted, check, monthly, plan
from loadtest.capacity.prices import Machine, PriceError, Prices, load_prices
from loadtest.capacity.sweep import sweep
from loadtest.cli.agents import agents_options, taken_agents
from loadtest.cli.errors import no_run
from loadtest.cli.options import (
    FILE,
    READABLE,
    Decorator,
    console,
    factor_option,
    model_of,
    number_option,
    points_in,
    scenario_of,
    server_options,
    together,
)
from loadtest.cli.outputs import keep, mention, writable, write
from loadtest.cli.watch import Watch, watched
from loadtest.coordinator import run
from loadtest.options import Options
from loadtest.report.figures import cores, milliseconds, number, size
from loadtest.scenario import Scenario

NOTHING_TO_CHECK = (
    "--check: nothing to compare: no stage there has connections that stand and a server started here"
)
Row = tuple[str, str, str]
Throughputs = tuple[tuple[float, float], ...]  # workers of a node, and what they did


def throughput_of(text: str) -> tuple[float, float]:
    """ "2=17000" on the command line: what two workers did."""
    try:
        workers, rate = map(float, text.split("="))
    except ValueError:
        workers = rate = math.nan
    if not (1 <= workers < math.inf and 0 < rate < math.inf):
        raise click.BadParameter(f"{text!r}: write WORKERS=THROUGHPUT, such as 2=17000")
    return workers, rate


@click.command("sweep")
@click.argument("scenario")
@click.option(
    "--vary",
    type=click.Choice(("operations", "connections", "fanout")),
    default="operations",
    show_default=True,
    help="Edits a second, users, or viewers a document.",
)
@number_option("--start", "The first value.", 0.001, 1_000_000_000, required=True)
@number_option("--factor", "From step to step.", 1.001, 1000, 1.5)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True, help="At most so many.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Runs of each step, each with its own seed.",
)
@number_option("--until-p95-ms p95_ms", "The latency target.", default=200)
@number_option("--hold-s", "Length of the measured stage.", 0.1, default=10)
@factor_option("--scale", "The scenario's users and documents, times this.")
@factor_option("--rate-scale", "Its rates of edits, times this.", least=0)
@server_options("each step starts one", admin_for="whole histories")
@agents_options
@click.option("--web", metavar="[HOST:]PORT", help="Serve a page to watch and steer it; 0 is a free port.")
@click.option("--json", "json_file", type=FILE, help="Write the calibration, for `plan`.")
def sweep_command(
    scenario: str,
    scale: float,
    rate_scale: float,
    json_file: Path | None,
    url: str | None,
    admin_url: str | None,
    secret: bytes | None,
    web: str | None,
    **options: Any,
) -> None:
    """Find the knee of SCENARIO: step up until latency, CPU or verdict gives out.

    Each step starts a gateway of its own. With --url all go to that one, whose CPU and memory are unknown
    here, so that a plan can't be made of it.

    Exit status: 0; 1 where the server showed a fault (say, lost an edit) or ended, which ends the sweep at
    once; 2 where it was ended early (Ctrl-C) without one, with the points of the runs before and no knee.

    \b
    python -m loadtest sweep floor --vary operations --start 2000 --factor 1.6 --json operations.json
    python -m loadtest sweep floor --vary connections --rate-scale 0.2 --start 1200 --json connections.json
    """
    base, agents = scenario_of(scenario, scale, rates=rate_scale), taken_agents(options)
    writable(json_file, read=[Path(scenario)])

    async def all_steps(watch: Watch) -> dict[str, Any]:
        async def one(varied: Scenario) -> Mapping[str, Any]:
            wanted = Options(varied, url, secret, admin_url, agents=agents)
            wanted.control, wanted.on_progress = watch.control, watch.state.show
            return await run(wanted)

        def say(text: str) -> None:
            mention(text)
            watch.state.step(text)

        return await sweep(base, run=one, say=say, stopped=lambda: watch.control.stopped, **options)

    with no_run(), watched(web, console) as watch:
        calibration = trio.run(all_steps, watch)
    if json_file:
        keep(calibration, json_file)
    knee = calibration["knee"]
    if knee:
        reached = "none" if knee["value"] is None else number(knee["value"])
        console.print(f"knee: {reached} {options['vary']}; beyond it: {knee['why']}", style="bold")
        if knee["faults"]:
            console.print("the server is at fault: mend that before you measure on", style="bold red")
            raise SystemExit(1)
    raise SystemExit(0 if knee else 2)


def _wanted(
    option: str,
    what: str,
    default: float | None = None,
    name: str = "",
    whole: bool = False,
    required: bool = False,
) -> Decorator:
    """An option for a number of Wanted's, called `name` there, within its bounds."""
    name = name or option.removeprefix("--").replace("-", "_")
    least, most = BOUNDS[name]
    kind = {"type": click.IntRange(int(least), int(most))} if whole else {}
    return number_option(f"{option} {name}", what, least, most, default, required=required, **kind)


_wanted_options = together(
    _wanted("--connections", "Concurrent connections.", required=True),
    _wanted("--ops-per-user-s", "Edits.", name="operations_per_user_s", required=True),
    _wanted("--viewers", "How many others see an edit.", required=True),
    _wanted("--p95-ms", "Delivery target.", 200),
    _wanted("--survive", "Nodes that may fail at once.", 1, whole=True),
    _wanted("--cores-a-node", "Of the machine that is planned with.", 2, whole=True),
    _wanted("--node-memory-gib", "Of the same machine.", 4),
    _wanted("--connections-a-worker", "Its connections_max.", 19_000, whole=True),
    click.option(
        "--scaling",
        type=throughput_of,
        multiple=True,
        metavar="WORKERS=THROUGHPUT",
        help="Measured on one node; three or more of them fit the Universal Scalability Law.",
    ),
    _wanted("--redis-appends-per-s", "Of one master.", 80_000),
    _wanted("--documents", "Changed within 48 h.  [default: connections / (viewers + 1)]"),
    _wanted("--change-bytes", "Of a change, on average.", 170),
    _wanted("--document-bytes", "Of a document.", 1024),
    _wanted("--archive-days", "How long changes are kept.", 30),
)


@click.command("plan")
@click.argument("calibrations", nargs=-1, required=True, type=READABLE)
@_wanted_options
@click.option("--prices", default="rfc002", show_default=True, help="A price list: a name, or a TOML file.")
@click.option("--check", "checks", multiple=True, type=READABLE, help="A run to compare the prediction with.")
@click.option("--json", "json_file", type=FILE, help="Write the answer as JSON.")
def plan_command(
    calibrations: tuple[Path, ...],
    checks: tuple[Path, ...],
    prices: str,
    scaling: Throughputs,
    json_file: Path | None,
    **options: Any,
) -> None:
    """What a load needs, from CALIBRATIONS (of `sweep`; reports of `run --json` count too).

    Costs (CPU a connection, a connect, an operation, a delivery; memory a connection) are fitted with 90 %
    confidence intervals. What goes beyond the measurements, and what is assumed, is said.

    Exit status: 0; 1 where no plan reaches the target; 2 for wrong options and files, or a load that takes
    more machines than anybody has.

    \b
    python -m loadtest plan floor.json storm.json --connections 100000 --ops-per-user-s 0.1 --viewers 4
    python -m loadtest plan floor.json --connections 3000 --ops-per-user-s 0.1 --viewers 4 --check run.json
    """
    writable(json_file, read=[*calibrations, *checks, Path(prices)])
    model, compared = model_of(calibrations), points_in(checks)
    try:
        wanted, listed = Wanted(**options, **_scaling(scaling)), load_prices(prices)
    except (PlanError, PriceError) as error:
        raise click.UsageError(str(error)) from None
    try:
        answer = plan(model, wanted, listed.redis[0], _node(wanted, listed))
    except AbsurdLoad as error:
        raise click.UsageError(str(error)) from None
    except PlanError as error:
        raise click.ClickException(str(error)) from None
    try:
        money = monthly(answer, wanted, listed)
        bill = _bill_rows(money, listed)
    except PriceError as error:
        money, bill = None, [("a month", "unknown", f"{error}: give a list that does (--prices)")]
    _print_model(model)
    _print_answer(answer, model.compression(), bill)
    rows = check(model, compared)
    if rows:
        _print_check(rows)
    elif checks:
        console.print(NOTHING_TO_CHECK, style="yellow")
    if json_file:
        document = {"answer": answer.document(), "money": money, "costs": _costs(model), "check": rows}
        write(json_file, json.dumps(document))


def _node(wanted: Wanted, listed: Prices) -> Machine | None:
    """The machine of a node, where the list has one."""
    with suppress(PriceError):
        return listed.node(wanted.cores_a_node, wanted.node_memory_gib)
    return None


def _scaling(measured: Throughputs) -> dict[str, Any]:
    """sigma and kappa from what was measured; none where nothing was."""
    if not measured:
        return {}
    try:
        sigma, kappa = fit_usl(measured)
    except FitError as error:
        raise click.UsageError(f"--scaling: {error}") from None
    return {"sigma": sigma, "kappa": kappa}


def _interval(one: Estimate, show: Any = number) -> str:
    return f"{show(one.value)} ({show(one.low)} to {show(one.high)})"


def _costs(model: CostModel) -> dict[str, Any]:
    costs: dict[str, Any] = {
        f"cpu_us_of_{term}": model.cost(term).scaled(1e6)._asdict() for term in CPU_TERMS
    }
    base, one = model.memory_bytes(0), model.memory_bytes(1)
    costs["memory_base_bytes"] = base._asdict()
    costs["memory_connection_bytes"] = one.value - base.value
    costs["socket_connection_bytes"] = model.socket_bytes(1)._asdict()
    return costs


def _print_model(model: CostModel) -> None:
    table = Table(
        title="Costs of one worker, 90 % confidence", box=None, padding=(0, 2), title_justify="left"
    )
    table.add_column("")
    table.add_column("", justify="right")
    names = {
        "connections": "an idle connection",
        "connects_per_s": "a connect",
        "operations_per_s": "an operation",
        "deliveries_per_s": "a delivery",
    }
    for term in CPU_TERMS:
        table.add_row(f"CPU of {names[term]}", _interval(model.cost(term).scaled(1e6)) + " us")
    memory = model.memory_bytes(1).value - model.memory_bytes(0).value
    table.add_row("memory of a connection", size(memory))
    edits = model.memory_bytes(0, 1).value - model.memory_bytes(0).value
    table.add_row("memory of an operation/s", size(edits))
    table.add_row("kernel memory of a socket", _interval(model.socket_bytes(1), size))
    table.add_row("memory of the process", size(model.memory_bytes(0).value))
    console.print(table)


def _print_answer(answer: Answer, compression: str, bill: Sequence[Row]) -> None:
    table = Table(title="\nThe plan", box=None, padding=(0, 2), title_justify="left")
    table.add_column("")
    table.add_column("", style="bold", justify="right")
    table.add_column("", style="dim")
    rows = (
        ("nodes", number(answer.nodes), f"{answer.workers_a_node} worker(s) each, spares included"),
        ("workers to carry the load", _interval(answer.workers), f"{answer.binding} binds"),
        ("CPU", _interval(answer.cpu_cores, cores), f"at most {answer.cpu_limit:.2f} cores a worker"),
        ("operations", f"{number(answer.operations_per_s)}/s", ""),
        ("deliveries", f"{number(answer.deliveries_per_s)}/s", ""),
        (
            "memory of a node",
            _interval(answer.memory_a_node_bytes, size),
            "process and sockets, without spares",
        ),
        (
            "bandwidth",
            f"{number(answer.bandwidth_bits_per_s / 1e6)} Mbit/s",
            f"to the clients, {compression}",
        ),
        ("Redis masters", number(answer.redis_masters), f"{number(answer.redis_appends_per_s)} appends/s"),
        ("memory of Redis", size(answer.redis_bytes), "of all masters, to rewrite a file included"),
        ("disk of the archive", size(answer.disk_bytes), "changes and documents"),
        (
            "PostgreSQL",
            f"{number(answer.postgres_rows_per_s)} rows/s",
            f"{number(answer.postgres_transactions_per_s)} transactions/s",
        ),
        _drain_row(answer),
        *bill,
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for name, workers in sorted(answer.workers_by_resource.items(), key=lambda item: -item[1]):
        console.print(f"  {name}: {workers:.2f} workers", style="dim")
    for mark in answer.extrapolated:
        console.print(f"  extrapolated: {mark}", style="yellow")
    for mark in answer.assumed:
        console.print(f"  assumed: {mark}", style="yellow")


def _bill_rows(money: Mapping[str, Any], prices: Prices) -> list[Row]:
    parts = (
        f"{prices.name}: {money['node']} ${money['nodes']:,.0f}, {prices.redis[0].name} "
        f"${money['redis']:,.0f}, disk ${money['storage']:,.0f}, transfer ${money['transfer']:,.0f}"
    )
    return [
        ("a month", f"${money['total']:,.0f}", parts),
        ("a month, for 1,000 connections", f"${money['of_1000_connections']:,.2f}", ""),
    ]


def _drain_row(answer: Answer) -> Row:
    if answer.drain_connections_per_s is None:
        return "a node is lost", "unknown", "add a run of connect-storm: no stage shows what a connect costs"
    rate = f"{number(answer.drain_connections_per_s)} connects/s"
    if answer.drain_s is None:
        return "a node is lost", rate, "the others can take: its users stay away; plan a spare (--survive)"
    back_s, low_s, high_s = answer.drain_s
    between = f"{number(low_s)} s to never" if high_s is None else f"{number(low_s)} to {number(high_s)} s"
    return (
        "a node is lost",
        rate,
        f"the others can take; its users are back in {number(back_s)} s ({between})",
    )


def _print_check(rows: list[dict[str, Any]]) -> None:
    table = Table(title="\nPredicted and measured", box=None, padding=(0, 2), title_justify="left")
    for name in ("stage", "", "predicted", "measured", "off by"):
        table.add_column(name, justify="left" if name in ("stage", "") else "right")
    for row in rows:
        load = f"{number(row['operations_per_s'])} op/s, {number(row['deliveries_per_s'])} deliveries/s"
        table.add_row(row["stage"], load)
        cpu = row["cpu_cores"]
        interval = f"{cpu['predicted']:.2f} ({cpu['low']:.2f} to {cpu['high']:.2f})"
        table.add_row("", "CPU, cores", interval, f"{cpu['measured']:.2f}", _off(cpu))
        for name, figure, show in (("PSS", "pss_bytes", size), ("p95", "p95_ms", milliseconds)):
            one = row[figure]
            between = f" ({show(one['low'])} to {show(one['high'])})" if "low" in one else ""
            table.add_row("", name, show(one["predicted"]) + between, show(one["measured"]), _off(one))
    console.print(table)


def _off(figure: Mapping[str, float | None]) -> str:
    predicted, measured = figure["predicted"], figure["measured"]
    return f"{predicted / measured - 1:+.0%}" if predicted is not None and measured else ""
