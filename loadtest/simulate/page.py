"""A study as one HTML page: plans side by side, what happens when something breaks, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from loadtest.report.charts import Chart, Series, svg
from loadtest.report.figures import milliseconds, number, seconds, size
from loadtest.report.page import TEMPLATE, table
from loadtest.simulate.cluster import EVENT_AT_S

Data = Mapping[str, Any]
WORDS = "wide wrap"  # the style of tables whose cells are words
NAMES = {
    "steady": "steady state",
    "node": "a node is lost",
    "zone": "a zone is lost",
    "redis": "a Redis master is lost",
    "rolling": "rolling upgrade",
    "storm": "everybody comes back at once",
    "hot": "a hot document",
}


def spread(values: Sequence[float], show: Any) -> str:
    """An interval in words."""
    low, middle, high = values
    return f"{show(middle)} ({show(low)} to {show(high)})"


def recovery(event: Data) -> str:
    """How long an event was felt."""
    if event["not_recovered"]:
        return f"not within the simulated time in {event['not_recovered']} run(s)"
    return spread(event["recovered_s"], seconds) if event["recovered_s"] else ""


def plan_rows(plans: Sequence[Data]) -> list[list[str]]:
    """A row for each figure, a column for each plan."""
    rows = [
        ["nodes", *(f"{one['cluster']['nodes']} x {one['node']}" for one in plans)],
        ["workers a node", *(number(one["cluster"]["workers_a_node"]) for one in plans)],
        ["Redis masters, each with a replica", *(number(one["cluster"]["redis_masters"]) for one in plans)],
        ["holds the objective", *("yes" if one["holds"] else "no" for one in plans)],
        ["binds", *(f"{one['binds']}, {one['full'][one['binds']]:.0%} full" for one in plans)],
        [
            "breaks first",
            *(f"{one['breaks']['what']}, at {one['breaks']['at']:.1f} times the load" for one in plans),
        ],
        ["p95, steady", *(spread(one["events"]["steady"]["p95_ms"], milliseconds) for one in plans)],
        ["memory of Redis", *(size(one["redis_bytes"]) for one in plans)],
        ["disk of the archive", *(size(one["disk_bytes"]) for one in plans)],
    ]
    parts = {"nodes": "$ nodes", "redis": "$ Redis", "storage": "$ storage", "transfer": "$ transfer"}
    for part, name in {**parts, "total": "$ a month"}.items():
        rows.append([name, *(f"{one['bill'][part]:,.0f}" for one in plans)])
    rows.append(["$ of 1,000 connections", *(f"{one['bill']['of_1000_connections']:.2f}" for one in plans)])
    return rows


def stated_text(study: Data) -> str:
    """What the price list says that a plan costs; empty where it says nothing."""
    stated = study.get("stated") or {}
    if not stated:
        return ""
    parts = ", ".join(f"${value:,.0f} {name}" for name, value in stated.items())
    total, connections = sum(stated.values()), study["stated_connections"]
    return (
        f"{study['prices']} itself says, for {connections:,.0f} connections: ${total:,.0f} a month ({parts})"
    )


def event_rows(plan: Data) -> list[list[str]]:
    """What each event does to a plan."""
    return [
        [
            NAMES[kind],
            spread(event["p95_ms"], milliseconds),
            spread(event["utilisation"], lambda share: f"{share:.0%}"),
            recovery(event),
        ]
        for kind, event in plan["events"].items()
    ]


def _charts(study: Data) -> str:
    charts = []
    for plan in study["plans"]:
        series = [
            Series(NAMES[kind], [(at_s, max(p95, 0.1)) for at_s, p95 in event["series"]])
            for kind, event in plan["events"].items()
            if event["series"] and kind in ("steady", "node", "storm")
        ]
        chart = Chart(
            f"{plan['name']}: delivery p95",
            series,
            f"seconds; something breaks at {EVENT_AT_S:.0f} s",
            milliseconds,
            y_log=True,
            lines=[("objective", study["objective"]["p95_ms"])],
        )
        charts.append(f"<figure>{svg(chart)}</figure>")
    if study.get("day"):
        hours = [(float(hour), float(nodes)) for hour, nodes in enumerate(study["day"]["nodes"])]
        chart = Chart("Nodes over a day", [Series("nodes", hours)], "hour", number)
        charts.append(f"<figure>{svg(chart)}</figure>")
    return "".join(charts)


def render(study: Data) -> str:
    """The page."""
    wanted, plans = study["wanted"], study["plans"]
    marks = "".join(f"<li>{escape(mark)}</li>" for mark in study["extrapolated"])
    load = f"{wanted['connections']:,.0f} connections, {wanted['operations_per_user_s']:g} edits/s each, "
    load += f"{wanted['viewers']:g} others see an edit"
    happening = "".join(
        f"<h2>{escape(plan['name'])}: when something breaks</h2>"
        + table(("", "p95", "CPU of a worker", "recovered after"), event_rows(plan), WORDS)
        for plan in plans
    )
    head = TEMPLATE.read_text("utf-8").partition("<body>")[0].replace("{{title}}", escape(load))
    seeds = f"{study['objective']['seeds']} seeds; prices: {study['prices']}; intervals from 5 to 95 %"
    return (
        f"{head}<body><main><header><strong>Simulated plans</strong>"
        f"<p>{escape(load)}</p><p>{escape(seeds)}</p></header>"
        f'<div class="charts">{_charts(study)}</div><h2>Plans</h2>'
        + table(("", *(plan["name"] for plan in plans)), plan_rows(plans), WORDS)
        + f"<p>{escape(stated_text(study))}</p>"
        + happening
        + f"<h2>Extrapolated or assumed</h2><ul>{marks}</ul></main></body></html>"
    )
