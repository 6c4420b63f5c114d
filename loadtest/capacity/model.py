"""Cost models of one gateway worker, fitted to measured stages.

    CPU needed    = base + a x connections + b x connects/s + c x operations/s + d x deliveries/s
    CPU used      = the same terms, fitted by themselves, + h x what spare time is spent on (see `spare`)
    memory        = base + e x connections + g x operations/s     (PSS; rooms keep recent changes)
    socket memory = f x connections               (kernel buffers and slab)
    bytes sent    = i x connects/s + j x operations/s + k x deliveries/s
    latency       = of a queue whose server the load fills (see `latency`)

A node that has CPU to spare spends it: it commits and writes less at a time, and soon. So what it uses says
little about how full it is, and its busiest stages show what a load needs: the costs are an expectile
regression (Newey and Powell 1987) along the lower edge of the measurements. Without busy stages that is too
much, never too little. Latency follows what is used without what is spent, which a few calm stages show.

What is used is fitted to settled stages, where they tell what a connect costs: who arrives first opens rooms.

Costs can't be negative, so the least squares are over the subsets of terms whose coefficients come out
non-negative. Confidence intervals are percentiles of the fits to resampled points (bootstrap), so they hold
for the machine that was measured and say nothing about another. `usl` is Gunther's Universal Scalability
Law, X(n) = n / (1 + sigma (n - 1) + kappa n (n - 1)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from loadtest.capacity.fits import (
    Estimate,
    FitError,
    bootstrap_fit,
    estimate,
    lower_fit,
    nonnegative_fit,
)
from loadtest.capacity.latency import LatencyModel, Measured, fit_latency
from loadtest.capacity.spare import CANDIDATES, Spare

Array = np.ndarray[Any, Any]
CPU_TERMS = ("connections", "connects_per_s", "operations_per_s", "deliveries_per_s")
ENTANGLED = 0.99  # cosine of two columns
CPU_NOISE = 0.05  # cores; above it the error of a measurement grows with its size
BYTES_NOISE = 1000.0  # a second, of what isn't a message of an edit
CONNECTS_MIN = 20.0  # a second: a settled stage that tells what one costs


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
    spare: Spare  # what that CPU does
    memory: Array  # columns: base, connections, operations/s
    socket: Array  # column: connections
    latency: Sequence[tuple[float, float]]  # (CPU needed in cores, p95 in ms), by CPU
    waits: LatencyModel | None
    sent: Array  # bytes, columns: connects/s, operations/s, deliveries/s
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
        done = float(self.spare.done(load.get("operations_per_s", 0.0)))
        return estimate(self.used @ np.array([1.0, *_row(load), done]))

    def cost(self, term: str) -> Estimate:
        """Cores for one more unit of a term (a connection, an operation a second, ...) of a busy worker."""
        return estimate(self.needed[:, 1 + CPU_TERMS.index(term)])

    def memory_bytes(self, connections: float, operations_per_s: float = 0.0) -> Estimate:
        """Process memory (PSS) of one worker with so many connections and edits."""
        return estimate(self.memory @ np.array([1.0, connections, operations_per_s]))

    def socket_bytes(self, connections: float) -> Estimate:
        """Kernel memory of so many sockets, on the server's side."""
        return estimate(self.socket[:, 0] * connections)

    def bytes_per_s(self, load: Mapping[str, float]) -> float:
        """What leaves for the clients under a load, uncompressed."""
        return float(self.sent @ _row(load)[1:])

    def p95_ms(self, load: Mapping[str, float]) -> Estimate | None:
        """Delivery p95 of one worker under this load, with the interval of a measurement of it.

        None where the load needs more than a core, or no latency was measured.
        """
        if self.waits is None:
            return None
        work = self.used[0][:-1]
        held = float(self.spare.held(load.get("operations_per_s", 0.0)))
        return self.waits.predict(float(work @ [1.0, *_row(load)]), _burst_ms(load, work[-1]), held)

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


def _burst_ms(load: Mapping[str, float], delivery_s: float) -> float:
    """How long the deliveries of one edit take."""
    operations = load.get("operations_per_s", 0.0)
    return 1000 * delivery_s * load.get("deliveries_per_s", 0.0) / operations if operations else 0.0


def _used_fit(linear: Array, wanted: Array, weights: Array) -> tuple[Array, Spare]:
    """The fits of the CPU used, and what explains best where the spare CPU goes."""
    rates = linear[:, 1 + CPU_TERMS.index("operations_per_s")]

    def columns(spare: Spare) -> Array:
        return np.column_stack([linear, spare.done(rates)]) * weights[:, None]

    def error(spare: Spare) -> float:
        matrix = columns(spare)
        return float(np.sum((matrix @ nonnegative_fit(matrix, wanted * weights) - wanted * weights) ** 2))

    best = min(CANDIDATES, key=error)
    return bootstrap_fit(columns(best), wanted * weights), best


def _settled(points: Sequence[Mapping[str, Any]]) -> Array:
    """Which points the CPU used is fitted to: settled ones, where some of them tell of connects."""
    settled = np.array([bool(point["settled"]) for point in points])
    connects = np.array([point["connects_per_s"] for point in points])
    return settled if (connects[settled] > CONNECTS_MIN).any() else np.ones(len(points), bool)


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
    calm = _settled(usable)
    used, spare = _used_fit(linear[calm], measured_cores[calm], weights[calm])
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
    timed = [
        (row, point)
        for row, point in zip(linear, usable, strict=True)
        if point.get("p95_ms") is not None and point["settled"]
    ]
    work, delivery_s = used[0][:-1], used[0][-2]
    waits = [
        Measured(
            float(row @ work),
            _burst_ms(point, delivery_s),
            point["p95_ms"],
            float(spare.held(point["operations_per_s"])),
        )
        for row, point in timed
    ]
    return CostModel(
        needed,
        used,
        spare,
        memory,
        socket,
        _rising([(float(row @ needed[0]), point["p95_ms"]) for row, point in timed]),
        fit_latency(waits),
        _sent(loads[:, 1:], np.array([point["bytes_per_s"] for point in usable])),
        {term: max(point[term] for point in usable) for term in CPU_TERMS},
        _entangled(loads),
    )


def _sent(loads: Array, bytes_per_s: Array) -> Array:
    """Bytes of a connect, an edit and a delivery, by the relative error."""
    weights = 1 / (bytes_per_s + BYTES_NOISE)
    return nonnegative_fit(loads * weights[:, None], bytes_per_s * weights)


def _entangled(loads: Array) -> list[tuple[str, str]]:
    """Pairs of terms that are proportional in the points, or nearly."""
    found = []
    for a, b in combinations(range(loads.shape[1]), 2):
        sizes = np.linalg.norm(loads[:, a]) * np.linalg.norm(loads[:, b])
        if sizes and loads[:, a] @ loads[:, b] > ENTANGLED * sizes:
            found.append((CPU_TERMS[a], CPU_TERMS[b]))
    return found
