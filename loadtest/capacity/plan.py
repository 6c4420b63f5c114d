"""What a target load needs: nodes, workers, Redis, PostgreSQL, bandwidth; and which resource binds.

    prices = load_prices("rfc002")
    wanted = Wanted(connections=100_000, operations_per_user_s=0.1, viewers=4)
    answer = plan(fit(points), wanted, prices.redis[0])

Every figure that rests on more than was measured is named in `answer.extrapolated`, every one that rests on
an assumption in `answer.assumed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.capacity import drain
from loadtest.capacity.drain import Bounded, crowding, drained
from loadtest.capacity.fits import Estimate
from loadtest.capacity.model import CPU_TERMS, CostModel, usl
from loadtest.capacity.prices import Machine, Prices
from loadtest.capacity.upkeep import AVERAGE, REDIS_UTILISATION, Kept, month

GIB = 1 << 30


class PlanError(Exception):
    """There is no plan: what was asked for makes no sense, or can't be reached; the message says why."""


class AbsurdLoad(PlanError):
    """What was asked for takes more machines than anybody has."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The load and the target, and what a node is. Memory is per node, `survive` nodes may fail at once."""

    connections: float
    operations_per_user_s: float
    viewers: float  # others who see an edit
    p95_ms: float = 200.0
    survive: int = 1
    cores_a_node: int = 2
    node_memory_gib: float = 4.0
    connections_a_worker: int = 19_000
    sigma: float | None = None  # of the Universal Scalability Law; None: assumed
    kappa: float | None = None
    redis_appends_per_s: float = 80_000.0
    documents: float | None = None  # None: each has its viewers and one more
    change_bytes: float = 170.0
    document_bytes: float = 1024.0
    archive_days: float = 30.0

    @property
    def kept(self) -> Kept:
        """What Redis and the archive keep of it."""
        documents = self.connections / (self.viewers + 1) if self.documents is None else self.documents
        return Kept(documents, self.change_bytes, self.document_bytes, archive_days=self.archive_days)

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not least <= value <= most:  # also where it is not a number
                raise PlanError(f"{name} = {value}: it is from {least:,} to {most:,}")
        check_viewers(self.viewers, self.connections)


def check_viewers(viewers: float, connections: float) -> None:
    """Raise PlanError where more would see an edit than are there."""
    if viewers >= connections:
        raise PlanError(
            f"viewers = {viewers:,.0f}: an edit is seen by others, so by fewer than the {connections:,.0f} "
            "connections"
        )


def check_masters(masters: int) -> None:
    """Raise AbsurdLoad where what is kept takes more Redis masters than anybody has."""
    if masters > MACHINES_MAX:
        raise AbsurdLoad(
            f"what is kept takes {masters:,} Redis masters; a plan has at most {MACHINES_MAX:,}. "
            "Are there as many documents as you say?"
        )


BOUNDS: Mapping[str, tuple[float, float]] = {
    "connections": (1, 1_000_000_000),
    "operations_per_user_s": (0, 1000),
    "viewers": (0, 1_000_000_000),
    "p95_ms": (0.001, 600_000),
    "survive": (0, 1000),
    "cores_a_node": (1, 1024),
    "node_memory_gib": (0.1, 65_536),
    "connections_a_worker": (1, 10_000_000),
    "redis_appends_per_s": (1, 100_000_000),
    "documents": (1, 1_000_000_000_000),
    "change_bytes": (1, 1 << 30),
    "document_bytes": (1, 1 << 30),
    "archive_days": (0, 100_000),
}
ASSUMED_SIGMA, ASSUMED_KAPPA = 0.03, 0.0005
ARCHIVE_BATCH = 500
FIGURES = ("predicted", "low", "high")
MACHINES_MAX = 100_000  # nodes, or Redis masters


@dataclass(frozen=True, slots=True)
class Answer:
    workers: Estimate  # to carry the load, spares aside
    workers_a_node: int
    nodes: int  # spares included
    binding: str
    workers_by_resource: Mapping[str, float]
    operations_per_s: float
    deliveries_per_s: float
    cpu_cores: Estimate
    cpu_limit: float
    memory_a_node_bytes: Estimate
    bandwidth_bits_per_s: float
    compressed_share: float  # of the connections, as measured
    redis_masters: int
    redis_appends_per_s: float
    redis_bytes: float  # memory of all masters, what a rewritten file needs included
    disk_bytes: float  # of the archive
    postgres_rows_per_s: float
    postgres_transactions_per_s: float
    drain_connections_per_s: float | None  # None: what a connect costs wasn't measured
    drain_s: Bounded | None  # None: it wasn't measured, or the others have nothing to spare
    extrapolated: tuple[str, ...]
    assumed: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)


