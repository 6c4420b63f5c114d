"""From what was measured to a report: rates, latencies, stages, verdict. Pure.

The members that others may rely on: verdict, rates, latency_ms, connections, server, generator, stages,
environment (see `loadtest run --help`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest import observe
from loadtest.compression import compression_of
from loadtest.environment import environment
from loadtest.evidence import Findings
from loadtest.histogram import Latencies
from loadtest.outages import Outage, find_outages
from loadtest.protocols import OURS
from loadtest.recorder import CONNECTING, FELT, INTERVAL_S, Sum, ends_s, middle_s, summed
from loadtest.scenario import Scenario
from loadtest.verdict import conclude

FORMAT = 1
ANSWERS = ("acks", "nothing_to_undo", "no_change", "refused")
SETTLED = (*ANSWERS, "merged_offline", "unsent", "unresolved", "stalled")
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went, beside what was measured."""

    started_at: float
    run_name: str = ""
    share: tuple[int, int] = (1, 1)
    processes: int = 1
    lacking: Sequence[str] = ()  # what was wrong with generators
    server_died: str = ""
    ended_early: str = ""
    embedded: bool = True
    protocol: str = OURS
    disruptions: Sequence[Data] = ()
    agents: Sequence[Data] = ()


def _rates(total: Sum) -> Data:
    seconds = total.seconds or INTERVAL_S
    counts = total.counts
    return {
        "operations_per_s": counts["acks"] / seconds,
        "deliveries_per_s": counts["deliveries"] / seconds,
        "scheduled_per_s": counts["scheduled"] / seconds,
        "presences_per_s": counts["presences"] / seconds,
        "messages_per_s": counts["messages"] / seconds,
        "received_bytes_per_s": counts["bytes_received"] / seconds,
        "sent_bytes_per_s": counts["bytes_sent"] / seconds,
    }


def _generator(total: Sum) -> Data:
    seconds = total.seconds or INTERVAL_S
    return {
        "cpu_s": total.cpu_s,
        "cpu_cores": total.cpu_s / seconds,
        "lag_p99_ms": total.lag_p99_ms(),
        "missed": total.counts["missed"],
    }


def _generator_of_run(
    measured: Sum, whole: Sum, results: Sequence[Data], others_cores: float | None, course: Course
) -> Data:
    return {
        **_generator(measured),
        "processes": course.processes,
        "untimed": whole.counts["untimed"],
        "engine": results[0]["engine"] if results else "?",
        "missed": whole.counts["missed"],
        "cpu_s": whole.cpu_s,
        "others_cores": others_cores,
        "agents": list(course.agents),
        "lacking": [*course.lacking, *filter(None, [course.ended_early])],
    }


def distributions(measured: Sum, calm: Sum | None, whole: Sum) -> Data:
    """What a report has of latencies: of what was measured, of that without outages, of all connects."""
    return {
        "latency_ms": {**measured.latency_ms(), **whole.latency_ms(CONNECTING)},
        "histograms": measured.encoded(),
        "calm_histograms": {} if calm is None else calm.encoded(),
        "connect_histograms": whole.encoded(CONNECTING),
        "curves": {name: measured.histograms[name].curve() for name in ("delivery", "ack")},
    }


def _server(samples: Sequence[Mapping[str, Any]]) -> Data:
    """The server between the first and the last of these samples."""
    first, last = (samples[0], samples[-1]) if samples else ({}, {})
    full = [one for one in samples if one.get("full")]
    span_s = last.get("at_s", 0) - first.get("at_s", 0)

    def used(name: str) -> Any:
        known = first.get(name) is not None and last.get(name) is not None
        return last[name] - first[name] if known else None

    def cores(name: str) -> Any:
        return used(name) / span_s if used(name) is not None and span_s > 0 else None

    def peak(name: str, where: Iterable[Mapping[str, Any]]) -> Any:
        return max((one[name] for one in where if one.get(name) is not None), default=None)

    return {
        "cpu_s": used("cpu_s"),
        "cpu_cores": cores("cpu_s"),
        "backing_cpu_cores": cores("backing_cpu_s"),
        "rss_bytes": peak("rss_bytes", samples),
        "pss_bytes": peak("pss_bytes", full),
        "kernel_socket_bytes": peak("kernel_socket_bytes", full),
        "slab_socket_bytes": peak("slab_socket_bytes", full),
        "steps_ms": observe.steps_ms(first.get("metrics", {}), last.get("metrics", {})),
        **observe.appends(first.get("metrics", {}), last.get("metrics", {}), span_s),
    }


def _server_of_run(scenario: Scenario, samples: Sequence[Mapping[str, Any]], embedded: bool) -> Data:
    """The server during the schedule: not while documents are made, answers awaited, histories read."""
    found = _server(_between(samples, 0.0, scenario.duration_s))
    memory = observe.memory_of_a_connection(samples)
    workers = next((one["workers"] for one in samples if one.get("workers")), None)
    return {**found, "embedded": embedded, "memory_a_connection": memory, "workers": workers}


