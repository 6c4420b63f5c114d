"""Cost models of one gateway worker, fitted to measured stages.

    CPU needed    = base + a x connections + b x connects/s + c x operations/s + d x deliveries/s
    CPU used      = base + connections + connects/s + operations/s, each with a cost of its own,
                    + h x appends/s + i x batches/s + j x writes/s + n x documents indexed/s, and what
                    is shared: o x welcomes/s + p x turns/s     (see `gathering`, and below)
    memory        = base of each worker, of a supervisor where there are several,
                    + e x connections + g x operations/s     (PSS; rooms keep recent changes)
    socket memory = f x connections               (kernel buffers and slab)
    bytes sent    = k x connects/s + l x operations/s + m x deliveries/s
    latency       = of a queue whose server the load fills (see `latency`)

A node that has CPU to spare spends it: it commits and writes less at a time, and soon. So what it uses says
little about how full it is, and its busiest stages show what a load needs: the costs are an expectile
regression (Newey and Powell 1987) along the lower edge of the measurements. Without busy stages that is too
much, never too little.

What is used is fitted to the appends and batches that the server counted, and predicted with those that a
load makes. A batch is one write to each who sees its document, however many edits it has. So the number of
documents matters, and deliveries cost what their writes do. Connects and edits cost less where many come: a
part of each, a *welcome* and a *turn*, is shared by those that come within so long, for a loop that wakes up
takes all that waits. The fit is to settled stages, where they tell what a connect costs: who arrives first
opens rooms. Latency follows what is used without appends and the index, which are the work of another thread
and another process.

Where a share of the connections has permessage-deflate, what that costs and saves is part of each cost: a
model is for the share that was measured.

Costs can't be negative, so the least squares are over the coefficients of 0 and more (see `fits`).
Confidence intervals are percentiles of the fits to resampled points (bootstrap), so they hold for the machine
that was measured and say nothing about another. `usl` is Gunther's Universal Scalability Law,
X(n) = n / (1 + sigma (n - 1) + kappa n (n - 1)).
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
from loadtest.capacity.gathering import Gathering, Rounds, fit_gathering, readers_of
from loadtest.capacity.latency import LatencyModel, Measured, fit_latency

Array = np.ndarray[Any, Any]
CPU_TERMS = ("connections", "connects_per_s", "operations_per_s", "deliveries_per_s")
LOADS = CPU_TERMS[:3]
ROUND = [3, 7, 8]  # the columns of the CPU used that an append brings: edits, batches, writes
TURNS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
ENTANGLED = 0.99  # cosine of two columns
CPU_NOISE = 0.01  # cores; above it the error of a measurement grows with its size
BYTES_NOISE = 1000.0  # a second, of what isn't a message of an edit
CONNECTS_MIN = 20.0  # a second: a settled stage that tells what one costs


def usl(workers: float, sigma: float, kappa: float) -> float:
    """How many times the throughput of one worker `workers` have."""
    return workers / (1 + sigma * (workers - 1) + kappa * workers * (workers - 1))


def fit_usl(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(sigma, kappa) from (workers, throughput) with at least three numbers of workers; raises FitError."""
    if len({workers for workers, _ in points}) < 3:
        raise FitError("the Universal Scalability Law needs runs with at least three numbers of workers")
    # The throughput of one worker is fitted too: nobody may have measured it.
    rows = [(1, n - 1, n * (n - 1)) for n, _ in points]
    wanted = [n / throughput for n, throughput in points]
    one, contention, coherency = nonnegative_fit(np.array(rows, float), np.array(wanted))
    if not one:
        raise FitError("the Universal Scalability Law doesn't fit these runs: add one of a single worker")
    return float(contention / one), float(coherency / one)