def load_of(wanted: Wanted) -> dict[str, float]:
    """The terms of the CPU model for the whole load, at rest."""
    operations = wanted.connections * wanted.operations_per_user_s
    return {
        "connections": wanted.connections,
        "connects_per_s": 0.0,
        "operations_per_s": operations,
        "deliveries_per_s": operations * wanted.viewers,
    }


def _cpu_limit(model: CostModel, wanted: Wanted) -> tuple[float, bool]:
    """(CPU that a worker may need, at most a core; whether the target was ever exceeded).

    A worker's threads may use more than its core where others leave it some; a plan doesn't count on that.
    """
    if not model.latency:
        raise PlanError(
            "how long a delivery takes was measured in no stage whose connections stand: sweep operations "
            "too, and give that calibration as well"
        )
    limit, exceeded = model.cpu_limit(wanted.p95_ms)
    if limit <= model.cpu_base().value:
        least = min(latency for _, latency in model.latency)
        raise PlanError(
            f"a delivery p95 of {wanted.p95_ms:g} ms is unreachable with any number of nodes: the least that "
            f"was measured, under the smallest load, is {least:.1f} ms. Allow more, or calibrate on a faster "
            "machine"
        )
    return min(limit, 1.0), exceeded


def _workers_by_cpu(cpu: Estimate, base: Estimate, limit: float) -> Estimate:
    """How many workers share the CPU so that none goes over the limit; each has its own base."""
    room = max(limit - base.value, 1e-3)
    return Estimate(
        cpu.value / room, cpu.low / max(limit - base.low, 1e-3), cpu.high / max(limit - base.high, 1e-3)
    )


def _workers_by_memory(model: CostModel, wanted: Wanted) -> float:
    """How many workers it takes until a node's memory holds its share of the connections and edits.

    Raises PlanError where a node has no room beside its workers.
    """
    with_edits = model.memory_bytes(1, wanted.operations_per_user_s).value
    each = with_edits - model.memory_bytes(0).value + model.socket_bytes(1).value
    base = model.memory_bytes(0, workers=wanted.cores_a_node).value
    room = wanted.node_memory_gib * GIB - base
    if room <= 0:
        raise PlanError(
            f"node_memory_gib = {wanted.node_memory_gib:g}: the {wanted.cores_a_node} workers of a node take "
            f"{base / GIB:.2f} GiB before anybody connects. Give it more memory, or fewer cores"
        )
    return wanted.connections * each / room * wanted.cores_a_node


def _usl_of(wanted: Wanted) -> tuple[float, float]:
    """(sigma, kappa), measured or assumed."""
    sigma = ASSUMED_SIGMA if wanted.sigma is None else wanted.sigma
    return sigma, ASSUMED_KAPPA if wanted.kappa is None else wanted.kappa


def _usl_factor(wanted: Wanted) -> float:
    """How many workers of a node do the work of one that shares it with no other."""
    return wanted.cores_a_node / max(usl(wanted.cores_a_node, *_usl_of(wanted)), 1e-6)


def _workers_by_network(bits_per_s: float, wanted: Wanted, node: Machine) -> float:
    """How many workers it takes until the networks of their nodes carry what leaves for the clients."""
    return bits_per_s / (1e6 * node.network_mbit_s) * wanted.cores_a_node


def _check_machines(load: Mapping[str, float], nodes: int, masters: int) -> None:
    if max(nodes, masters) > MACHINES_MAX:
        raise AbsurdLoad(
            f"{load['operations_per_s']:,.0f} edits and {load['deliveries_per_s']:,.0f} deliveries a second "
            f"of {load['connections']:,.0f} connections take {nodes:,} nodes and {masters:,} Redis masters; "
            f"a plan has at most {MACHINES_MAX:,} of each. Is what you want of one user as you mean it?"
        )


