"""What a generator process measured, interval by interval, and the sum of all of them.

A worker makes one *interval* every INTERVAL_S, the last of which ends with the schedule; the coordinator adds
the same interval of every worker, and the intervals of a stage. An interval is plain JSON data:

    number, span_s, connections, put_off (users at its end), cpu_s, counts {name: n},
    histograms {metric: [position, count, position, count, ...]}

and, joined, `cpu_here_s`: what of the CPU was this machine's. What comes after the schedule is an
interval, too, with `until_s`, when it was taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loadtest.crowd import Crowd
from loadtest.engine import FAULTS, METRICS, Engine
from loadtest.histogram import Latencies

INTERVAL_S = 0.5
CONNECTING = ("connect", "sync")
HISTOGRAMS = (*METRICS, *CONNECTING, "loop")
FELT = ("delivery", "ack", *CONNECTING, "presence")  # by users
ENGINE_COUNTS = (
    *("scheduled", "missed", "sent", "deliveries", "acks", "presences", "messages"),
    *("bytes_received", "bytes_sent", "reads"),
    *("compressed_messages", "compressed_bytes_received", "compressed_bytes_sent", "inflated_bytes"),
)


def spans_s(duration_s: float) -> list[float]:
    """How long each interval of a schedule is; none is shorter than half of the others, but of a tiny one."""
    whole = max(round(duration_s / INTERVAL_S), 1) - 1
    return [*[INTERVAL_S] * whole, duration_s - whole * INTERVAL_S]


def ends_s(interval: Mapping[str, Any]) -> float:
    """When an interval is over, since the start of the schedule."""
    return float(interval["number"] * INTERVAL_S + interval["span_s"])


def middle_s(interval: Mapping[str, Any]) -> float:
    """The middle of an interval: what a stage it is of."""
    return float(ends_s(interval) - interval["span_s"] / 2)


class Recorder:
    """Takes an interval from a crowd and its engine: what was counted since the last one."""

    def __init__(self, engine: Engine, crowd: Crowd) -> None:
        self._engine, self._crowd = engine, crowd
        self._before: Counter[str] = Counter()
        self.loop = Latencies()

    def take(self, number: int, cpu_s: float, span_s: float) -> dict[str, Any]:
        """The interval that ends now."""
        crowd = self._crowd
        histograms = {metric: Latencies(self._engine.take_counts(metric)) for metric in METRICS}
        histograms |= {"connect": crowd.connect, "sync": crowd.sync, "loop": self.loop}
        crowd.connect, crowd.sync, self.loop = Latencies(), Latencies(), Latencies()
        return {
            "number": number,
            "span_s": span_s,
            "connections": crowd.connected,
            "put_off": crowd.put_off,
            "cpu_s": cpu_s,
            "counts": self._counts(),
            "histograms": {name: latencies.pairs() for name, latencies in histograms.items()},
        }

    def _counts(self) -> dict[str, int]:
        """What grew since the last interval."""
        total = Counter({name: getattr(self._engine, name) for name in ENGINE_COUNTS})
        total.update(self._crowd.counts)
        total.update({FAULTS[kind]: count for kind, count in self._engine.fault_counts.items()})
        grown = {name: count - self._before[name] for name, count in total.items()}
        self._before = total
        return {name: count for name, count in grown.items() if count}


class Sum:
    """Intervals added up."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.histograms = {name: Latencies() for name in HISTOGRAMS}
        self.cpu_s = 0.0
        self.peak = 0
        self.seconds = 0.0

    def add(self, interval: dict[str, Any]) -> None:
        """Add one interval (of all workers together)."""
        self.counts.update(interval["counts"])
        self.cpu_s += interval["cpu_s"]
        self.peak = max(self.peak, interval["connections"])
        self.seconds += interval["span_s"]
        for name, pairs in interval["histograms"].items():
            self.histograms[name].add_pairs(pairs)

    def add_felt(self, interval: dict[str, Any]) -> None:
        """Add of an interval only what users felt."""
        for name in FELT:
            self.histograms[name].add_pairs(interval["histograms"].get(name, ()))

    def latency_ms(self, names: Sequence[str] = FELT) -> dict[str, dict[str, Any]]:
        """Percentiles of these latencies that users feel."""
        return {name: self.histograms[name].summary_ms() for name in names}

    def lag_p99_ms(self) -> float:
        """How late the generator was: its edits or its loop, whichever was later."""
        return max(self.histograms[name].percentile_us(99) for name in ("lag", "loop")) / 1000

    def encoded(self, names: Sequence[str] = HISTOGRAMS) -> dict[str, str]:
        """These histograms in HdrHistogram's interchange form; empty ones are left out."""
        return {name: one.encode() for name, one in self.histograms.items() if name in names and one.total}


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same interval of several workers as one."""
    total = Sum()
    for part in parts:
        total.add(part)
    return {
        "number": parts[0]["number"],
        "span_s": parts[0]["span_s"],
        **{name: sum(part.get(name, 0) for part in parts) for name in ("connections", "put_off")},
        "cpu_s": total.cpu_s,
        "cpu_here_s": sum(part.get("cpu_here_s", part["cpu_s"]) for part in parts),
        "counts": dict(total.counts),
        "histograms": {name: one.pairs() for name, one in total.histograms.items()},
    }


def summed(intervals: Iterable[dict[str, Any]]) -> Sum:
    """Many intervals as one Sum."""
    total = Sum()
    for interval in intervals:
        total.add(interval)
    return total