def _others_cores(
    scenario: Scenario, intervals: Sequence[Data], samples: Sequence[Mapping[str, Any]]
) -> float | None:
    """The CPU that neither the server and what backs it nor the generator used here, during the schedule."""
    seen = [one for one in samples if 0 <= one["at_s"] <= scenario.duration_s and one["cpu_s"] is not None]
    if len(seen) < 2:
        return None
    first, last = seen[0], seen[-1]
    span_s = max(float(last["at_s"] - first["at_s"]), 0.1)
    within = [one for one in intervals if first["at_s"] <= middle_s(one) < last["at_s"]]
    used: float = sum(one["cpu_here_s"] for one in within)
    own = last["cpu_s"] - first["cpu_s"] + last["backing_cpu_s"] - first["backing_cpu_s"] + used
    everybody = last["machine_cpu_s"] - first["machine_cpu_s"]
    return max(float(everybody - own) / span_s, 0.0)


def _between(samples: Sequence[Mapping[str, Any]], start_s: float, end_s: float) -> list[Mapping[str, Any]]:
    """The samples of a stretch, and the last one before it to measure from."""
    before = [one for one in samples if one["at_s"] <= start_s + 0.2][-1:]
    within = [one for one in samples if start_s + 0.2 < one["at_s"] <= end_s + 0.2]
    return before + within


def _stages(
    scenario: Scenario, intervals: Sequence[Data], late: Sequence[Data], samples: Sequence[Data]
) -> list[Data]:
    stages, connections = [], 0
    for number, (start_s, end_s) in enumerate(itertools.pairwise((0.0, *scenario.ends_s))):
        stage = scenario.stages[number]
        own, its_late = (
            [one for one in many if _stage_of(scenario, one) == number] for many in (intervals, late)
        )
        total = _felt(own, its_late)
        before, connections = connections, own[-1]["connections"] if own else connections
        stages.append(
            {
                "name": stage.name,
                "start_s": start_s,
                "duration_s": stage.duration_s,
                "measured": stage.measured,
                "connections": total.peak,
                "connections_first": before,
                "connections_last": connections,
                "rates": _rates(total),
                "latency_ms": total.latency_ms(),
                "server": _server(_between(samples, start_s, end_s)),
                "generator": _generator(total),
                "counts": dict(total.counts),
                "histograms": total.encoded(FELT),
            }
        )
    return stages


def _felt(intervals: Iterable[Data], late: Iterable[Data]) -> Sum:
    """The sum of some intervals, and the latencies of what came `late`, after the schedule's end."""
    total = summed(intervals)
    for one in late:
        total.add_felt(one)
    return total


def _whole(intervals: Iterable[Data], late: Iterable[Data]) -> Sum:
    """All intervals, and what came late as if it were of the last one."""
    total = summed(intervals)
    for one in late:
        total.add({**one, "cpu_s": 0.0})
    return total


def told(results: Sequence[Data], name: str) -> Counter[str]:
    """A member that counts things, added up over several results."""
    return sum((Counter(result[name]) for result in results), Counter())


def _stage_of(scenario: Scenario, interval: Mapping[str, Any]) -> int:
    """The number of the stage that an interval is of."""
    return scenario.stage_at(middle_s(interval))


def _measured(scenario: Scenario, intervals: Sequence[Data]) -> list[Data]:
    """The intervals of the measured stages."""
    return [one for one in intervals if scenario.stages[_stage_of(scenario, one)].measured]


def _measured_before(scenario: Scenario, number: int) -> tuple[float, float] | None:
    """(start, end) of the measured stages that came last before this one, in seconds; None without any."""
    starts_s = (0.0, *scenario.ends_s)
    measured = [each for each in range(number) if scenario.stages[each].measured]
    if not measured:
        return None
    first = last = measured[-1]
    while first > 0 and scenario.stages[first - 1].measured:
        first -= 1
    return starts_s[first], starts_s[last + 1]


def _carried(scenario: Scenario, intervals: Sequence[Data], late: Sequence[Data]) -> list[Data]:
    """What came in stages that aren't measured, but was due in a measured one before: only such latencies.

    As far as that is certain: what is of an interval came somewhere in it, what was `late` by its `until_s`.
    """
    came = [(one, ends_s(one)) for one in intervals] + [(one, one["until_s"]) for one in late]
    found = []
    for one, by_s in came:
        number = _stage_of(scenario, one)
        before = None if scenario.stages[number].measured else _measured_before(scenario, number)
        if before is not None:
            start_s, end_s = before
            bounds = 1e6 * (by_s - end_s), 1e6 * (ends_s(one) - one["span_s"] - start_s)
            felt = {name: pairs for name, pairs in one["histograms"].items() if name in FELT}
            kept = {name: Latencies.between(pairs, *bounds) for name, pairs in felt.items()}
            found.append({**one, "histograms": kept})
    return found


def outages_of(scenario: Scenario, series: Sequence[Data], counts: Counter[str]) -> list[Outage]:
    """The outages within the measured stages; `counts` are of the whole run."""
    unanswered = counts["unanswered"] + counts["unresolved"]
    return find_outages(series, scenario.targets.delivery_p95_ms, unanswered)


