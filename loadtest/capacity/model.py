"""Cost models of one gateway worker, fitted to measured stages.

    CPU needed    = base + a x connections + b x connects/s + c x operations/s + d x deliveries/s
    CPU used      = the same terms, fitted by themselves, + h x operations/s / (operations/s + o)
    memory        = base + e x connections + g x operations/s     (PSS; rooms keep recent changes)
    socket memory = f x connections               (kernel buffers and slab)
    latency       = measured p95 as a function of the CPU needed, interpolated

A node that has CPU to spare spends it: it commits and writes less at a time, and soon (up to `h` cores go
there, half of them at `o` operations/s). So what it uses says little about how full it is, and its busiest
stages show what a load needs: the costs are an expectile regression (Newey and Powell 1987) along the lower
edge of the measurements.

Costs can't be negative, so the least squares are over the subsets of terms whose coefficients come out
non-negative. Confidence intervals are percentiles of the fits to resampled points (bootstrap), so they hold
for the machine that was measured and say nothing about another. `usl` is Gunther's Universal Scalability
Law, X(n) = n / (1 + sigma (n - 1) + kappa n (n - 1)).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
CPU_TERMS = ("connections", "connects_per_s", "operations_per_s", "deliveries_per_s")
RESAMPLES = 200
ENTANGLED = 0.99  # cosine of two columns
CONFIDENCE = 0.90
CPU_NOISE = 0.05  # cores; above it the error of a measurement grows with its size
LOWER_EDGE = 0.1  # the expectile
EDGE_ROUNDS = 20  # it is found in a few
HALF_SPENT = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0)  # candidates for o


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
    """The non-negative coefficients of least squared error: the best of all subsets of columns."""
    columns = matrix.shape[1]
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    scaled = matrix / scale
    products, targets = scaled.T @ scaled, scaled.T @ wanted
    best, best_error = np.zeros(columns), float(wanted @ wanted)
    for size in range(1, columns + 1):
        for subset in itertools.combinations(range(columns), size):
            part = list(subset)
            try:
                found = np.linalg.solve(products[np.ix_(part, part)], targets[part])
            except np.linalg.LinAlgError:  # columns that are proportional: a smaller subset says the same
                continue
            if (found < 0).any():
                continue
            error = float(np.sum((scaled[:, part] @ found - wanted) ** 2))
            if error < best_error * (1 - 1e-9):
                best = np.zeros(columns)
                best[part] = found / scale[part]
                best_error = error
    return best


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
    matrix: Array, wanted: Array, fit_of: Callable[[Array, Array], Array] = nonnegative_fit, seed: int = 1
) -> Array:
    """Fits to resampled points, one row a resample; the first row is the fit to all of them.

    A resample has half as many points: an edge hangs on a few of them, and whole resamples mostly hold these
    (the m out of n bootstrap, Bickel, Götze and van Zwet 1997).
    """
    rng = np.random.default_rng(seed)
    rows = [fit_of(matrix, wanted)]
    for _ in range(RESAMPLES):
        chosen = rng.integers(0, len(wanted), -(-len(wanted) // 2))
        rows.append(fit_of(matrix[chosen], wanted[chosen]))
    return np.array(rows)


def estimate(samples: Array) -> Estimate:
    """The first of the samples, within the confidence interval of all."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    value = float(samples[0])
    return Estimate(value, min(float(low), value), max(float(high), value))


def usl(workers: float, sigma: float, kappa: float) -> float:
    """How many times the throughput of one worker `workers` have."""
    return workers / (1 + sigma * (workers - 1) + kappa * workers * (workers - 1))


