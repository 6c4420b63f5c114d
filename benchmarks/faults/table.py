"""What the drills found, as a table and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from loadtest.evidence import COUNTED
from loadtest.report.figures import cores, milliseconds, number, seconds, size

HEADINGS = ("lost", "gaps", "twice", "order", "diverged", "undo", "malformed", "unread")  # of COUNTED
STYLES = {"pass": "green", "fail": "bold red", "invalid": "bold yellow"}


def summary(drill: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one run that the table shows, and what a reader of the JSON wants first."""
    outages, counts, series = report["outages"], report["counts"], report["series"]
    recoveries = [one["recovered_s"] for one in outages]
    waits = [point["ack_ms"]["max"] or 0.0 for point in series]
    return {
        "drill": drill,
        "verdict": report["verdict"]["status"],
        "reasons": report["verdict"]["reasons"],
        "faults": {name: report["verdict"][name] for name in COUNTED},
        "operations_per_s": report["rates"]["operations_per_s"],
        "deliveries_per_s": report["rates"]["deliveries_per_s"],
        "delivery_p95_ms": report["latency_ms"]["delivery"]["p95"],
        "delivery_p99_ms": report["latency_ms"]["delivery"]["p99"],
        "acknowledged": counts.get("acks", 0) + counts.get("nothing_to_undo", 0),
        "scheduled": counts.get("scheduled", 0),
        "outage_s": sum(one["duration_s"] for one in outages),
        "silent_s": sum(one["silent_s"] for one in outages),
        "recovered_s": None if None in recoveries else sum(recoveries),
        "wait_max_ms": max(waits, default=None),
        "disconnected": counts.get("disconnected", 0) + counts.get("goaways", 0),
        "resent": counts.get("resent", 0),
        "server_cpu_cores": report["server"]["cpu_cores"],
        "backing_cpu_cores": report["server"]["backing_cpu_cores"],
        "generator_cpu_cores": report["generator"]["cpu_cores"],
        "others_cores": report["generator"]["others_cores"],
        "pss_bytes": report["server"]["pss_bytes"],
        "kernel_socket_bytes": report["server"]["kernel_socket_bytes"],
        "memory_a_connection": report["server"]["memory_a_connection"],
        "steps_ms": report["server"]["steps_ms"],
        "connections": report["connections"]["peak"],
    }


def table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """A line a run."""
    made = Table(box=None, padding=(0, 1), header_style="dim")
    made.add_column("drill")
    made.add_column("verdict")
    for name in ("op/s", "deliv./s", "p95", *HEADINGS, "outage", "silent", "recovered", "longest wait"):
        made.add_column(name, justify="right")
    for name in ("reconnects", "resent", "gateway", "backing", "PSS"):
        made.add_column(name, justify="right")
    for one in summaries:
        made.add_row(*_cells(one))
    return made


def _cells(one: Mapping[str, Any]) -> list[str]:
    verdict = one["verdict"]
    return [
        one["drill"],
        f"[{STYLES[verdict]}]{verdict}[/]",
        number(one["operations_per_s"]),
        number(one["deliveries_per_s"]),
        milliseconds(one["delivery_p95_ms"]),
        *(str(one["faults"][name]) for name in COUNTED),
        seconds(one["outage_s"]),
        seconds(one["silent_s"]),
        seconds(one["recovered_s"]),
        milliseconds(one["wait_max_ms"]),
        number(one["disconnected"]),
        number(one["resent"]),
        cores(one["server_cpu_cores"]),
        cores(one["backing_cpu_cores"]),
        size(one["pss_bytes"]),
    ]