@dataclass(frozen=True, slots=True)
class CostModel:
    """The costs of a worker. The arrays hold one row a resample; the first is the fit."""

    needed: Array  # columns: base, then CPU_TERMS
    used: Array  # columns: base, LOADS, welcomes/s, turns/s, appends/s, batches/s, writes/s, indexed/s
    gathering: Gathering  # how many appends and batches a load makes
    turn_s: float  # what comes within so long shares a welcome or a turn
    memory: Array  # columns: a worker, a supervisor, connections, operations/s
    socket: Array  # column: connections
    latency: Sequence[tuple[float, float]]  # (CPU needed in cores, p95 in ms), by CPU
    waits: LatencyModel | None
    sent: Array  # bytes, columns: connects/s, operations/s, deliveries/s
    measured: Mapping[str, float]  # the largest measured value of each term
    entangled: Sequence[tuple[str, str]] = ()  # terms that rose together: their costs can't be told apart
    compressed_share: float = 0.0  # of the connections: what it costs is part of all the other costs

    def cpu_needed(self, load: Mapping[str, float]) -> Estimate:
        """The CPU that a load needs in all, the workers' bases aside."""
        return estimate(self.needed[:, 1:] @ _row(load))

    def cpu_base(self) -> Estimate:
        """The CPU that a worker needs without any load."""
        return estimate(self.needed[:, 0])

    def cpu_used(self, load: Mapping[str, float]) -> Estimate:
        """The CPU that one worker takes under this load, its base included."""
        return estimate(self.used @ _used_row(load, self.turn_s, self.gathering.rounds(load)))

    def cost(self, term: str) -> Estimate:
        """Cores for one more unit of a term (a connection, an operation a second, ...) of a busy worker."""
        return estimate(self.needed[:, 1 + CPU_TERMS.index(term)])

    def memory_bytes(self, connections: float, operations_per_s: float = 0.0, workers: int = 1) -> Estimate:
        """Process memory (PSS) of a node whose workers have so many connections and edits together."""
        return estimate(self.memory @ _memory_row(workers, connections, operations_per_s))

    def socket_bytes(self, connections: float) -> Estimate:
        """Kernel memory of so many sockets, on the server's side."""
        return estimate(self.socket[:, 0] * connections)

    def bytes_per_s(self, load: Mapping[str, float]) -> float:
        """What leaves for the clients under a load, compressed for as many of them as were measured."""
        return float(self.sent @ _row(load)[1:])

    def compression(self) -> str:
        """What the costs say of permessage-deflate, in words."""
        if not self.compressed_share:
            return "uncompressed"
        return f"compressed for {self.compressed_share:.0%} of the connections, as measured"

    def p95_ms(self, load: Mapping[str, float]) -> Estimate | None:
        """Delivery p95 of one worker under this load, with the interval of a measurement of it.

        None where the load needs more than a core, or no latency was measured.
        """
        if self.waits is None:
            return None
        return self.waits.predict(*_queue(load, self.used[0], self.gathering, self.turn_s))

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


def _used_row(load: Mapping[str, float], turn_s: float, rounds: Rounds) -> Array:
    """What a load makes of a worker, in the order of the columns of the CPU used."""
    linear = [load.get(term, 0.0) for term in LOADS]
    shared = [rate / (1 + rate * turn_s) for rate in linear[1:]]
    writes = rounds.batches_per_s * readers_of(load)
    appended = [rounds.appends_per_s, rounds.batches_per_s, writes, rounds.indexed_per_s]
    return np.array([1.0, *linear, *shared, *appended])


def _memory_row(workers: int, connections: float, operations_per_s: float) -> Array:
    return np.array([workers, workers > 1, connections, operations_per_s], float)


def _queue(
    load: Mapping[str, float], used: Array, gathering: Gathering, turn_s: float
) -> tuple[float, float, float]:
    """What latency follows: the share of a core, and in ms a round and how long appends are held back."""
    rounds = gathering.rounds(load)
    loop = rounds._replace(appends_per_s=0.0, indexed_per_s=0.0)
    spent = _used_row(load, turn_s, loop) * used
    round_ms = 1000 * float(spent[ROUND].sum()) / rounds.appends_per_s if rounds.appends_per_s else 0.0
    return float(spent.sum()), round_ms, rounds.held_ms


