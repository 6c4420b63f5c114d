"""The report as one HTML page without anything outside it: the verdict first, then pictures, then tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from loadtest.evidence import COUNTED, NAMES
from loadtest.report.charts import Chart, Series, svg
from loadtest.report.figures import compression_text, cores, duration, milliseconds, number, seconds, size

Data = Mapping[str, Any]
TEMPLATE = Path(__file__).with_name("page.html")
PERCENTILE_TICKS = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
WIRE = ("received_bytes", "sent_bytes", "message_bytes")
HEADLINES = {
    "pass": "Pass: nothing was lost, everyone converged, every target was met",
    "fail": "Fail",
    "invalid": "Invalid: this run says nothing about the server",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], style: str = "wide") -> str:
    """A table whose first column is text and whose others are figures."""
    cells = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(f"<tr>{_cells(head, row)}</tr>" for row in rows)
    return f'<div class="{style}"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(head: Sequence[str], row: Sequence[str]) -> str:
    """A row's cells, each with its column's name, which a narrow page shows beside it."""
    named = zip(head, row, strict=True)
    return "".join(f'<td data-name="{escape(name)}">{escape(one)}</td>' for name, one in named)


def _tile(name: str, value: str, note: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span><i>{escape(note)}</i></div>'


def _verdict(report: Data) -> str:
    verdict = report["verdict"]
    status = verdict["status"]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict["reasons"])
    notes = "".join(f"<li>{escape(note)}</li>" for note in verdict["notes"])
    parts = [f'<section class="verdict {status}"><h1>{escape(HEADLINES[status])}</h1>']
    if reasons:
        parts.append(f"<ul>{reasons}</ul>")
    faults = "".join(
        f'<span class="{"bad" if verdict[name] else "good"}" title="{escape(NAMES[name])}">'
        f"{escape(name.replace('_', ' '))} <b>{verdict[name]:,}</b></span>"
        for name in COUNTED
        if name in verdict
    )
    parts.append(f'<p class="faults">{faults}</p>')
    if notes:
        parts.append(f"<details><summary>Notes</summary><ul>{notes}</ul></details>")
    return "".join(parts) + "</section>"


def _tiles(report: Data) -> str:
    rates, latency, connections = report["rates"], report["latency_ms"], report["connections"]
    server, generator = report["server"], report["generator"]
    excused = connections["deferred"] + connections.get("given_up", 0)
    share = connections["succeeded"] / max(connections["attempted"] - excused, 1)
    delivery = latency["delivery"]
    return "".join(
        (
            _tile("operations a second", number(rates["operations_per_s"]), "acknowledged"),
            _tile("deliveries a second", number(rates["deliveries_per_s"]), "broadcasts received"),
            _tile("delivery p95", milliseconds(delivery["p95"]), f"p99 {milliseconds(delivery['p99'])}"),
            _tile("answer p95", milliseconds(latency["ack"]["p95"]), "from the intended time"),
            _tile("connections", number(connections["peak"]), f"{share:.2%} of attempts succeeded"),
            _tile("server CPU, cores", number(server["cpu_cores"]), "mean over the run"),
            _tile("server memory", size(server["rss_bytes"]), "RSS, peak"),
            _tile(
                "generator CPU, cores",
                number(generator["cpu_cores"]),
                f"lag p99 {milliseconds(generator['lag_p99_ms'])}",
            ),
        )
    )


def _bands(report: Data) -> list[tuple[str, float, float]]:
    return [(one["name"], one["start_s"], one["start_s"] + one["duration_s"]) for one in report["stages"]]


def _by_percentile(report: Data) -> Chart:
    """HdrHistogram's plot: x is 1 / (1 - percentile)."""
    series = [
        Series(name, [(x, y) for x, y in report["curves"][name] if y > 0])
        for name in ("delivery", "ack")
        if report["curves"][name]
    ]
    most = max((x for one in series for x, _ in one.points), default=10)
    ticks = [tick for tick in PERCENTILE_TICKS if tick <= most * 10] or [1, 10]

    def percentile(value: float) -> str:
        return "0 %" if value <= 1 else f"{100 * (1 - 1 / value):.10g} %"

    return Chart(
        "Latency by percentile",
        series,
        "percentile",
        milliseconds,
        percentile,
        x_log=True,
        y_log=True,
        x_ticks=ticks,
    )


