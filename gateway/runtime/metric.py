"""How a field of `Counters` is declared: its kind, and how Prometheus knows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal, NamedTuple

from gateway.runtime.histogram import STEP_BOUNDS_S, STEPS, Histogram

# How the workers' values make the node's: `highest` and `highest_levels` by the highest, all others by the
# sum. `levels` are gauges by a label.
Kind = Literal["gauge", "highest", "levels", "highest_levels", "counter", "keyed", "histogram", "steps"]
GAUGES: frozenset[Kind] = frozenset({"gauge", "highest", "levels", "highest_levels"})


class Counts(dict[str, int]):
    """Numbers by a label's value, 0 where there is none: a `Counter` that costs half as much to add to."""

    __slots__ = ()

    def __missing__(self, label: str) -> int:
        return 0


class Metric(NamedTuple):
    """How a field of `Counters` is published: Prometheus name (counters without `_total`), help, label.

    `known` are values of the label that are published from the start.
    """

    kind: Kind
    name: str
    help: str
    label: str = ""
    known: tuple[str, ...] = ()


def gauge(name: str, help: str) -> Any:
    """A number that is now so: the sum of the workers'."""
    return field(default=0, metadata={"metric": Metric("gauge", name, help)})


def highest(name: str, help: str) -> Any:
    """A gauge whose value for several workers is the highest of theirs."""
    return field(default=0, metadata={"metric": Metric("highest", name, help)})


def count(name: str, help: str) -> Any:
    """A number that only grows."""
    return field(default=0, metadata={"metric": Metric("counter", name, help)})


def keyed(name: str, label: str, help: str, known: tuple[str, ...] = ()) -> Any:
    """A counter by a label."""
    return field(default_factory=Counts, metadata={"metric": Metric("keyed", name, help, label, known)})


def levels(name: str, label: str, help: str, highest: bool = False) -> Any:
    """A gauge by a label; the node's are the workers' sums, or their highest."""
    kind: Kind = "highest_levels" if highest else "levels"
    return field(
        default_factory=lambda: defaultdict(float), metadata={"metric": Metric(kind, name, help, label)}
    )


def histogram(name: str, bounds: Sequence[float], help: str) -> Any:
    """Observations by upper bounds."""
    return field(
        default_factory=lambda: Histogram(bounds), metadata={"metric": Metric("histogram", name, help)}
    )


def steps(name: str, help: str) -> Any:
    """A histogram for each step of an edit."""
    return field(
        default_factory=lambda: {step: Histogram(STEP_BOUNDS_S) for step in STEPS},
        metadata={"metric": Metric("steps", name, help, "step")},
    )