def _calm(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that the CPU used is fitted to: settled ones, where some of them tell of connects."""
    settled = [point for point in points if point["settled"]]
    tell = any(point["connects_per_s"] > CONNECTS_MIN for point in settled)
    return settled if tell else list(points)


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
    alone = _alone(points)
    if len(alone) < 4:
        raise FitError(
            "a model needs at least four measured stages of an embedded server of one worker: run a longer "
            "sweep"
        )
    loads = np.array([_row(point) for point in alone])
    timed = [point for point in alone if point.get("p95_ms") is not None and point["settled"]]
    gathering = fit_gathering(alone)
    needed, (used, turn_s) = _needed(alone), _used(_calm(alone), gathering)
    sized = [point for point in points if point.get("cpu_cores") is not None and point.get("pss_bytes")]
    curve = [(float(needed[0] @ [1.0, *_row(point)]), point["p95_ms"]) for point in timed]
    return CostModel(
        needed,
        used,
        gathering,
        turn_s,
        _memory(sized),
        _socket(sized),
        _rising(curve),
        fit_latency([_measured(point, used[0], gathering, turn_s) for point in timed]),
        _sent(loads[:, 1:], np.array([point["bytes_per_s"] for point in alone])),
        {term: max(point[term] for point in alone) for term in CPU_TERMS},
        _entangled(loads),
        _compressed_share(points),
    )


def _compressed_share(points: Sequence[Mapping[str, Any]]) -> float:
    """That of all points: what compression costs can't be told from the rest where they differ."""
    shares = {round(point.get("compressed_share", 0.0), 2) for point in points}
    if len(shares) > 1:
        told = ", ".join(f"{share:.0%}" for share in sorted(shares))
        raise FitError(f"different shares of the connections were compressed ({told}): fit each by itself")
    return float(shares.pop())


def _alone(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of one worker whose CPU is known."""
    return [one for one in points if one.get("cpu_cores") is not None and one.get("workers", 1) == 1]


def _kinds(points: Sequence[Mapping[str, Any]]) -> list[tuple[Any, bool]]:
    """What each point tells of: what was varied, and whether it is of users who arrive."""
    return [(point.get("vary"), bool(point["settled"])) for point in points]


def _weighed(matrix: Sequence[Array], points: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """(the matrix, the CPU that was measured), so that a fit is by the relative error."""
    cores = np.array([point["cpu_cores"] for point in points])
    weights = 1 / (cores + CPU_NOISE)
    return np.array(matrix) * weights[:, None], cores * weights


def _needed(points: Sequence[Mapping[str, Any]]) -> Array:
    matrix, wanted = _weighed([np.array([1.0, *_row(point)]) for point in points], points)
    return bootstrap_fit(matrix, wanted, lower_fit)


def _used(points: Sequence[Mapping[str, Any]], gathering: Gathering) -> tuple[Array, float]:
    """The fits of the CPU used, and `turn_s`: what explains best what was measured."""
    _, turn_s = _best_turn(points, gathering)
    matrix, wanted = _used_weighed(points, gathering, turn_s)
    return bootstrap_fit(matrix, wanted, kinds=_kinds(points)), turn_s


def _best_turn(points: Sequence[Mapping[str, Any]], gathering: Gathering) -> tuple[float, float]:
    """(the mean squared error, `turn_s`) of the best fit."""

    def error(turn_s: float) -> float:
        matrix, wanted = _used_weighed(points, gathering, turn_s)
        return float(np.mean((matrix @ nonnegative_fit(matrix, wanted) - wanted) ** 2))

    return min((error(turn_s), turn_s) for turn_s in TURNS_S)


def _used_weighed(
    points: Sequence[Mapping[str, Any]], gathering: Gathering, turn_s: float
) -> tuple[Array, Array]:
    return _weighed([_used_row(one, turn_s, _counted(one, gathering)) for one in points], points)


def misfit(points: Sequence[Mapping[str, Any]]) -> float:
    """By how much the CPU used differs from its fit, of points that `fit` takes: a relative error."""
    alone = _alone(points)
    return float(np.sqrt(_best_turn(_calm(alone), fit_gathering(alone))[0]))


def _counted(point: Mapping[str, Any], gathering: Gathering) -> Rounds:
    """What a server made of a load: appends and batches as it counted them, where it did."""
    rounds = gathering.rounds(point)
    if point.get("appends_per_s") is None:
        return rounds
    return rounds._replace(appends_per_s=point["appends_per_s"], batches_per_s=point["batches_per_s"])


def _memory(points: Sequence[Mapping[str, Any]]) -> Array:
    if len({round(point["connections"], -1) for point in points}) < 2:
        raise FitError("memory needs stages with different numbers of connections: sweep connections too")
    rows = [
        _memory_row(point.get("workers", 1), point["connections"], point["operations_per_s"])
        for point in points
    ]
    return bootstrap_fit(
        np.array(rows), np.array([point["pss_bytes"] for point in points]), kinds=_kinds(points)
    )


def _socket(points: Sequence[Mapping[str, Any]]) -> Array:
    known = [point for point in points if point.get("socket_bytes") and point["connections"]]
    if not known:
        raise FitError("no stage tells the kernel memory of its sockets: sweep a server of this machine")
    return bootstrap_fit(
        np.array([[point["connections"]] for point in known]),
        np.array([point["socket_bytes"] for point in known]),
    )


def _measured(point: Mapping[str, Any], used: Array, gathering: Gathering, turn_s: float) -> Measured:
    rho, round_ms, held_ms = _queue(point, used, gathering, turn_s)
    return Measured(rho, round_ms, point["p95_ms"], held_ms)


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