def _over_time(report: Data, metric: str, names: Sequence[str]) -> list[Series]:
    return [
        Series(name, [(p["at_s"], p[metric][name]) for p in report["series"] if p[metric][name] is not None])
        for name in names
    ]


def _points(series: Sequence[Data], name: str) -> list[tuple[float, float]]:
    return [(p["at_s"], p[name]) for p in series if p.get(name) is not None and p["at_s"] >= 0]


def _shades(report: Data) -> list[tuple[str, float, float]]:
    """Outages, to the end of the recovery."""
    end_s = report["series"][-1]["at_s"] if report["series"] else 0.0
    return [
        ("outage", one["from_s"], end_s if one["until_s"] is None else one["until_s"])
        for one in report["outages"]
    ]


def _charts(report: Data) -> list[Chart]:
    series, server = report["series"], report["server_series"]
    rates = [
        Series("operations/s", _points(series, "operations_per_s")),
        Series("deliveries/s", _points(series, "deliveries_per_s")),
    ]
    cores = [
        Series("server", _points(server, "cpu_cores")),
        Series("generator", _points(series, "generator_cpu_cores")),
    ]
    memory = [Series("RSS", [(at_s, value / (1 << 20)) for at_s, value in _points(server, "rss_bytes")])]
    timed = partial(Chart, x_label="seconds", bands=_bands(report), shades=_shades(report))
    return [
        _by_percentile(report),
        timed(
            "Delivery latency over time",
            _over_time(report, "delivery_ms", ("p50", "p95", "p99")),
            y_text=milliseconds,
            lines=_targets(report),
            y_log=True,
        ),
        timed("Rates", rates, y_text=number),
        timed("Connections", [Series("connected", _points(series, "connections"))], y_text=number),
        timed("CPU (cores)", cores, y_text=lambda value: f"{value:.2f}"),
        timed("Server memory (MiB)", memory, y_text=number),
    ]


def _targets(report: Data) -> list[tuple[str, float]]:
    """Marks at the latencies that the scenario wants."""
    targets = report["environment"]["scenario"]["targets"]
    wanted = {name: targets.get(f"delivery_{name}_ms") for name in ("p95", "p99")}
    return [(f"target {name}", most) for name, most in wanted.items() if most]


def _outage_section(report: Data) -> str:
    """What was done to the server in the run, and the outages; nothing where there were none."""
    done = [
        f"{one['name']} at {seconds(one['at_s'])}"
        + ("" if one["until_s"] is None else f" (until {seconds(one['until_s'])})")
        for one in report["disruptions"]
    ]
    if not done and not report["outages"]:
        return ""
    rows = [
        [
            f"at {seconds(one['from_s'])}",
            seconds(one["duration_s"]),
            seconds(one["silent_s"]),
            "not by the end" if one["recovered_s"] is None else seconds(one["recovered_s"]),
            milliseconds(one["wait_max_ms"]),
        ]
        for one in report["outages"]
    ]
    head = ("outage", "edits unanswered or undelivered", "of it silent", "recovered after", "longest wait")
    shown = table(head, rows) if rows else "<p>No outage.</p>"
    said = f"<p>Done to the server: {escape('; '.join(done))}.</p>" if done else ""
    return f"<h2>Outages</h2>{said}{shown}"


def _stage_table(report: Data) -> str:
    rows = []
    for one in report["stages"]:
        rates, latency, server, own = one["rates"], one["latency_ms"], one["server"], one["generator"]
        rows.append(
            [
                one["name"] + ("" if one["measured"] else " (not measured)"),
                duration(one["duration_s"]),
                number(one["connections"]),
                number(rates["operations_per_s"]),
                number(rates["deliveries_per_s"]),
                *(milliseconds(latency["delivery"][name]) for name in ("p50", "p95", "p99", "max")),
                milliseconds(latency["ack"]["p95"]),
                cores(server["cpu_cores"]),
                size(server["rss_bytes"]),
                size(server["kernel_socket_bytes"]),
                cores(own["cpu_cores"]),
                milliseconds(own["lag_p99_ms"]),
            ]
        )
    head = "stage,length,connections,operations/s,deliveries/s,delivery p50,delivery p95,delivery p99"
    head += ",delivery max,ack p95,server CPU,RSS,socket buffers,generator CPU,generator lag p99"
    return table(head.split(","), rows, "wide stages")


