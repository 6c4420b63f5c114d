"""The p95 of deliveries under a load, with a prediction interval.

    p95 = floor + a x rho / (1 - rho) + b x held + burst

`rho` is the share of a core that the load needs: a queue's wait grows like that (Kingman 1961). `burst` is
how long the writes of one batch take: the last of them waits for the others. `held` is for how long an
append is held back so that edits gather (see `gathering`). Floor, a and b aren't negative, and fit the
measurements' relative errors.

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
    """One measured stage: the share of a core that it needs; in ms the burst, the p95, how long appends are
    held back."""

    rho: float
    burst_ms: float
    p95_ms: float
    held_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """A fitted model. `ratios`: measured by predicted, of each point left out."""

    coefficients: Array
    ratios: Sequence[float]

    def predict(self, rho: float, burst_ms: float, held_ms: float = 0.0) -> Estimate | None:
        """The p95 in ms and the interval of a measurement of it; None where the queue would grow."""
        if rho > RHO_MAX:
            return None
        value = float(_row(rho, held_ms) @ self.coefficients) + burst_ms
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(self.ratios, [tail, 100 - tail])
        return Estimate(value, value * min(float(low), 1.0), value * max(float(high), 1.0))


def _row(rho: float, held_ms: float) -> Array:
    return np.array([1.0, rho / (1 - rho), held_ms])


def _coefficients(points: Sequence[Measured]) -> Array:
    matrix = np.array([_row(point.rho, point.held_ms) / point.p95_ms for point in points])
    wanted = np.array([max(1 - point.burst_ms / point.p95_ms, 0.0) for point in points])
    return nonnegative_fit(matrix, wanted)


def fit_latency(points: Sequence[Measured]) -> LatencyModel | None:
    """A model of measured stages; None of too few, those aside that needed more than there is."""
    usable = [point for point in points if point.rho <= RHO_MAX and point.p95_ms > 0]
    if len(usable) < POINTS_MIN:
        return None
    ratios = []
    for left_out, point in enumerate(usable):
        others = [one for number, one in enumerate(usable) if number != left_out]
        predicted = float(_row(point.rho, point.held_ms) @ _coefficients(others)) + point.burst_ms
        ratios.append(point.p95_ms / max(predicted, 1e-9))
    return LatencyModel(_coefficients(usable), ratios)
