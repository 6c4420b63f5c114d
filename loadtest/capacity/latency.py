"""The p95 of deliveries under a load, with a prediction interval.

    p95 = floor + a x round / (1 - rho) + b x held

`rho` is the share of a core that the load needs, and a `round` how long the work that an append brings takes:
its edits, batches and writes. The time in a queue grows like that, by what goes in one and by how busy the
server is (Kingman 1961). `held` is for how long an append is held back so that edits gather (see
`gathering`). Floor, a and b aren't negative, and fit the measurements' relative errors.

The interval says where a *measurement* will lie, which no interval of the fit does: each measured p95 is
compared with what the fit without it predicts, and these ratios are spread around the prediction (the
jackknife; Barber, Candes, Ramdas and Tibshirani 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from loadtest.capacity.fits import CONFIDENCE, Estimate, nonnegative_fit

Array = np.ndarray[Any, Any]
RHO_MAX = 0.97  # above it a queue has no steady state that a short run could show
POINTS_MIN = 4


class Measured(NamedTuple):
    """One measured stage: the share of a core that it needs; in ms a round, the p95, how long appends are
    held back."""

    rho: float
    round_ms: float
    p95_ms: float
    held_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """A fitted model. `ratios`: measured by predicted, of each point left out."""

    coefficients: Array
    ratios: Sequence[float]

    def predict(self, rho: float, round_ms: float, held_ms: float = 0.0) -> Estimate | None:
        """The p95 in ms and the interval of a measurement of it; None where the queue would grow."""
        if rho > RHO_MAX:
            return None
        value = float(_row(rho, round_ms, held_ms) @ self.coefficients)
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(self.ratios, [tail, 100 - tail])
        return Estimate(value, value * min(float(low), 1.0), value * max(float(high), 1.0))


def _row(rho: float, round_ms: float, held_ms: float) -> Array:
    return np.array([1.0, round_ms / (1 - rho), held_ms])


def _of(point: Measured) -> Array:
    return _row(point.rho, point.round_ms, point.held_ms)


def _coefficients(points: Sequence[Measured]) -> Array:
    return nonnegative_fit(np.array([_of(point) / point.p95_ms for point in points]), np.ones(len(points)))


def fit_latency(points: Sequence[Measured]) -> LatencyModel | None:
    """A model of measured stages; None of too few, those aside that needed more than there is."""
    usable = [point for point in points if point.rho <= RHO_MAX and point.p95_ms > 0]
    if len(usable) < POINTS_MIN:
        return None
    ratios = []
    for left_out, point in enumerate(usable):
        others = [one for number, one in enumerate(usable) if number != left_out]
        ratios.append(point.p95_ms / max(float(_of(point) @ _coefficients(others)), 1e-9))
    return LatencyModel(_coefficients(usable), ratios)