def _steps_table(report: Data) -> str:
    steps = report["server"]["steps_ms"]
    if not steps:
        return "<p>The server's metrics don't tell (no admin address, or another server).</p>"
    rows = [[step, milliseconds(one["mean"]), f"≤ {milliseconds(one['p95'])}"] for step, one in steps.items()]
    return table(["step of an edit", "mean", "p95"], rows)


def _latency_table(report: Data) -> str:
    rows = [
        [name, *(milliseconds(one[key]) for key in ("p50", "p95", "p99", "max")), number(one["count"])]
        for name, one in report["latency_ms"].items()
    ]
    return table(["", "p50", "p95", "p99", "max", "count"], rows)


def _memory_table(report: Data) -> str:
    one = report["server"].get("memory_a_connection")
    if not one:
        return "<p>Too few connections to tell what one costs.</p>"
    rows = [
        ["PSS of the process", size(one["pss_bytes"])],
        ["socket buffers (server's side)", size(one["socket_buffer_bytes"])],
        ["slab: socket, file, epoll entry", size(one["slab_bytes"])],
    ]
    return table([f"a connection, of {number(one['connections'])}", "bytes"], rows)


def _compression_section(report: Data) -> str:
    """Who got permessage-deflate, and what it saved; nothing where nobody offered it."""
    one = report.get("compression")
    if not one:
        return ""
    rows = [
        [name, number(part["messages"]), *(size(part[what]) for what in WIRE)]
        for name, part in ((name, one[name]) for name in ("compressed", "uncompressed"))
    ]
    head = ("connections", "messages received", "bytes received", "bytes sent", "a message received")
    said = f"{number(one['connections'])} connections had permessage-deflate: {compression_text(one)}."
    return f"<h2>Compression</h2><p>{escape(said)}</p>{table(head, rows)}"


def _counts_table(report: Data) -> str:
    rows = [
        [name.replace("_", " "), number(value)] for name, value in sorted(report["counts"].items()) if value
    ]
    rows += [[f"error: {name}", number(value)] for name, value in sorted(report["errors"].items())]
    rows += [[f"closed with {name}", number(value)] for name, value in sorted(report["closes"].items())]
    return table(["counted", ""], rows)


def _environment_table(report: Data) -> str:
    place = report["environment"]
    rows = [
        ["processor", f"{place['processor']}, {place['cores']} cores"],
        ["memory", size(place["memory_bytes"])],
        ["system", place["system"]],
        ["Python", place["python"]],
        ["gateway", place.get("gateway", "unknown")],
        ["packages", ", ".join(f"{name} {version}" for name, version in place["packages"].items())],
        ["descriptors", f"{place['descriptors']['soft']:,} of {place['descriptors']['hard']:,}"],
        [
            "generator",
            f"{report['generator']['processes']} process(es), {report['generator']['engine']} engine",
        ],
        ["seed", str(place["seed"])],
        *([name, value] for name, value in place["kernel"].items()),
    ]
    return table(["environment", ""], rows)


def render(report: Data) -> str:
    """The page."""
    scenario = report["environment"]["scenario"]
    when = datetime.fromtimestamp(report["started_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    length = duration(sum(stage["duration_s"] for stage in report["stages"]))
    fields = {
        "title": escape(f"{scenario['name']}: {report['verdict']['status']}"),
        "name": escape(scenario["name"]),
        "description": escape(scenario["description"]),
        "when": escape(f"{when} · {length} · seed {scenario['seed']}"),
        "verdict": _verdict(report),
        "tiles": _tiles(report),
        "charts": "".join(f"<figure>{svg(chart)}</figure>" for chart in _charts(report)),
        "outages": _outage_section(report),
        "stages": _stage_table(report),
        "latencies": _latency_table(report),
        "steps": _steps_table(report),
        "memory": _memory_table(report),
        "compression": _compression_section(report),
        "counts": _counts_table(report),
        "environment": _environment_table(report),
        "scenario": escape(json.dumps(scenario, indent=2, ensure_ascii=False)),
    }
    page = TEMPLATE.read_text("utf-8")
    for name, value in fields.items():
        page = page.replace(f"{{{{{name}}}}}", value)
    return page