def fit_usl(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(sigma, kappa) from (workers, throughput) with at least three numbers of workers; raises FitError."""
    if len({workers for workers, _ in points}) < 3:
        raise FitError("the Universal Scalability Law needs runs with at least three numbers of workers")
    one = [throughput / workers for workers, throughput in points if workers == min(w for w, _ in points)]
    base = sum(one) / len(one)
    rows = [(n - 1, n * (n - 1)) for n, _ in points]
    wanted = [n * base / throughput - 1 for n, throughput in points]
    sigma, kappa = nonnegative_fit(np.array(rows, float), np.array(wanted))
    return float(sigma), float(kappa)


@dataclass(frozen=True, slots=True)
class CostModel:
    """The costs of a worker. The arrays hold one row a resample; the first is the fit."""

    needed: Array  # columns: base, then CPU_TERMS
    used: Array  # the same, then the spare CPU that is spent
    half_spent: float  # operations/s at which half of it is
    memory: Array  # columns: base, connections, operations/s
    socket: Array  # column: connections
    latency: Sequence[tuple[float, float]]  # (CPU needed in cores, p95 in ms), by CPU
    bytes_a_message: float
    measured: Mapping[str, float]  # the largest measured value of each term
    entangled: Sequence[tuple[str, str]] = ()  # terms that rose together: their costs can't be told apart

    def cpu_needed(self, load: Mapping[str, float]) -> Estimate:
        """The CPU that a load needs in all, the workers' bases aside."""
        return estimate(self.needed[:, 1:] @ _row(load))

    def cpu_base(self) -> Estimate:
        """The CPU that a worker needs without any load."""
        return estimate(self.needed[:, 0])

    def cpu_used(self, load: Mapping[str, float]) -> Estimate:
        """The CPU that one worker takes under this load, its base included."""
        spent = _spent(load.get("operations_per_s", 0.0), self.half_spent)
        return estimate(self.used @ np.array([1.0, *_row(load), spent]))

    def cost(self, term: str) -> Estimate:
        """Cores for one more unit of a term (a connection, an operation a second, ...) of a busy worker."""
        return estimate(self.needed[:, 1 + CPU_TERMS.index(term)])

    def memory_bytes(self, connections: float, operations_per_s: float = 0.0) -> Estimate:
        """Process memory (PSS) of one worker with so many connections and edits."""
        return estimate(self.memory @ np.array([1.0, connections, operations_per_s]))

    def socket_bytes(self, connections: float) -> Estimate:
        """Kernel memory of so many sockets, on the server's side."""
        return estimate(self.socket[:, 0] * connections)

    def p95_ms(self, load: Mapping[str, float]) -> float | None:
        """Delivery p95 of one worker under this load; None beyond what was measured."""
        needed = self.cpu_base().value + self.cpu_needed(load).value
        if not self.latency or needed > self.latency[-1][0]:
            return None
        xs, ys = zip(*self.latency, strict=True)
        return float(np.interp(needed, xs, ys))

    def cpu_limit(self, p95_ms: float) -> tuple[float, bool]:
        """(CPU needed of one worker up to which p95 is below the target, whether it was ever exceeded)."""
        below = 0.0
        previous: tuple[float, float] | None = None
        for cpu, latency in self.latency:
            if latency > p95_ms:
                if previous is None:
                    return 0.0, True
                share = (p95_ms - previous[1]) / max(latency - previous[1], 1e-9)
                return previous[0] + share * (cpu - previous[0]), True
            below, previous = cpu, (cpu, latency)
        return below, False


def _row(load: Mapping[str, float]) -> Array:
    """The terms of a load, in the order of the columns."""
    return np.array([load.get(term, 0.0) for term in CPU_TERMS])


def _spent(operations_per_s: Any, half_spent: float) -> Any:
    """The share of the spare CPU that is spent at these rates."""
    return operations_per_s / (operations_per_s + half_spent)


def _used_fit(linear: Array, wanted: Array, weights: Array) -> tuple[Array, float]:
    """The fits of the CPU used, and the half-spent rate that explains it best."""
    rates = linear[:, 1 + CPU_TERMS.index("operations_per_s")]

    def columns(half_spent: float) -> Array:
        return np.column_stack([linear, _spent(rates, half_spent)]) * weights[:, None]

    def error(half_spent: float) -> float:
        matrix = columns(half_spent)
        return float(np.sum((matrix @ nonnegative_fit(matrix, wanted * weights) - wanted * weights) ** 2))

    best = min(HALF_SPENT, key=error)
    return bootstrap_fit(columns(best), wanted * weights), best


def _rising(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Isotonic regression (pool adjacent violators): latency doesn't fall with load, noise aside.

    A pool stands at its largest CPU: up to there its mean latency was seen.
    """
    pools: list[list[float]] = []  # largest x, sum of y, count
    for x, y in sorted(points):
        pools.append([x, y, 1.0])
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] > pools[-1][1] / pools[-1][2]:
            last = pools.pop()
            pools[-1] = [last[0], pools[-1][1] + last[1], pools[-1][2] + last[2]]
    return [(x, y / n) for x, y, n in pools]


def fit(points: Sequence[Mapping[str, Any]]) -> CostModel:
    """A model from the points of a sweep (see `loadtest.capacity.sweep.points_of`); raises FitError."""
    usable = [point for point in points if point.get("cpu_cores") is not None]
    if len(usable) < 4:
        raise FitError(
            "a model needs at least four measured stages of an embedded server: run a longer sweep"
        )
    loads = np.array([_row(point) for point in usable])
    linear = np.column_stack([np.ones(len(usable)), loads])
    measured_cores = np.array([point["cpu_cores"] for point in usable])
    weights = 1 / (measured_cores + CPU_NOISE)
    needed = bootstrap_fit(linear * weights[:, None], measured_cores * weights, lower_fit)
    used, half_spent = _used_fit(linear, measured_cores, weights)
    sized = [point for point in usable if point.get("pss_bytes")]
    if not sized or len({round(point["connections"], -1) for point in sized}) < 2:
        raise FitError("memory needs stages with different numbers of connections: sweep connections too")
    memory = bootstrap_fit(
        np.array([[1.0, point["connections"], point["operations_per_s"]] for point in sized]),
        np.array([point["pss_bytes"] for point in sized]),
    )
    sockets = [point for point in sized if point.get("socket_bytes") and point["connections"]]
    socket = bootstrap_fit(
        np.array([[point["connections"]] for point in sockets]),
        np.array([point["socket_bytes"] for point in sockets]),
    )
    latency = [
        (float(cores), point["p95_ms"])
        for cores, point in zip(linear @ needed[0], usable, strict=True)
        if point.get("p95_ms") is not None and point["settled"]
    ]
    messages = sum(point["messages_per_s"] for point in usable)
    return CostModel(
        needed,
        used,
        half_spent,
        memory,
        socket,
        _rising(latency),
        sum(point["bytes_per_s"] for point in usable) / messages if messages else 0.0,
        {term: max(point[term] for point in usable) for term in CPU_TERMS},
        _entangled(loads),
    )


def _entangled(loads: Array) -> list[tuple[str, str]]:
    """Pairs of terms that are proportional in the points, or nearly."""
    found = []
    for a, b in itertools.combinations(range(loads.shape[1]), 2):
        sizes = np.linalg.norm(loads[:, a]) * np.linalg.norm(loads[:, b])
        if sizes and loads[:, a] @ loads[:, b] > ENTANGLED * sizes:
            found.append((CPU_TERMS[a], CPU_TERMS[b]))
    return found
