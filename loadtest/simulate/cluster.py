"""The simulation: workers and Redis masters as queues, edits and connects as their jobs.

A worker is one core that takes jobs first come, first served: an author's edit, an announcement with its
deliveries, a connect. What idle connections cost is taken off its speed. A Redis master is a queue too, and
may be away for a while. Every job is an event with an arrival of its own (Poisson, or as clients come back
after something broke); a queue's departures follow exactly from Lindley's recursion, D(n) = max(A(n),
D(n-1)) + S(n).

Workers are alike, so a few of them (`DETAILED`) are simulated job by job under the load that each of all
bears; an edit passes one of them as its author's, one as its reader's. That is what makes a million
connections tractable; it leaves out only that two queues of one edit are correlated.

Nothing is known here that wasn't measured (`Costs`, from a calibration) or said (`Cluster`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.capacity.drain import DETECT_S, RECONNECT_S

Array = np.ndarray[Any, Any]
DETAILED = 6
WARM_S = 2.0
EVENT_AT_S = 6.0
OVERLOADED = 0.98
# Of a worker with so many times its load nothing is to be learned but that: its queue would fill the memory.
HOPELESS = 10.0
# Of fewer edits in half a second the p95 is about the slowest.
TELLING = 40
REDIS_APPENDS_PER_S = 80_000.0
REDIS_FAILOVER_S = 6.5  # drills: 6 to 7 s


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds of a worker, and bytes; `floor_ms` is the delivery p95 where nothing is crowded."""

    connection: float  # idle, a second
    connect: float
    operation: float
    delivery: float
    floor_ms: float
    worker_base: float = 0.0  # cores of a worker that has nothing to do
    connection_bytes: float = 0.0
    worker_bytes: float = 0.0
    supervisor_bytes: float = 0.0  # where there are several workers
    ack_bytes: float = 0.0
    delivery_bytes: float = 0.0
    edit_bytes: float = 0.0  # memory of a node for an edit a second
    redis_append: float = 1 / REDIS_APPENDS_PER_S
    redis_failover_s: float = REDIS_FAILOVER_S

    @property
    def floor_mean_ms(self) -> float:
        """A p95 of the floor belongs to an exponential spread with this mean."""
        return self.floor_ms / math.log(20)

    def bytes_of_node(self, workers: int) -> float:
        """The memory of a node that has nothing to do."""
        return workers * self.worker_bytes + (self.supervisor_bytes if workers > 1 else 0.0)

    def bytes_of_edit(self, viewers: float) -> float:
        """What an edit sends to clients: its acknowledgement, and a delivery for each who sees it."""
        return self.ack_bytes + self.delivery_bytes * viewers


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is asked for: a load, and the machines that bear it."""

    connections: float
    operations_per_user_s: float
    viewers: float
    nodes: int
    workers_a_node: int
    redis_masters: int = 1
    zones: int = 3
    documents: float | None = None  # changed within two days; None: each has its viewers and one more
    reconnect_s: float = RECONNECT_S
    detect_s: float = DETECT_S
    hot_readers: float = 0.0  # of one document that is edited hot_operations_per_s times
    hot_operations_per_s: float = 2.0
    horizon_s: float = 20.0

    @property
    def workers(self) -> int:
        return self.nodes * self.workers_a_node

    @property
    def operations_per_s(self) -> float:
        """Edits at the peak."""
        return self.connections * self.operations_per_user_s

    def demand(self, costs: Costs, workers: float) -> float:
        """The share of its core that each of so many workers needs."""
        return _Loads.of(self, costs, workers).utilisation(costs)


EVENTS = ("steady", "node", "zone", "redis", "rolling", "storm", "hot")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the simulation showed."""

    p95_ms: float
    utilisation: float  # of a worker, after the event; above 1 its queue grows
    recovered_s: float | None  # after the event until users are back and p95 is as before; None: not in time
    series: tuple[tuple[float, float], ...]  # (seconds, p95 of that half second in ms)
    overloaded: bool


def departures(arrivals: Array, services: Array) -> Array:
    """When a first-come queue is done with each job."""
    done = np.cumsum(services)
    found: Array = done + np.maximum.accumulate(arrivals - (done - services))
    return found


def _poisson(rng: np.random.Generator, rate: float, start: float, end: float) -> Array:
    count = rng.poisson(max(rate * (end - start), 0.0))
    return np.sort(rng.uniform(start, end, count))


