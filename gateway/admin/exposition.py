"""The node's counters as Prometheus metrics: made at scrape time, so that counting costs almost nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.admin.processes import KeyedFamily, ProcessesCollector
from gateway.runtime import speedups
from gateway.runtime.histogram import Histogram
from gateway.runtime.metric import Metric
from gateway.runtime.metrics import METRICS, Counters
from gateway.runtime.version import gateway_version

Family = KeyedFamily | HistogramMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The label of what only a node of several workers has.
SUPERVISOR = "supervisor"


class Process(NamedTuple):
    """A process of the node: its `worker` label, what its counters are (None: it counts nothing), and for how
    long it hasn't answered."""

    label: str
    pid: int
    exported: Mapping[str, Any] | None
    silent_s: float = 0.0


class Scrape(NamedTuple):
    """What is shown of a node: its counters together, its processes, and how often workers were replaced."""

    exported: Mapping[str, Any]
    processes: Sequence[Process]
    draining: bool = False
    restarts: int = 0


def of_one(counters: Counters, draining: bool = False) -> Scrape:
    """The scrape of a node that is this process alone."""
    exported = counters.export()
    return Scrape(exported, (Process("0", os.getpid(), exported),), draining)


def text(scrape: Scrape) -> bytes:
    """A scrape in the exposition format of Prometheus (0.0.4).

    Takes milliseconds, so the event loop leaves it to a thread; the size depends on the code and not on the
    load.
    """
    registry = CollectorRegistry()
    registry.register(CountersCollector(scrape.exported, scrape.draining))
    registry.register(WorkersCollector(scrape))
    registry.register(ProcessesCollector((process.label, process.pid) for process in scrape.processes))
    registry.register(BuildCollector())
    return generate_latest(registry)


class WorkersCollector(Collector):
    """The workers of the node: how many, how often one was replaced, who hangs, and each gauge by worker."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Family]:
        """The families."""
        workers = [process for process in self._scrape.processes if process.exported is not None]
        yield GaugeMetricFamily("gateway_workers", "Workers that take clients", len(workers))
        yield CounterMetricFamily(
            "gateway_worker_restarts",
            "New workers for such as ended unasked, or didn't start",
            self._scrape.restarts,
        )
        silent = GaugeMetricFamily(
            "gateway_worker_silent_seconds",
            "For how long a worker hasn't answered the node; it is replaced after 60 s",
            labels=["worker"],
        )
        for process in workers:
            silent.add_metric([process.label], process.silent_s)
        yield silent
        for name, metric in METRICS.items():
            if metric.kind not in ("gauge", "highest"):
                continue
            family = GaugeMetricFamily(
                f"gateway_worker_{name}", f"{metric.help}, by worker", labels=["worker"]
            )
            for process in workers:
                assert process.exported is not None
                family.add_metric([process.label], process.exported.get(name, 0))
            yield family


class BuildCollector(Collector):
    """What runs, as labels of a 1."""

    def collect(self) -> Iterator[Family]:
        """One family."""
        family = GaugeMetricFamily(
            "gateway_build_info", "1, labelled by what runs", labels=["version", "python", "kernels"]
        )
        kernels = "compiled" if all(speedups.report().values()) else "pure"
        python = ".".join(map(str, sys.version_info[:3]))
        family.add_metric([gateway_version(), python, kernels], 1)
        yield family


class CountersCollector(Collector):
    """Publishes exported counters under the names and help texts of `gateway.runtime.metrics.METRICS`."""

    def __init__(self, exported: Mapping[str, Any], draining: bool) -> None:
        self._counters = Counters()
        self._counters.merge(exported)
        self._draining = draining

    def collect(self) -> Iterator[Family]:
        """One family a metric, in the order of the fields."""
        for name, metric in METRICS.items():
            yield _family(metric, getattr(self._counters, name))
        yield GaugeMetricFamily("gateway_draining", "1 while the node is draining", float(self._draining))


def _family(metric: Metric, value: Any) -> Family:
    if metric.kind in ("gauge", "highest"):
        return GaugeMetricFamily(metric.name, metric.help, value)
    if metric.kind in ("levels", "highest_levels"):
        return _keyed(GaugeMetricFamily(metric.name, metric.help, labels=[metric.label]), value)
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, value)
    if metric.kind == "keyed":
        keyed = CounterMetricFamily(metric.name, metric.help, labels=[metric.label])
        return _keyed(keyed, {**dict.fromkeys(metric.known, 0), **value})
    labels = [metric.label] if metric.label else []
    family = HistogramMetricFamily(metric.name, metric.help, labels=labels)
    histograms: dict[str, Histogram] = value if labels else {"": value}
    for label, histogram in histograms.items():
        family.add_metric([label] if labels else [], _buckets(histogram), histogram.sum)
    return family


def _keyed(family: KeyedFamily, values: Mapping[str, float]) -> Family:
    for key, count in sorted(values.items()):
        family.add_metric([key], count)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """The cumulative counts by upper bound that Prometheus wants."""
    bounds = [*map(repr, map(float, histogram.bounds)), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