def _calm(scenario: Scenario, intervals: Sequence[Data], outages: Sequence[Outage]) -> list[Data]:
    """The intervals that latencies are judged by: all, or those outside of outages that are expected."""
    if scenario.targets.recovery_max_s is None:
        return list(intervals)
    return [one for one in intervals if not any(outage.covers(ends_s(one)) for outage in outages)]


def _due(counts: Counter[str]) -> int:
    """Edits that somebody expects an answer to; those kept without a connection when the spell is over."""
    return counts["scheduled"] - counts["kept_offline"] + counts["resumed_offline"]


def _series(scenario: Scenario, intervals: Sequence[Data], late: Sequence[Data]) -> list[Data]:
    """For the pictures over time: one point an interval; latencies of what came late are of the last one."""
    points = []
    waiting = 0
    measured = {one["number"] for one in _measured(scenario, intervals)}
    for one in intervals:
        total, span_s = _felt([one], late if one is intervals[-1] else ()), one["span_s"]
        due = _due(total.counts)
        waiting += due - sum(total.counts[name] for name in SETTLED)
        points.append(
            {
                "measured": one["number"] in measured,
                "at_s": ends_s(one),
                "span_s": span_s,
                "connections": one["connections"],
                "put_off": one["put_off"],
                "waiting": max(waiting, 0),
                "scheduled_per_s": one["counts"].get("scheduled", 0) / span_s,
                "due_per_s": (due - total.counts["merged_offline"]) / span_s,
                "answered_per_s": sum(one["counts"].get(name, 0) for name in ANSWERS) / span_s,
                "operations_per_s": one["counts"].get("acks", 0) / span_s,
                "deliveries_per_s": one["counts"].get("deliveries", 0) / span_s,
                "delivery_ms": total.histograms["delivery"].summary_ms(),
                "ack_ms": total.histograms["ack"].summary_ms(),
                "generator_cpu_cores": one["cpu_s"] / span_s,
                "lag_p99_ms": total.histograms["lag"].percentile_us(99) / 1000,
            }
        )
    return points


def _server_series(samples: Sequence[Data]) -> list[Data]:
    points = []
    for before, after in itertools.pairwise(samples):
        span_s = after["at_s"] - before["at_s"]
        used = observe.cores(before, after)
        if span_s > 0.1 and used is not None:
            points.append(
                {
                    "at_s": after["at_s"],
                    "cpu_cores": used,
                    "rss_bytes": after["rss_bytes"],
                    "connections": after["connections"],
                }
            )
    return points


def summarise(
    scenario: Scenario,
    intervals: Sequence[Data],
    results: Sequence[Data],
    samples: Sequence[Data],
    findings: Findings,
    course: Course,
) -> Data:
    """The report of a run. `intervals` are joined over the processes, `results` are the workers' own."""
    late = [one for result in results for one in result["late"]]
    series, whole = _series(scenario, intervals, late), _whole(intervals, late)
    outages = outages_of(scenario, series, whole.counts)
    judged = _measured(scenario, intervals), _measured(scenario, late)
    if scenario.targets.recovery_max_s is None:  # else it may be of an outage that so little doesn't show
        judged = judged[0], [*judged[1], *_carried(scenario, intervals, late)]
    measured, calm = _felt(*judged), _felt(*(_calm(scenario, each, outages) for each in judged))
    errors, closes = told(results, "errors"), told(results, "closes")
    others = _others_cores(scenario, intervals, samples)
    verdict = conclude(
        scenario,
        whole,
        calm,
        findings,
        server_died=course.server_died,
        others_cores=others,
        outages=outages,
        series=series,
        errors=errors,
        ended_early=course.ended_early,
        lacking=course.lacking,
    )
    return {
        "format": FORMAT,
        "scenario": scenario.name,
        "protocol": course.protocol,
        "started_at": course.started_at,
        "run_name": course.run_name,
        "share": list(course.share),
        "verdict": verdict.document(),
        "ended_early": course.ended_early,
        "server_died": course.server_died,
        "rates": _rates(measured),
        **distributions(measured, calm if outages else None, whole),
        "outages": [one.document() for one in outages],
        "disruptions": list(course.disruptions),
        "connections": _connections(whole),
        "compression": compression_of(whole.counts),
        "server": _server_of_run(scenario, samples, course.embedded),
        "generator": _generator_of_run(measured, whole, results, others, course),
        "stages": _stages(scenario, intervals, late, samples),
        "counts": dict(whole.counts),
        "errors": dict(errors),
        "closes": dict(closes),
        "series": series,
        "server_series": _server_series(samples),
        "findings": findings.document(),
        "environment": {**environment(), "seed": scenario.seed, "scenario": scenario.document()},
    }


def _connections(whole: Sum) -> Data:
    """What became of them. `caught_up`: changes that came together with an answer, no timed deliveries."""
    names = (
        "attempted",
        "succeeded",
        "deferred",
        "given_up",
        "failed",
        "disconnected",
        "recovered",
        "caught_up",
    )
    return {**{name: whole.counts[name] for name in names}, "peak": whole.peak}
