"""Two reports side by side: what changed beyond noise, and what got worse.

Noise is judged from the half-second intervals of the measured stages: the difference of two means counts
when the bootstrap's 95 % interval of it leaves out zero. So does one that is plain to see: a figure of the
whole run that doubled or halved, for a few bad moments move it and hardly the mean of the intervals. A change
that nobody would feel (`Figure.least`) never counts. Figures of a whole run (memory, CPU a delivery) have no
intervals and count past the threshold alone.

Where one of the two is invalid its figures say nothing, and are no regression. A fault that came more often
than before is one whatever else is so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.evidence import COUNTED, UNVERIFIED

Data = Mapping[str, Any]
RESAMPLES = 2000
FELT_MS = 0.5  # of latency: below it the clockwork of the generator shows
SHORT = 60  # characters of a value that differs
PLAIN = 2.0  # times as much, or as little, is a change whatever the intervals say
PLACE = ("processor", "cores", "memory_bytes", "system", "python", "gateway", "speedups")
MADE_OF = ("compiled", "packages", "kernel", "scenario")  # of the environment, too: each has members


@dataclass(frozen=True, slots=True)
class Figure:
    """Something to compare. `better` is +1 where more is better, -1 where less is."""

    name: str
    unit: str
    better: int
    value: Callable[[Data], float | None]
    interval: Callable[[Data], float | None] | None = None
    least: float = 0.0  # a smaller difference is no change


@dataclass(frozen=True, slots=True)
class Change:
    """`relative` is the change from before to after; `significant` says that it is beyond noise."""

    figure: Figure
    before: float
    after: float
    relative: float
    significant: bool
    regression: bool


def _cost_us(name: str) -> Callable[[Data], float | None]:
    def value(report: Data) -> float | None:
        cpu = report["server"]["cpu_s"]
        done = report["counts"].get(name, 0)
        return 1e6 * cpu / done if cpu and done else None

    return value


def _latency(metric: str, key: str) -> Figure:
    return Figure(
        f"{metric} {key}",
        "ms",
        -1,
        lambda report: report["latency_ms"][metric][key],
        (lambda point: point[f"{metric}_ms"][key]) if metric in ("delivery", "ack") else None,
        least=FELT_MS,
    )


def _rate(name: str) -> Figure:
    return Figure(name, "", 1, lambda report: report["rates"][name], lambda point: point[name])


ABOUT: Mapping[str, Callable[[Data], Any]] = {
    "protocol": lambda report: report.get("protocol"),
    "share": lambda report: "/".join(map(str, report.get("share", ()))),
    "server started by the run": lambda report: report["server"].get("embedded"),
    "workers": lambda report: report["server"].get("workers"),
    "engine of the generator": lambda report: report["generator"].get("engine"),
    "processes of the generator": lambda report: report["generator"].get("processes"),
    "agents": lambda report: len(report["generator"].get("agents", ())),
}

FIGURES = (
    _rate("operations_per_s"),
    _rate("deliveries_per_s"),
    *(_latency("delivery", key) for key in ("p50", "p95", "p99")),
    _latency("ack", "p95"),
    _latency("connect", "p95"),
    _latency("sync", "p95"),
    _latency("presence", "p95"),
    Figure("server CPU a delivery", "us", -1, _cost_us("deliveries")),
    Figure("server CPU an operation", "us", -1, _cost_us("acks")),
    Figure("server RSS", "bytes", -1, lambda report: report["server"]["rss_bytes"]),
    Figure("socket buffers", "bytes", -1, lambda report: report["server"]["kernel_socket_bytes"]),
)


def _intervals(report: Data, figure: Figure) -> list[float]:
    if figure.interval is None:
        return []
    points = [point for point in report["series"] if point.get("measured", True)]
    return [value for point in points if (value := figure.interval(point)) is not None]


def differs(before: Sequence[float], after: Sequence[float], seed: int = 1) -> bool:
    """Whether two series differ in their mean beyond their own noise."""
    if len(before) < 3 or len(after) < 3:
        return True
    rng = np.random.default_rng(seed)
    means = [
        np.array(values)[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
        for values in (before, after)
    ]
    low, high = np.percentile(means[1] - means[0], [2.5, 97.5])
    return bool(low > 0 or high < 0)


def compare(before: Data, after: Data, threshold: float = 0.1) -> list[Change]:
    """Every figure that both reports have; a regression is worse by more than `threshold`, beyond noise."""
    changes = []
    for figure in FIGURES:
        old, new = figure.value(before), figure.value(after)
        if not old or new is None:
            continue
        relative = (new - old) / old
        series = _intervals(before, figure), _intervals(after, figure)
        significant = abs(new - old) >= figure.least and (
            max(new / old, old / max(new, 1e-12)) >= PLAIN
            or (differs(*series) if all(series) else abs(relative) > threshold)
        )
        worse = -figure.better * relative
        changes.append(Change(figure, old, new, relative, significant, significant and worse > threshold))
    return changes


def faults_grown(before: Data, after: Data) -> list[str]:
    """The faults that were found more often than before, each with both counts; a server that ended."""
    old, new = before["verdict"], after["verdict"]
    told = [name for name in COUNTED if name != UNVERIFIED or not says_nothing(before, after)]
    grown = [name for name in told if new[name] > old.get(name, 0)]
    died = after.get("server_died") if not before.get("server_died") else ""
    return [*(f"{name}: {old.get(name, 0)} -> {new[name]}" for name in grown), *filter(None, [died])]


def verdict_fell(before: Data, after: Data) -> bool:
    """Whether the run fails now, and passed."""
    return (before["verdict"]["status"], after["verdict"]["status"]) == ("pass", "fail")


def says_nothing(before: Data, after: Data) -> list[str]:
    """Why the two can't be compared: which of them is invalid, and for what."""
    named = {"before": before, "after": after}
    invalid = {
        name: each["verdict"] for name, each in named.items() if each["verdict"]["status"] == "invalid"
    }
    return [
        f"the run {name} is invalid and says nothing of its server: {'; '.join(verdict['reasons'][:2])}"
        for name, verdict in invalid.items()
    ]


def differences_of_place(before: Data, after: Data) -> list[str]:
    """What makes the two hard to compare: other machines, versions, scenarios, or another part of a run."""
    places = [report["environment"] for report in (before, after)]
    pairs = [(name, *(place.get(name) for place in places)) for name in PLACE]
    for name in MADE_OF:
        old, new = (place[name] if name == "scenario" else place.get(name) or {} for place in places)
        pairs += [(f"{name}: {key}", old.get(key), new.get(key)) for key in {**old, **new}]
    pairs += zip(
        ABOUT, *([value(report) for value in ABOUT.values()] for report in (before, after)), strict=True
    )
    return [_difference(name, old, new) for name, old, new in pairs if old != new]


def _difference(name: str, *values: Any) -> str:
    old, new = ("unknown" if value is None else str(value) for value in values)
    return f"{name}: {old} | {new}" if max(len(old), len(new)) <= SHORT else f"{name}: another"
