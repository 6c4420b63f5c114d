"""The reports of several generator machines, each with its share of one run, as one report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.compression import compression_of
from loadtest.evidence import Findings
from loadtest.histogram import merged
from loadtest.outages import Outage, joined
from loadtest.recorder import FELT, HISTOGRAMS, Sum
from loadtest.scenario import parse
from loadtest.summary import distributions, outages_of, told
from loadtest.verdict import conclude

Data = dict[str, Any]
APART_S_MAX = 1.0
CONNECTIONS = ("connections", "connections_first", "connections_last")  # of a stage


class MergeError(Exception):
    """The reports aren't the shares of one run; the message says why."""


def _check(reports: Sequence[Data]) -> None:
    first = reports[0]
    machines = first["share"][1]
    for one in reports:
        if one["environment"]["scenario"] != first["environment"]["scenario"]:
            raise MergeError("the reports are of different scenarios or seeds")
        for name in ("protocol", "run_name"):
            if one[name] != first[name]:
                raise MergeError(f"the reports differ in their {name}: {first[name]!r} and {one[name]!r}")
    began = [one["started_at"] for one in reports]
    if max(began) - min(began) > APART_S_MAX:
        raise MergeError(
            f"the shares began {max(began) - min(began):.1f} s apart, so they are no load together: give all "
            "machines the same --start-at"
        )
    shares = sorted(one["share"][0] for one in reports)
    if shares != list(range(1, machines + 1)) or any(one["share"][1] != machines for one in reports):
        raise MergeError(f"shares {shares} of {machines}: every share is needed once")


def _sum_of(reports: Sequence[Data], histograms: str) -> Sum:
    """Everything added up, with these of the reports' histograms; of measured stages where they lack them."""
    total = Sum()
    total.seconds = sum(point["span_s"] for point in reports[0]["series"] if point["measured"])
    for one in reports:
        total.counts.update(one["counts"])
        total.cpu_s += one["generator"]["cpu_s"]
        total.peak += one["connections"]["peak"]
    for name in HISTOGRAMS:
        total.histograms[name] = merged([one.get(histograms) or one["histograms"] for one in reports], name)
    return total


def _added(parts: Sequence[Data]) -> Data:
    """Members added up; None counts as nothing."""
    names = parts[0].keys()
    return {name: sum(part.get(name) or 0 for part in parts) for name in names}


def _stage(parts: Sequence[Data]) -> Data:
    total = Sum()
    for name in FELT:
        total.histograms[name] = merged([part["histograms"] for part in parts], name)
    first = parts[0]
    return {
        **first,
        **{name: sum(part[name] for part in parts) for name in CONNECTIONS},
        "rates": _added([part["rates"] for part in parts]),
        "latency_ms": total.latency_ms(),
        "histograms": total.encoded(),
        "counts": dict(told(parts, "counts")),
        "generator": _worst([part["generator"] for part in parts]),
    }


def _worst(parts: Sequence[Data]) -> Data:
    """Generators side by side: their work is added, of their lag the worst counts."""
    added = _added([{k: v for k, v in part.items() if isinstance(v, int | float)} for part in parts])
    lacking = [what for part in parts for what in part.get("lacking", ())]
    return {**parts[0], **added, "lag_p99_ms": max(part["lag_p99_ms"] for part in parts), "lacking": lacking}


def _point(parts: Sequence[Data]) -> Data:
    """One moment: rates and connections add up, of each latency the worst machine's are shown."""
    worst: Data = {name: _slowest([part[name] for part in parts]) for name in ("delivery_ms", "ack_ms")}
    worst["lag_p99_ms"] = max(part["lag_p99_ms"] for part in parts)
    rates = ("scheduled_per_s", "due_per_s", "answered_per_s", "operations_per_s", "deliveries_per_s")
    added = ("connections", "put_off", "waiting", "generator_cpu_cores", *rates)
    return {**parts[0], **worst, **{name: sum(part[name] for part in parts) for name in added}}


def _slowest(parts: Sequence[Data]) -> Data:
    """The figures with the worst p95, and the longest of all."""
    worst = max(parts, key=lambda part: part["p95"] or 0.0)
    return {**worst, "max": max((part["max"] for part in parts if part["max"] is not None), default=None)}


def merge(reports: Sequence[Data]) -> Data:
    """One report of all shares; raises MergeError. The server's side is the first report's that has one."""
    _check(reports)
    ordered = sorted(reports, key=lambda one: one["share"][0])
    first = ordered[0]
    scenario = parse(first["environment"]["scenario"])
    total, calm, connecting = (
        _sum_of(ordered, name) for name in ("histograms", "calm_histograms", "connect_histograms")
    )
    findings = Findings()
    for one in ordered:
        findings.merge(Findings.of(one["findings"]))
    watched = next((one for one in ordered if one["server"]["cpu_s"] is not None), first)
    series = [_point(parts) for parts in zip(*(one["series"] for one in ordered), strict=False)]
    of_shares = [Outage.of(each) for one in ordered for each in one["outages"]]
    outages = joined(outages_of(scenario, series, total.counts), of_shares, series)
    lacking = [what for one in ordered for what in one["generator"].get("lacking", ())]
    errors = told(ordered, "errors")
    server_died = next((one["server_died"] for one in ordered if one["server_died"]), "")
    ended_early = next((one["ended_early"] for one in ordered if one["ended_early"]), "")
    verdict = conclude(
        scenario,
        total,
        calm,
        findings,
        server_died=server_died,
        outages=outages,
        series=series,
        errors=errors,
        ended_early=ended_early,
        lacking=lacking,
    )
    had_outages = any(one.get("calm_histograms") for one in ordered)
    connections = _added([one["connections"] for one in ordered])
    return {
        **first,
        "share": [1, 1],
        "verdict": verdict.document(),
        "ended_early": ended_early,
        "server_died": server_died,
        "rates": _added([one["rates"] for one in ordered]),
        **distributions(total, calm if had_outages else None, connecting),
        "connections": connections,
        "compression": compression_of(total.counts),
        "server": watched["server"],
        "server_series": watched["server_series"],
        "generator": _worst([one["generator"] for one in ordered]),
        "stages": [_stage(parts) for parts in zip(*(one["stages"] for one in ordered), strict=True)],
        "counts": dict(total.counts),
        "errors": dict(errors),
        "closes": dict(told(ordered, "closes")),
        "series": series,
        "outages": [one.document() for one in outages],
        "findings": findings.document(),
    }
