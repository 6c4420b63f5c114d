"""What a worker counts: plain numbers on one slots object, read when somebody scrapes.

The hot path can't afford a metrics library: whoever owns an event adds to a field of the worker's
`Counters`, and `gateway.admin.exposition` turns the fields into Prometheus text at scrape time. This module
imports nothing of the gateway, so every layer may use it.
"""
# ruff: noqa: RUF009 (the calls among the defaults return dataclass fields)

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

# The buckets of prometheus.DefBuckets, with two finer ones below.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PAUSE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
STEP_BOUNDS_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0)
CHANGES_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)

# The steps of one edit, in the order that it takes them.
STEPS = ("receive", "admit", "transform", "commit", "fan_out", "flush")


class Histogram:
    """Counts of observations by fixed upper bounds (inclusive, ascending), and their sum.

    An observation is one bisection and two additions; `counts` has one more entry than `bounds`, for what
    lies above the last of them.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times (the deliveries of one broadcast share one observation)."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The upper bound of the bucket that holds this share (0..1) of the observations; 0.0 when empty."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0


# Close codes that have a meaning here; a client can send any other, so those are counted together.
CLOSE_CODES = frozenset({*range(1000, 1016), 4401, 4403, 4408, 4409, 4429, 4503})


def close_label(code: int) -> str:
    """The label of a close code."""
    return str(code) if code in CLOSE_CODES else "other"


Kind = Literal["gauge", "highest", "counter", "keyed", "histogram", "steps"]


class Metric(NamedTuple):
    """How a field of `Counters` is published: Prometheus name (counters without `_total`), help, label."""

    kind: Kind
    name: str
    help: str
    label: str = ""


def _gauge(name: str, help: str) -> Any:
    return field(default=0, metadata={"metric": Metric("gauge", name, help)})


def _highest(name: str, help: str) -> Any:
    """A gauge whose value for several workers is the highest of theirs."""
    return field(default=0, metadata={"metric": Metric("highest", name, help)})


def _count(name: str, help: str) -> Any:
    return field(default=0, metadata={"metric": Metric("counter", name, help)})


def _keyed(name: str, label: str, help: str) -> Any:
    return field(default_factory=Counter, metadata={"metric": Metric("keyed", name, help, label)})


def _histogram(name: str, bounds: Sequence[float], help: str) -> Any:
    return field(
        default_factory=lambda: Histogram(bounds), metadata={"metric": Metric("histogram", name, help)}
    )


def _steps(name: str, help: str) -> Any:
    return field(
        default_factory=lambda: {step: Histogram(STEP_BOUNDS_S) for step in STEPS},
        metadata={"metric": Metric("steps", name, help, "step")},
    )


@dataclass(slots=True, eq=False)
class Counters:
    """Everything one worker counts; the help text of a field says what it is.

    Counters grow with `+= 1`, keyed ones with `[key] += 1` (keys are strings: a code, a status), histograms
    with `.observe(value)`. Gauges say how it is now: their owner adds and subtracts. Nothing is ever reset.
    """

    # Connections
    connections: int = _gauge("websocket_connections_total", "Total number of active WebSocket connections")
    connections_accepted: int = _count("websocket_connections_accepted", "Handshakes that were accepted")
    connections_rejected: Counter[str] = _keyed(
        "websocket_connections_rejected", "status", "Handshakes that were refused, by HTTP status"
    )
    connections_closed: Counter[str] = _keyed(
        "websocket_connections_closed", "code", "Connections that ended, by close code"
    )
    connections_handed_over: int = _count(
        "websocket_connections_handed_over", "Connections that went on in another worker of the node"
    )
    http_connections: int = _gauge("gateway_http_connections", "HTTP connections of the service port")
    slow_closes: int = _count(
        "websocket_slow_closes", "Connections closed because nothing could be written for stall_timeout_s"
    )

    # Messages
    messages_received: int = _count("websocket_messages_received", "Messages received")
    bytes_received: int = _count("websocket_bytes_received", "Bytes of messages received")
    messages_sent: int = _count("websocket_messages_sent", "Total number of messages sent")
    bytes_sent: int = _count("websocket_bytes_sent", "Bytes of messages sent")
    deliveries: int = _count("gateway_deliveries", "Changes delivered to subscribers other than the author")
    message_latency_seconds: Histogram = _histogram(
        "websocket_message_latency_seconds",
        LATENCY_BOUNDS_S,
        "Latency of WebSocket message delivery: from an operation's arrival to the hand-over of its "
        "broadcast to the sockets, once a delivery",
    )
    errors: Counter[str] = _keyed("gateway_errors", "code", "ERROR messages sent, by code")

    # Edits: each ends committed, refused or recognised as a resend
    operations_committed: int = _count("gateway_operations_committed", "Submissions committed")
    operations_transformed: int = _count(
        "gateway_operations_transformed", "Committed submissions whose operations differ from the submitted"
    )
    operations_merged: int = _count(
        "gateway_operations_merged", "Committed submissions of which nothing was left after the transform"
    )
    operations_refused: Counter[str] = _keyed(
        "gateway_operations_refused", "code", "Submissions that were refused, by error code"
    )
    resends: int = _count("gateway_resends", "Submissions recognised by their seq and answered as duplicates")
    conflicts: Counter[str] = _keyed(
        "gateway_conflicts",
        "kind",
        "Operations that overwrote something unseen, or were dropped; edits refused with CONFLICT",
    )
    undos: int = _count("gateway_undos", "UNDOs that found something to undo")
    redos: int = _count("gateway_redos", "REDOs that found something to redo")
    step_seconds: dict[str, Histogram] = _steps(
        "gateway_step_seconds", "Time that an edit spends in each step (may be sampled)"
    )

    # Commits
    batches: int = _count("gateway_batches", "Batches appended to the log")
    batch_changes: Histogram = _histogram("gateway_batch_changes", CHANGES_BOUNDS, "Changes in a batch")
    commit_seconds: Histogram = _histogram(
        "gateway_commit_seconds", LATENCY_BOUNDS_S, "Round trip of an append to the log"
    )
    batches_stale: int = _count("gateway_batches_stale", "Batches that another node was ahead of")
    reservations: int = _count(
        "gateway_reservations",
        "Batches that asked for the head, after several in a row were stale",
    )
    batches_failed: int = _count(
        "gateway_batches_failed", "Batches that the log didn't take or didn't answer"
    )
    changes_rescued: int = _count(
        "gateway_changes_rescued", "Changes that the log had lost and rooms appended again"
    )
    changes_folded: int = _count(
        "gateway_changes_folded", "Changes that the log had lost and that came back folded into one of those"
    )
    changes_lost: int = _count(
        "gateway_changes_lost", "Changes known to be lost for good, each counted by every worker that knew it"
    )
    messages_slow: Counter[str] = _keyed(
        "gateway_messages_slow", "type", "Messages that held the loop for over 100 ms"
    )
    messages_waited: int = _count("gateway_messages_waited", "Messages that waited for a share of CPU")
    log_errors: int = _count("gateway_log_errors", "Calls of the log that failed")
    log_unwritable: int = _gauge("gateway_log_unwritable", "1 while the log can't be written")
    key_problems: int = _highest("gateway_key_problems", "Key files that are gone or can't be used")
    pending_changes: int = _gauge("gateway_pending_changes", "Submissions accepted and not yet committed")
    pending_bytes: int = _gauge("gateway_pending_bytes", "Bytes of submissions not yet committed")

    # Rooms and sync
    rooms: int = _gauge("gateway_rooms", "Rooms that are open")
    rooms_opened: int = _count("gateway_rooms_opened", "Rooms opened from the log")
    rooms_evicted: int = _count("gateway_rooms_evicted", "Idle rooms that were closed")
    subscriptions: int = _gauge("gateway_subscriptions", "Subscriptions of all connections")
    window_bytes: int = _gauge("gateway_window_bytes", "Bytes of documents and changes that rooms keep")
    syncs_changes: int = _count("gateway_syncs_changes", "Subscribers brought up to date by changes")
    syncs_state: int = _count("gateway_syncs_state", "Subscribers brought up to date by the document")

    # Slow readers, in the order of the steps
    outbox_bytes: int = _gauge("gateway_outbox_bytes", "Bytes queued for readers that are slow")
    presence_dropped: int = _count("gateway_presence_dropped", "Presence messages dropped for slow readers")
    resyncs: int = _count("gateway_resyncs", "Slow readers whose queue was replaced by the document")

    # Presence
    presences: int = _gauge("gateway_presences", "Presence entries known")
    presence_sent: int = _count("gateway_presence_sent", "Presence messages sent")

    # Bus
    bus_received: int = _count("gateway_bus_received", "Announcements received from other nodes")
    bus_gaps: int = _count("gateway_bus_gaps", "Times that the bus may have lost announcements")
    bus_lost: int = _count("gateway_bus_lost", "Messages that couldn't be sent to other nodes")

    # Archive: what this worker moves to PostgreSQL
    archive_changes: int = _count("gateway_archive_changes", "Changes moved to the archive")
    archive_failures: int = _count("gateway_archive_failures", "Attempts to archive that failed, and go on")
    archive_gaps: int = _count("gateway_archive_gaps", "Times that the log lost what the archive lacks")
    archive_waiting: int = _gauge("gateway_archive_waiting", "Entries that wait to be archived")
    archive_blocked: int = _gauge(
        "gateway_archive_blocked", "Partitions that stand still: the archive holds other changes"
    )
    archive_lag_seconds: float = _highest(
        "gateway_archive_lag_seconds", "Age of the oldest change that waits to be archived"
    )

    # Runtime
    loop_lag_seconds: Histogram = _histogram(
        "gateway_loop_lag_seconds", PAUSE_BOUNDS_S, "How late the event loop runs a task that is due"
    )
    gc_pause_seconds: Histogram = _histogram(
        "gateway_gc_pause_seconds", PAUSE_BOUNDS_S, "Pauses of the garbage collector"
    )
    internal_errors: int = _count("gateway_internal_errors", "Bugs: exceptions nobody expected, logged")

    def export(self) -> dict[str, Any]:
        """The values as plain JSON data: what a worker sends to whoever answers for the whole node."""
        return {name: _exported(getattr(self, name)) for name in METRICS}

    def merge(self, exported: Mapping[str, Any]) -> None:
        """Add what another worker exported: the sum is the node's."""
        for name, value in exported.items():
            ours = getattr(self, name)
            highest = METRICS[name].kind == "highest"
            setattr(self, name, max(ours, value) if highest else _merged(ours, value))


METRICS: Mapping[str, Metric] = {item.name: item.metadata["metric"] for item in fields(Counters)}


def _exported(value: Any) -> Any:
    if isinstance(value, Histogram):
        return [value.sum, *value.counts]
    if isinstance(value, dict):
        return {key: _exported(item) for key, item in value.items()}
    return value


def _merged(value: Any, exported: Any) -> Any:
    """`value` with an exported one of the same kind added: histograms and mappings in place."""
    if isinstance(value, Histogram):
        value.sum += exported[0]
        value.counts = [ours + theirs for ours, theirs in zip(value.counts, exported[1:], strict=True)]
        return value
    if isinstance(value, dict):
        for key, item in exported.items():
            value[key] = _merged(value[key], item)
        return value
    return value + exported