def plan(model: CostModel, wanted: Wanted, redis: Machine, node: Machine | None = None) -> Answer:
    """Answer a load, with Redis on such machines. All that a node does is divided evenly between its workers.

    `node` None: nothing is known of a node's network. Raises PlanError where no number of nodes reaches the
    latency, or holds the connections, AbsurdLoad where it takes too many.
    """
    load = load_of(wanted)
    workers_a_node = wanted.cores_a_node  # one event loop a core
    limit, exceeded = _cpu_limit(model, wanted)
    cpu = model.cpu_needed(load)
    by_cpu = _workers_by_cpu(cpu, model.cpu_base(), limit)
    usl_factor = _usl_factor(wanted)
    needed = {
        "CPU": by_cpu.value * usl_factor,
        "descriptors": wanted.connections / wanted.connections_a_worker,
        "memory": _workers_by_memory(model, wanted),
    }
    bandwidth = 8 * model.bytes_per_s(load)
    if node is not None:
        needed["network"] = _workers_by_network(bandwidth, wanted, node)
    binding = max(needed, key=lambda name: needed[name])
    others = max(workers for name, workers in needed.items() if name != "CPU")
    workers = Estimate(*(max(each * usl_factor, others) for each in by_cpu))
    carrying = max(math.ceil(workers.value / workers_a_node - 1e-9), 1)
    nodes = carrying + wanted.survive
    operations = load["operations_per_s"]
    masters = wanted.kept.masters(operations, redis, wanted.redis_appends_per_s)
    _check_machines(load, nodes, masters)
    drain_rate, drain_s = _drain(model, wanted, nodes, usl_factor, limit)
    share = wanted.connections / carrying  # of a node, when the spares are gone
    memory = model.memory_bytes(share, share * wanted.operations_per_user_s, workers_a_node)
    sockets = model.socket_bytes(share)
    return Answer(
        workers=workers,
        workers_a_node=workers_a_node,
        nodes=nodes,
        binding=binding,
        workers_by_resource=needed,
        operations_per_s=operations,
        deliveries_per_s=load["deliveries_per_s"],
        cpu_cores=cpu,
        cpu_limit=limit,
        memory_a_node_bytes=Estimate(*(a + b for a, b in zip(memory, sockets, strict=True))),
        bandwidth_bits_per_s=bandwidth,
        compressed_share=model.compressed_share,
        redis_masters=masters,
        redis_appends_per_s=operations,
        redis_bytes=wanted.kept.redis_bytes(operations),
        disk_bytes=wanted.kept.disk_bytes(operations),
        postgres_rows_per_s=operations,
        postgres_transactions_per_s=operations / ARCHIVE_BATCH,
        drain_connections_per_s=drain_rate,
        drain_s=drain_s,
        extrapolated=(
            *_extrapolated(model, load, workers.value, exceeded),
            *_larger(model, wanted),
            *_undivided(wanted, workers.value),
            *_crowded(wanted),
            *_rushed(model, wanted, nodes, drain_rate),
        ),
        assumed=_assumed(wanted, workers_a_node, drain_s),
    )


def monthly(answer: Answer, wanted: Wanted, prices: Prices) -> Mapping[str, Any]:
    """What the plan costs a month: dollars by part (see `upkeep.month`), and `node`, the machine's name.

    Nodes are the cheapest listed machine that is large enough; raises PriceError where there is none.
    """
    disk, sent = answer.disk_bytes, answer.bandwidth_bits_per_s / 8
    node = prices.node(wanted.cores_a_node, wanted.node_memory_gib)
    dollars = month(prices, node, answer.nodes, answer.redis_masters, disk, sent, wanted.connections)
    return {"node": node.name, **dollars}


def _drain(
    model: CostModel, wanted: Wanted, nodes: int, usl_factor: float, limit: float
) -> tuple[float | None, Bounded | None]:
    """(connections/s that the rest can take, seconds) after a node is lost: its users come to the others."""
    cost = model.cost("connects_per_s")
    if not cost.value:
        return None, None
    workers = (nodes - 1) * wanted.cores_a_node
    taken = zip(model.cpu_base(), model.cpu_needed(load_of(wanted)), strict=True)
    spare = [workers / usl_factor * (limit - base) - needed for base, needed in taken]
    return drained(wanted.connections / nodes, cost, spare, workers)


def _rushed(model: CostModel, wanted: Wanted, nodes: int, drain_rate: float | None) -> tuple[str, ...]:
    """Whether more would come to a worker at once, after a node is lost, than did in the calibration."""
    if not drain_rate:
        return ()
    each = crowding(wanted.connections / nodes, drain_rate, (nodes - 1) * wanted.cores_a_node)
    most = model.measured["connects_per_s"]
    if each <= 1.05 * most:
        return ()
    return (f"{each:,.0f} connects_per_s a worker when a node is lost; at most {most:,.0f} were measured",)