@dataclass(frozen=True, slots=True)
class _Loads:
    """What one worker bears, before or after the event."""

    workers: float
    operations: float
    announcements: float
    local_viewers: float
    idle: float

    @classmethod
    def of(cls, cluster: Cluster, costs: Costs, workers: float) -> _Loads:
        operations = cluster.operations_per_s
        # An edit is told to each worker that has some of its viewers; these are anywhere.
        told = (
            workers * (1 - (1 - 1 / workers) ** cluster.viewers) if workers > 1 else min(cluster.viewers, 1)
        )
        return cls(
            workers,
            operations / workers,
            operations * told / workers,
            cluster.viewers / told if told else 0.0,
            costs.worker_base + costs.connection * cluster.connections / workers,
        )

    def utilisation(self, costs: Costs) -> float:
        """The share of the core that is needed."""
        told = costs.delivery * self.local_viewers
        return self.idle + self.operations * costs.operation + self.announcements * told


class _Event:
    """What changes at EVENT_AT_S: workers that are left, connects that come, a master that is away."""

    def __init__(self, kind: str, cluster: Cluster) -> None:
        self.kind = kind
        lost = {"node": 1, "zone": -(-cluster.nodes // cluster.zones)}.get(kind, 0)
        self.left = max((cluster.nodes - lost) * cluster.workers_a_node, 0)
        moved = cluster.connections * lost / cluster.nodes
        if kind == "storm":
            moved = cluster.connections
        self.moved = moved
        self.rolling_s = 0.0
        if kind == "rolling":  # one node after the other hands its users to the others
            self.left = max((cluster.nodes - 1) * cluster.workers_a_node, 1)
            self.rolling_s = cluster.horizon_s - EVENT_AT_S - cluster.reconnect_s - 4.0

    def connects(self, rng: np.random.Generator, cluster: Cluster) -> Array:
        """Arrivals of connects at one of the workers that are left."""
        if self.kind == "rolling":
            share = cluster.connections / max(self.left, 1)
            return EVENT_AT_S + np.sort(rng.uniform(0, max(self.rolling_s, 1.0), rng.poisson(share)))
        share = self.moved / max(self.left, 1)
        start = EVENT_AT_S + (0.0 if self.kind == "storm" else cluster.detect_s)
        return start + np.sort(rng.uniform(0, cluster.reconnect_s, rng.poisson(share)))


@dataclass(slots=True)
class _Jobs:
    arrivals: Array
    services: Array
    kinds: Array  # 0 edit, 1 announcement, 2 connect

    def done(self) -> Array:
        return departures(self.arrivals, self.services)


def _worker(
    rng: np.random.Generator, cluster: Cluster, costs: Costs, loads: tuple[_Loads, _Loads], event: _Event
) -> _Jobs:
    """One worker's jobs, in order."""
    spans = ((0.0, EVENT_AT_S, loads[0]), (EVENT_AT_S, cluster.horizon_s, loads[1]))
    parts: list[tuple[Array, float, int]] = []
    for start, end, load in spans:
        speed = max(1 - load.idle, 0.01)
        told = costs.delivery * load.local_viewers
        parts.append((_poisson(rng, load.operations, start, end), costs.operation / speed, 0))
        parts.append((_poisson(rng, load.announcements, start, end), told / speed, 1))
        if cluster.hot_readers and event.kind == "hot" and start > 0:
            hot = costs.delivery * cluster.hot_readers / load.workers
            parts.append((_poisson(rng, cluster.hot_operations_per_s, start, end), hot / speed, 1))
    parts.append((event.connects(rng, cluster), costs.connect / max(1 - loads[1].idle, 0.01), 2))
    arrivals = np.concatenate([one for one, _, _ in parts])
    services = np.concatenate([np.full(len(one), cost) for one, cost, _ in parts])
    kinds = np.concatenate([np.full(len(one), kind) for one, _, kind in parts])
    order = np.argsort(arrivals, kind="stable")
    return _Jobs(arrivals[order], services[order], kinds[order])


def _redis_done(
    rng: np.random.Generator, cluster: Cluster, costs: Costs, ready: Array, event: _Event
) -> Array:
    """When a master has what is ready to be appended; of what is sent to one, these are a sample."""
    rate = cluster.operations_per_s / cluster.redis_masters
    busy = rate * costs.redis_append
    # Of a queue of fixed service, the wait of a random arrival (Pollaczek and Khinchine's mean, exponential).
    mean = costs.redis_append * busy / (2 * max(1 - busy, 0.02))
    done: Array = ready + costs.redis_append + rng.exponential(mean, len(ready))
    if event.kind == "redis":
        away = (ready >= EVENT_AT_S) & (ready < EVENT_AT_S + costs.redis_failover_s)
        away &= rng.random(len(ready)) < 1 / cluster.redis_masters
        # What waited goes in one behind the other once a replica is promoted.
        position = np.cumsum(away) * costs.redis_append
        done = np.where(away, EVENT_AT_S + costs.redis_failover_s + position, done)
    return done


def simulate(cluster: Cluster, costs: Costs, kind: str, seed: int) -> Outcome:
    """One run; the same seed gives the same outcome."""
    rng = np.random.default_rng([seed, EVENTS.index(kind)])
    event = _Event(kind, cluster)
    before = _Loads.of(cluster, costs, cluster.workers)
    if event.left < 1:
        return Outcome(np.inf, np.inf, None, (), True)
    after = _Loads.of(cluster, costs, event.left)
    if max(before.utilisation(costs), after.utilisation(costs)) > HOPELESS:
        return Outcome(np.inf, after.utilisation(costs), None, (), True)
    workers = [
        _worker(rng, cluster, costs, (before, after), event) for _ in range(min(DETAILED, cluster.workers))
    ]
    starts, latencies = _edits(rng, cluster, costs, workers, event)
    moved = [jobs.done()[jobs.kinds == 2] for jobs in workers]
    back_s = max((float(one[-1]) for one in moved if len(one)), default=EVENT_AT_S)
    series = _series(starts, latencies, cluster.horizon_s)
    # Judged from the event on, or in steady state from when the queues have filled.
    judged = latencies[starts >= (WARM_S if kind == "steady" else EVENT_AT_S)]
    utilisation = after.utilisation(costs)
    if kind == "hot":
        utilisation += cluster.hot_operations_per_s * costs.delivery * cluster.hot_readers / after.workers
    redis_utilisation = cluster.operations_per_s / cluster.redis_masters * costs.redis_append
    return Outcome(
        float(np.percentile(judged, 95)) if len(judged) else costs.floor_ms,  # of no edit: nothing is crowded
        utilisation,
        _recovered(_series(starts, latencies, cluster.horizon_s, TELLING), back_s, cluster),
        series,
        max(utilisation, redis_utilisation) > OVERLOADED,
    )


def _edits(
    rng: np.random.Generator, cluster: Cluster, costs: Costs, workers: list[_Jobs], event: _Event
) -> tuple[Array, Array]:
    """(when it was due, delivery latency in ms) of every edit that the detailed workers took."""
    finished = [jobs.done() for jobs in workers]
    starts, latencies = [], []
    for jobs, done in zip(workers, finished, strict=True):
        own = jobs.kinds == 0
        due = jobs.arrivals[own]
        if not len(due):
            continue
        arrived = _redis_done(rng, cluster, costs, done[own], event)
        reader = rng.integers(0, len(workers), 1)[0]
        read = arrived + _waits(workers[reader], finished[reader], arrived) + costs.delivery
        starts.append(due)
        latencies.append(1000 * (read - due) + rng.exponential(costs.floor_mean_ms, len(due)))
    if not starts:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(starts), np.concatenate(latencies)


def _waits(jobs: _Jobs, done: Array, at: Array) -> Array:
    """How long who comes at these moments waits in a queue."""
    last = np.searchsorted(jobs.arrivals, at, side="right") - 1
    found: Array = np.where(last >= 0, np.maximum(done[np.maximum(last, 0)] - at, 0.0), 0.0)
    return found


def _series(
    starts: Array, latencies: Array, horizon_s: float, least: int = 1
) -> tuple[tuple[float, float], ...]:
    """The p95 of each half second that has so many edits at least."""
    bins = np.floor(starts * 2).astype(int)
    points = []
    for number in range(int(WARM_S * 2), int(horizon_s * 2)):
        part = latencies[bins == number]
        if len(part) >= least:
            points.append(((number + 1) / 2, float(np.percentile(part, 95))))
    return tuple(points)


def _recovered(series: tuple[tuple[float, float], ...], back_s: float, cluster: Cluster) -> float | None:
    """From the event until everybody is back and the p95, where it tells, stays within twice what it was."""
    usual = [p95 for at_s, p95 in series if at_s <= EVENT_AT_S]
    if back_s >= cluster.horizon_s:
        return None
    if not usual:
        return back_s - EVENT_AT_S
    limit = 2 * float(np.median(usual))
    late = [at_s for at_s, p95 in series if at_s > EVENT_AT_S and p95 > limit]
    until = max([back_s, *late])
    return None if late and late[-1] >= series[-1][0] else until - EVENT_AT_S
