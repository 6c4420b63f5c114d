"""What the page shows, kept up as a run goes on. Read by the web server's thread, written by the run's."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any

from loadtest.evidence import COUNTED
from loadtest.observe import cores
from loadtest.options import Progress
from loadtest.recorder import Sum, ends_s, middle_s, summed
from loadtest.scenario import Scenario
from loadtest.verdict import missed_targets

CURVE_POINTS = 80
STEPS_KEPT = 100


class State:
    """A run's progress as plain JSON data; a sweep's runs come one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._series: list[dict[str, Any]] = []
        self._total = Sum()
        self._measured = Sum()
        self._said: dict[str, Any] = {"phase": "starting", "series": [], "stages": []}
        self._steps: list[dict[str, Any]] = []

    def show(self, progress: Progress) -> None:
        """The state of the run that is under way: a run's `on_progress`."""
        with self._lock:
            if progress is not self._progress:
                self._progress = progress
                self._series, self._total, self._measured = [], Sum(), Sum()
            for interval in progress.intervals[len(self._series) :]:
                self._take(progress.scenario, interval)
            self._said = self._document(progress)

    def step(self, text: str) -> None:
        """A step of a sweep is over."""
        with self._lock:
            self._steps = [*self._steps, {"text": text}][-STEPS_KEPT:]

    def finished(self, report: Mapping[str, Any]) -> None:
        """The verdict is there, and with it what was answered after the schedule."""
        with self._lock:
            verdict, latencies = report["verdict"], report["latency_ms"]
            self._said = {**self._said, "phase": "over", "status": verdict["status"]}
            self._said["problems"] = list(verdict["reasons"][:10])
            self._said |= {name: latencies[name] for name in ("delivery", "ack")}
            self._said["curve"] = report["curves"]["delivery"]

    def document(self) -> dict[str, Any]:
        """As of now."""
        with self._lock:
            return {**self._said, "steps": self._steps}

    def _take(self, scenario: Scenario, interval: dict[str, Any]) -> None:
        one = summed([interval])
        self._total.add(interval)
        span_s = interval["span_s"]
        if scenario.stages[scenario.stage_at(middle_s(interval))].measured:
            self._measured.add(interval)
        delivery = one.histograms["delivery"].summary_ms()
        self._series.append(
            {
                "at_s": ends_s(interval),
                "connections": interval["connections"],
                "operations": one.counts["acks"] / span_s,
                "scheduled": one.counts["scheduled"] / span_s,
                "deliveries": one.counts["deliveries"] / span_s,
                "p50": delivery["p50"],
                "p95": delivery["p95"],
                "p99": delivery["p99"],
                "generator": interval["cpu_s"] / span_s,
            }
        )

    def _document(self, progress: Progress) -> dict[str, Any]:
        scenario, counts = progress.scenario, self._total.counts
        faults = {name: counts[name] for name in COUNTED if counts[name]}
        late = missed_targets(scenario, self._total, self._measured) if self._measured.seconds else []
        problems = [f"{count:,} x {name}" for name, count in faults.items()]
        # While a run goes on, the last edits aren't answered yet: that is no target missed.
        problems += [one for one in late if "scheduled edits" not in one and "of connections" not in one]
        return {
            "name": scenario.name,
            "description": scenario.description,
            "phase": progress.phase,
            "at_s": progress.at_s,
            "duration_s": scenario.duration_s,
            "stages": _stages(scenario),
            "series": self._series,
            "curve": self._measured.histograms["delivery"].curve(CURVE_POINTS),
            "delivery": self._measured.histograms["delivery"].summary_ms(),
            "ack": self._measured.histograms["ack"].summary_ms(),
            "counts": dict(counts),
            "status": "fail" if faults else "late" if problems else "pass",
            "problems": problems,
            "server": _server(progress),
            "target_p95_ms": scenario.targets.delivery_p95_ms,
        }


def _stages(scenario: Scenario) -> list[dict[str, Any]]:
    spans = itertools.pairwise((0.0, *scenario.ends_s))
    return [
        {
            "name": stage.name,
            "from_s": start_s,
            "until_s": end_s,
            "measured": stage.measured,
            "connections": stage.connections,
        }
        for stage, (start_s, end_s) in zip(scenario.stages, spans, strict=True)
    ]


def _server(progress: Progress) -> dict[str, Any]:
    known = [one for one in progress.samples if one["cpu_s"] is not None]
    if len(known) < 2:
        return {}
    return {"cores": max(cores(*known[-2:]) or 0.0, 0.0), "rss_bytes": known[-1]["rss_bytes"]}