def _extrapolated(
    model: CostModel, load: Mapping[str, float], workers: float, exceeded: bool
) -> tuple[str, ...]:
    marks = []
    for term in CPU_TERMS:
        each, most = load[term] / max(workers, 1.0), model.measured[term]
        if each > 1.05 * most:
            marks.append(f"{each:,.0f} {term} a worker; at most {most:,.0f} were measured")
    for one, other in model.entangled:
        marks.append(f"{one} and {other} rose together in the calibration: their costs can't be told apart")
    if workers > 1:
        marks.append(f"{workers:.1f} workers: one was measured; their sum is taken as linear up to the USL")
    if not exceeded:
        marks.append(
            "the latency target was never exceeded in the calibration, so the CPU limit is a lower bound"
        )
    return tuple(marks)


def _larger(model: CostModel, wanted: Wanted) -> tuple[str, ...]:
    """Whether changes are larger than the messages that brought them in the calibration.

    Of messages that were compressed nobody knows.
    """
    measured = float(model.sent[-1])
    if model.compressed_share or not 0 < measured < wanted.change_bytes:
        return ()
    told = (
        f"a change of {wanted.change_bytes:,.0f} bytes: a delivery had {measured:,.0f} in the calibration, "
    )
    return (f"{told}so CPU, bandwidth and memory of nodes are of smaller edits",)


def _undivided(wanted: Wanted, workers: float) -> tuple[str, ...]:
    """Whether there are fewer documents than workers: the edits of one can't be divided among them."""
    documents = wanted.kept.documents
    if documents >= workers or workers <= 1 or not wanted.operations_per_user_s:
        return ()
    return (
        f"{workers:.1f} workers for {documents:,.0f} document(s): each worker takes in all edits of a "
        "document that somebody there has, and the plan divides them among the workers",
    )


def _crowded(wanted: Wanted) -> tuple[str, ...]:
    """Whether a node has so many workers that fewer would do more."""
    sigma, kappa = _usl_of(wanted)
    peak = max(math.sqrt(max(1 - sigma, 0) / kappa), 1) if kappa else math.inf
    if wanted.cores_a_node <= peak:
        return ()
    best = max(math.floor(peak), math.ceil(peak), key=lambda workers: usl(workers, sigma, kappa))
    if usl(wanted.cores_a_node, sigma, kappa) >= usl(best, sigma, kappa):
        return ()
    return (
        f"{wanted.cores_a_node} workers of a node do less than {best} would, by the Universal "
        "Scalability Law: plan with smaller nodes, or measure with --scaling",
    )


def _assumed(wanted: Wanted, workers_a_node: int, drain_s: Bounded | None) -> tuple[str, ...]:
    marks = []
    if wanted.sigma is None and workers_a_node > 1:
        marks.append(
            f"Universal Scalability Law: sigma {ASSUMED_SIGMA}, kappa {ASSUMED_KAPPA} (not measured)"
        )
    marks.append(
        f"a Redis master takes {wanted.redis_appends_per_s:,.0f} appends/s and is run at "
        f"{REDIS_UTILISATION:.0%} of it (not measured here)"
    )
    marks.append(f"the archive writes {ARCHIVE_BATCH} rows a transaction (not measured here)")
    marks.append(
        f"over a day the load is {AVERAGE:.0%} of its peak on average; Redis keeps what was changed within "
        f"{wanted.kept.redis_h:.0f} h, the archive {wanted.archive_days:g} days"
    )
    marks.append(wanted.kept.assumed(given=wanted.documents is not None))
    marks.append(f"a worker holds at most {wanted.connections_a_worker:,} connections")
    if drain_s is not None:
        marks.append(drain.assumed())
    return tuple(marks)


def check(model: CostModel, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predicted against measured, for each settled stage of runs that weren't part of the calibration.

    A row: stage, and for CPU, memory and p95 the pair (predicted, measured).
    """
    rows = []
    for point in points:
        if not point["settled"] or point["cpu_cores"] is None:
            continue
        workers = point.get("workers", 1)
        each = {**point, **{term: point[term] / workers for term in CPU_TERMS}}
        memory = model.memory_bytes(point["connections"], point["operations_per_s"], workers)
        rows.append(
            {
                "stage": point["stage"],
                "operations_per_s": point["operations_per_s"],
                "deliveries_per_s": point["deliveries_per_s"],
                "connections": point["connections"],
                "cpu_cores": _compared(model.cpu_used(each).scaled(workers), point["cpu_cores"]),
                "pss_bytes": {"predicted": memory.value, "measured": point["pss_bytes"]},
                "p95_ms": _compared(model.p95_ms(each), point["p95_ms"]),
            }
        )
    return rows


def _compared(predicted: Estimate | None, measured: float | None) -> dict[str, float | None]:
    known = {"predicted": None} if predicted is None else dict(zip(FIGURES, predicted, strict=True))
    return {**known, "measured": measured}
