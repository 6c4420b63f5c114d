"""Plans from the simulation: how many nodes, what p95, how long to recover, what binds, what breaks first,
what it costs. Each answer comes with the interval over seeds and over the resampled costs of the
calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from loadtest.capacity.drain import coming
from loadtest.capacity.model import CostModel
from loadtest.capacity.prices import Machine, Prices
from loadtest.capacity.upkeep import DAY, REDIS_UTILISATION, Kept, month, redis_room
from loadtest.simulate.cluster import (
    EVENTS,
    REDIS_APPENDS_PER_S,
    REDIS_FAILOVER_S,
    Cluster,
    Costs,
    Outcome,
    simulate,
)

GIB = 1 << 30
NODES_MAX = 4096
CPU_MAX = 0.8  # of a core a worker may need, a node lost: above it queues run away within minutes
IDLE = 0.025  # of a core for the load: of twenty edits one waits in one of its two queues, which no p95 shows
GROWTH = 1.1  # a step of the load on the way to what breaks first
PERCENT = (5, 50, 95)

CPU = "CPU of a worker"
APPENDS, REDIS_MEMORY = "appends of Redis", "memory of Redis"  # what more nodes don't help

Interval = tuple[float, float, float]  # low, middle, high


class StudyError(Exception):
    """There is no plan; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a plan has to hold, with `survive` nodes lost."""

    p95_ms: float = 200.0
    survive: int = 1
    connections_a_worker: float = 19_000
    seeds: int = 5


@dataclass(frozen=True, slots=True)
class Machines:
    """What a cluster is made of."""

    node: Machine
    redis: Machine


def costs_of(model: CostModel, sample: int) -> Costs:
    """The costs of one resample of a calibration; number 0 is the fit itself."""
    base, connection, connect, operation, delivery = (float(one) for one in model.needed[sample])
    memory = [float(one) for one in model.memory[sample]]
    socket = float(model.socket[sample][0])
    floor = min((latency for _, latency in model.latency), default=5.0)
    return Costs(
        connection,
        connect,
        operation,
        delivery,
        floor,
        worker_base=base,
        connection_bytes=memory[2] + socket,
        worker_bytes=memory[0],
        supervisor_bytes=memory[1],
        ack_bytes=float(model.sent[1]),
        delivery_bytes=float(model.sent[2]),
        edit_bytes=memory[3],
    )


def limits(cluster: Cluster, costs: Costs, machines: Machines, lost: int, most: float) -> dict[str, float]:
    """How full each resource is with some nodes lost; 1 is all that may be used."""
    left = max(cluster.nodes - lost, 0)
    if not left:
        return {"nodes": (lost + 1) / cluster.nodes}
    share = cluster.connections / left
    rate, masters, node = cluster.operations_per_s, cluster.redis_masters, machines.node
    memory = share * costs.connection_bytes + rate / left * costs.edit_bytes
    memory += costs.bytes_of_node(cluster.workers_a_node)
    wire = 8e-6 * rate * costs.bytes_of_edit(cluster.viewers) / left
    return {
        CPU: cluster.demand(costs, left * cluster.workers_a_node) / CPU_MAX,
        "memory of a node": memory / (node.memory_gib * GIB),
        "connections of a worker": share / cluster.workers_a_node / most,
        "network of a node": wire / node.network_mbit_s,
        APPENDS: rate / masters * costs.redis_append / REDIS_UTILISATION,
        REDIS_MEMORY: kept_of(cluster).redis_bytes(rate) / (masters * redis_room(machines.redis)),
    }


def interval(values: Sequence[float]) -> Interval:
    """(5th, 50th, 95th percentile)."""
    low, middle, high = np.percentile(np.array(values, float), PERCENT)
    return float(low), float(middle), float(high)


def outcomes(cluster: Cluster, model: CostModel, kind: str, seeds: int) -> list[Outcome]:
    """Runs with other seeds, and other resamples of the costs; the first has the fitted ones."""
    rows = len(model.needed)
    samples = [0, *(1 + (37 * seed) % (rows - 1) for seed in range(1, seeds))] if rows > 1 else [0] * seeds
    return [simulate(cluster, costs_of(model, one), kind, seed) for seed, one in enumerate(samples)]


def nodes_for(cluster: Cluster, model: CostModel, machines: Machines, objective: Objective) -> int:
    """The fewest nodes that hold the objective; raises StudyError."""
    costs, most = costs_of(model, 0), objective.connections_a_worker
    _check_reachable(cluster, costs, machines, objective)
    least_ms = math.inf
    for nodes in range(1 + objective.survive, NODES_MAX + 1):
        tried = replace(cluster, nodes=nodes)
        full = limits(tried, costs, machines, objective.survive, most)
        if max(full.values()) > 1:
            continue
        least_ms = min(least_ms, _reduced_p95_ms(tried, model, objective))
        if least_ms <= objective.p95_ms:
            return nodes
        if CPU_MAX * full[CPU] - costs.worker_base < IDLE:
            raise _unreached(objective, f"simulated, with up to {nodes}, is {least_ms:.2f} ms")
    raise StudyError(
        f"a p95 of {objective.p95_ms:g} ms isn't reached with {NODES_MAX} nodes of {machines.node.name}"
    )


def _unreached(objective: Objective, least: str) -> StudyError:
    none = f"a p95 of {objective.p95_ms:g} ms isn't reached with any number of nodes"
    return StudyError(f"{none}: the least that was {least}")


def _check_reachable(cluster: Cluster, costs: Costs, machines: Machines, objective: Objective) -> None:
    """Raises StudyError where no number of nodes would do: one more never fills anything more."""
    if costs.floor_ms > objective.p95_ms:
        raise _unreached(objective, f"measured is {costs.floor_ms:.1f} ms")
    largest = replace(cluster, nodes=NODES_MAX)
    full = limits(largest, costs, machines, objective.survive, objective.connections_a_worker)
    for name in (APPENDS, REDIS_MEMORY):
        if full[name] > 1:
            masters = f"{cluster.redis_masters} Redis master(s)"
            raise StudyError(f"{masters} aren't enough for the {name}: ask for more")
    worst = max(full, key=lambda name: full[name])
    if full[worst] > 1:
        nodes = f"{NODES_MAX} nodes of {machines.node.name}"
        raise StudyError(f"{nodes} aren't enough: the {worst} is {full[worst]:.0%} full")


def kept_of(cluster: Cluster) -> Kept:
    """What it keeps."""
    viewed = cluster.connections / (cluster.viewers + 1)
    return Kept(viewed if cluster.documents is None else cluster.documents)


def masters_for(cluster: Cluster, redis: Machine) -> int:
    """The fewest Redis masters that take the appends, and hold what is kept."""
    return kept_of(cluster).masters(cluster.operations_per_s, redis, REDIS_APPENDS_PER_S)


def breaks_first(
    cluster: Cluster, model: CostModel, machines: Machines, objective: Objective
) -> dict[str, Any]:
    """By how much the load may grow with all nodes there, and what is full then."""
    costs, factor = costs_of(model, 0), 1.0
    while factor < 1000:
        grown = replace(cluster, connections=cluster.connections * factor)
        full = limits(grown, costs, machines, 0, objective.connections_a_worker)
        worst = max(full, key=lambda name: full[name])
        if full[worst] > 1:
            return {"at": factor, "what": worst}
        factor *= GROWTH
    return {"at": factor, "what": "nothing"}


def judged(
    name: str, cluster: Cluster, model: CostModel, machines: Machines, prices: Prices, objective: Objective
) -> dict[str, Any]:
    """Everything about one plan, as plain JSON data."""
    costs = costs_of(model, 0)
    events = {kind: _event(cluster, model, kind, objective) for kind in EVENTS if _applies(kind, cluster)}
    full = limits(cluster, costs, machines, objective.survive, objective.connections_a_worker)
    binding = max(full, key=lambda one: full[one])
    return {
        "name": name,
        "node": machines.node.name,
        "cluster": asdict(cluster),
        "holds": full[binding] <= 1 and _reduced_p95_ms(cluster, model, objective) <= objective.p95_ms,
        "full": full,
        "binds": binding,
        "breaks": breaks_first(cluster, model, machines, objective),
        "events": events,
        "redis_bytes": kept_of(cluster).redis_bytes(cluster.operations_per_s),
        "disk_bytes": kept_of(cluster).disk_bytes(cluster.operations_per_s),
        "bill": dict(money(cluster, costs, machines.node, prices)),
    }


def _reduced_p95_ms(cluster: Cluster, model: CostModel, objective: Objective) -> float:
    """The middle of the steady p95 with the nodes lost that it is to survive."""
    reduced = replace(cluster, nodes=cluster.nodes - objective.survive)
    return interval([one.p95_ms for one in outcomes(reduced, model, "steady", objective.seeds)])[1]


def _applies(kind: str, cluster: Cluster) -> bool:
    if kind == "hot":
        return cluster.hot_readers > 0
    return kind != "zone" or cluster.nodes >= cluster.zones


def _event(cluster: Cluster, model: CostModel, kind: str, objective: Objective) -> dict[str, Any]:
    found = outcomes(cluster, model, kind, objective.seeds)
    recovered = [one.recovered_s for one in found]
    never = sum(one is None for one in recovered)
    known = [one for one in recovered if one is not None]
    return {
        "p95_ms": interval([min(one.p95_ms, 1e9) for one in found]),
        "utilisation": interval([min(one.utilisation, 1e9) for one in found]),
        "recovered_s": interval(known) if known and kind not in ("steady", "hot") else None,
        "not_recovered": never if kind not in ("steady", "hot") else 0,
        "overloaded": sum(one.overloaded for one in found),
        "series": [list(point) for point in found[0].series],
    }


def money(cluster: Cluster, costs: Costs, node: Machine, prices: Prices) -> Mapping[str, float]:
    """Dollars a month, by part, in all, and for each 1,000 connections at the peak."""
    rate = cluster.operations_per_s
    sent = rate * costs.bytes_of_edit(cluster.viewers)
    disk = kept_of(cluster).disk_bytes(rate)
    return month(prices, node, cluster.nodes, cluster.redis_masters, disk, sent, cluster.connections)


def day(
    cluster: Cluster, model: CostModel, machines: Machines, prices: Prices, objective: Objective
) -> dict[str, Any]:
    """Nodes for each hour of a day, and what it saves to have no more than those."""
    hours = []
    for share in DAY:
        least = replace(cluster, connections=max(cluster.connections * share / 100, cluster.viewers + 1))
        hours.append(nodes_for(least, model, machines, objective))
    peak = max(hours)
    month_of_node = machines.node.month
    fixed, scaled = peak * month_of_node, month_of_node * sum(hours) / len(hours)
    return {"nodes": hours, "peak": peak, "fixed_month": fixed, "scaled_month": scaled, "prices": prices.name}


def cheapest(
    cluster: Cluster, model: CostModel, prices: Prices, objective: Objective
) -> tuple[Machines, Cluster]:
    """The machines, and how many of them, that hold the objective for the least.

    Raises StudyError, with what each of them lacks, where none does.
    """
    found, lacking = [], []
    for node in prices.nodes:
        sized, machines = replace(cluster, workers_a_node=node.cores), Machines(node, prices.redis[0])
        try:
            made = replace(sized, nodes=nodes_for(sized, model, machines, objective))
        except StudyError as error:
            lacking.append(str(error))
        else:
            found.append((money(made, costs_of(model, 0), node, prices)["total"], machines, made))
    if not found:
        raise StudyError("; ".join(dict.fromkeys(lacking)))
    _, machines, made = min(found, key=lambda one: one[0])
    return machines, made


def extrapolated(name: str, cluster: Cluster, model: CostModel, objective: Objective) -> list[str]:
    """What of a plan rests on more than was measured, with the nodes lost that it is to survive."""
    workers = max(cluster.nodes - objective.survive, 1) * cluster.workers_a_node
    rate = cluster.operations_per_s
    each: Mapping[str, float] = {
        "connections": cluster.connections / workers,
        "operations_per_s": rate / workers,
        "deliveries_per_s": rate * cluster.viewers / workers,
        "connects_per_s": cluster.connections / cluster.reconnect_s / cluster.workers,
    }
    when = dict.fromkeys(each, "") | {"connects_per_s": " where everybody comes back at once"}
    marks = [
        f"{name}: {value:,.0f} {term} a worker{when[term]}; at most {model.measured[term]:,.0f} were measured"
        for term, value in each.items()
        if value > 1.05 * model.measured[term]
    ]
    if cluster.workers > 1:
        counted = f"{name}: {cluster.workers} workers"
        marks.append(f"{counted}: one was measured; an announcement costs nothing of its own")
    return marks


def assumed(cluster: Cluster, model: CostModel) -> list[str]:
    """What wasn't measured, of any plan for this load."""
    marks = [] if model.needed[0][2] else ["what a connect costs wasn't measured: add a run of connect-storm"]
    redis = f"a Redis master takes {REDIS_APPENDS_PER_S:,.0f} appends/s"
    marks.append(f"{redis} and fails over in {REDIS_FAILOVER_S} s (assumed)")
    marks.append(f"{kept_of(cluster).assumed(given=cluster.documents is not None)} (assumed)")
    marks.append(f"{coming()} (assumed)")
    marks.append(f"what goes to the clients is {model.compression()}")
    marks.append("the archive and the load balancer aren't on an edit's way, and aren't simulated")
    return marks
