"""Least squares that can't go below zero, along a lower edge, and how sure they are of what they find."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
RESAMPLES = 200
CONFIDENCE = 0.90
LOWER_EDGE = 0.1  # the expectile
EDGE_ROUNDS = 20  # it is found in a few
TINY = 1e-10


class FitError(Exception):
    """There are too few, or too equal, measurements for a model; the message says what to measure."""


class Estimate(NamedTuple):
    """A fitted value and the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def nonnegative_fit(matrix: Array, wanted: Array) -> Array:
    """The non-negative coefficients of least squared error (Lawson and Hanson 1974, chapter 23)."""
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    scaled = matrix / scale
    products, targets = scaled.T @ scaled, scaled.T @ wanted
    found, free = np.zeros(len(scale)), np.zeros(len(scale), bool)
    for _ in range(3 * len(scale)):
        slope = np.where(free, 0.0, targets - products @ found)
        if slope.max() <= TINY * max(np.abs(targets).max(), 1e-300):
            break
        free[int(slope.argmax())] = True
        found, free = _inward(products, targets, found, free)
    coefficients: Array = found / scale
    return coefficients


def _inward(products: Array, targets: Array, found: Array, free: Array) -> tuple[Array, Array]:
    """The best coefficients of those that are free to be above 0; who would fall below isn't any more."""
    while True:
        part = np.flatnonzero(free)
        best = np.zeros(len(found))
        best[part] = np.linalg.lstsq(products[np.ix_(part, part)], targets[part], rcond=None)[0]
        below = free & (best <= 0)
        if not below.any():
            return best, free
        step = float(np.min(found[below] / np.maximum(found[below] - best[below], 1e-300)))
        found = found + step * (best - found)
        free = free & (found > TINY)
        found = np.where(free, found, 0.0)


def lower_fit(matrix: Array, wanted: Array) -> Array:
    """The non-negative coefficients whose predictions run along the lower edge of what was measured."""
    found = nonnegative_fit(matrix, wanted)
    above = np.zeros(len(wanted), bool)
    for _ in range(EDGE_ROUNDS):
        before, above = above, wanted > matrix @ found
        if (before == above).all():
            break
        weights = np.sqrt(np.where(above, LOWER_EDGE, 1 - LOWER_EDGE))
        found = nonnegative_fit(matrix * weights[:, None], wanted * weights)
    return found


def bootstrap_fit(
    matrix: Array,
    wanted: Array,
    fit_of: Callable[[Array, Array], Array] = nonnegative_fit,
    kinds: Sequence[Hashable] = (),
) -> Array:
    """Fits to resampled points, one row a resample; the first row is the fit to all of them.

    A resample has half as many points: an edge hangs on a few of them, and whole resamples mostly hold these
    (the m out of n bootstrap, Bickel, Götze and van Zwet 1997). Where the points are of several `kinds` it
    has half of each: one that lacks what alone tells a cost says nothing of it.
    """
    rng = np.random.default_rng(1)
    strata = _strata(kinds or ["point"] * len(wanted))
    rows = [fit_of(matrix, wanted)]
    for _ in range(RESAMPLES):
        chosen = np.concatenate([rng.choice(one, -(-len(one) // 2)) for one in strata])
        rows.append(fit_of(matrix[chosen], wanted[chosen]))
    return np.array(rows)


def _strata(kinds: Sequence[Hashable]) -> list[Array]:
    """The places of each kind."""
    return [np.array([i for i, one in enumerate(kinds) if one == kind]) for kind in dict.fromkeys(kinds)]


def estimate(samples: Array) -> Estimate:
    """The first of the samples, within the confidence interval of all."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    value = float(samples[0])
    return Estimate(value, min(float(low), value), max(float(high), value))
