"""Counts of observations by fixed upper bounds."""

from __future__ import annotations

from collections.abc import Sequence

# The buckets of prometheus.DefBuckets, with two finer ones below.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PAUSE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
STEP_BOUNDS_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0)
CHANGES_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)

# The steps of one edit, in the order that it takes them.
STEPS = ("receive", "admit", "transform", "commit", "fan_out", "flush")


class Histogram:
    """Counts of observations by fixed upper bounds (inclusive, ascending), and their sum.

    `counts` has one more entry than `bounds`, for what lies above the last of them. Compiled, a walk over
    so few bounds costs less than the call of a search.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times (the deliveries of one broadcast share one observation)."""
        place = 0
        for bound in self.bounds:
            if value <= bound:
                break
            place += 1
        self.counts[place] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)
