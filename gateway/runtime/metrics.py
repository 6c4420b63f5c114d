"""What a worker counts: plain numbers on one slots object, read when somebody scrapes.

The hot path can't afford a metrics library: whoever owns an event adds to a field of the worker's
`Counters`, and `gateway.admin.exposition` turns the fields into Prometheus text at scrape time. This module
imports nothing of the gateway, so every layer may use it.
"""
# ruff: noqa: RUF009 (the calls among the defaults return dataclass fields)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from gateway.runtime.histogram import CHANGES_BOUNDS, LATENCY_BOUNDS_S, PAUSE_BOUNDS_S, Histogram
from gateway.runtime.labels import (
    AUTH_RESULTS,
    AUTHORISER_FAILURES,
    CLOSE_LABELS,
    CONFLICT_KINDS,
    DECISIONS,
    DEFERRED,
    ERROR_CODES,
    MESSAGE_TYPES,
    REFUSED_STATUSES,
)
from gateway.runtime.metric import Counts, Metric, count, gauge, highest, histogram, keyed, levels, steps


@dataclass(slots=True, eq=False)
class Counters:
    """Everything one worker counts; the help text of a field says what it is.

    Counters grow with `+= 1`, keyed ones with `[key] += 1` (keys are strings: a code, a status), histograms
    with `.observe(value)`. Gauges say how it is now: their owner adds and subtracts. Nothing is ever reset.
    """

    # Connections
    connections: int = gauge("websocket_connections_total", "Total number of active WebSocket connections")
    users: int = gauge("gateway_users", "Users who are connected; one who is at two workers counts at both")
    connections_accepted: int = count("websocket_connections_accepted", "Handshakes that were accepted")
    connections_rejected: Counts = keyed(
        "websocket_connections_rejected",
        "status",
        "Handshakes that were refused, by HTTP status",
        REFUSED_STATUSES,
    )
    connections_closed: Counts = keyed(
        "websocket_connections_closed",
        "code",
        "Connections that ended, by close code",
        CLOSE_LABELS,
    )
    connections_handed_over: int = count(
        "websocket_connections_handed_over", "Connections that went on in another worker of the node"
    )
    connections_left: int = gauge(
        "gateway_connections_left",
        "How many more connections are taken, by what bounds them first: the number to scale on",
    )
    connections_left_by: dict[str, float] = levels(
        "gateway_connections_left_by",
        "bound",
        "The same by each bound: the limit (server.connections_max), descriptors, memory, CPU",
    )
    authentications: Counts = keyed(
        "gateway_authentications",
        "result",
        "Tokens shown: accepted, disabled (flags), too_many (limits.connections_per_user_max) or the error's "
        "code; none: no token within the time",
        AUTH_RESULTS,
    )
    connections_deferred: Counts = keyed(
        "gateway_connections_deferred",
        "who",
        "Clients that were asked to come later, in a storm: those who resume, and new ones",
        DEFERRED,
    )
    accept_pace: float = gauge(
        "gateway_accept_pace", "Connections a second that are taken in a storm, by what each cost of the CPU"
    )
    authoriser_decisions: Counts = keyed(
        "gateway_authoriser_decisions",
        "result",
        "Questions to the authoriser: a role, none (denied), or no answer, which counts as none",
        DECISIONS,
    )
    authoriser_failures: Counts = keyed(
        "gateway_authoriser_failures",
        "reason",
        "Requests to the authoriser without a usable answer; busy: questions that didn't get into one",
        AUTHORISER_FAILURES,
    )
    authoriser_seconds: Histogram = histogram(
        "gateway_authoriser_seconds", LATENCY_BOUNDS_S, "What the authoriser took for a request"
    )
    authoriser_failing: int = highest(
        "gateway_authoriser_failing", "1 while the authoriser's last request had no usable answer"
    )
    authoriser_cached: int = gauge("gateway_authoriser_cached", "Decisions of the authoriser that are kept")
    sessions_revoked: int = count(
        "gateway_sessions_revoked", "Sessions closed because their token, its user or its key was revoked"
    )
    certificate_ends_s: float = highest(
        "gateway_certificate_ends_timestamp_seconds",
        "When the TLS certificate that is in use ends, Unix time; 0 without one",
    )
    http_connections: int = gauge("gateway_http_connections", "HTTP connections of the service port")
    slow_closes: int = count(
        "websocket_slow_closes", "Connections closed because nothing could be written for stall_timeout_s"
    )

    # Messages
    messages_received: int = count("websocket_messages_received", "Messages received")
    bytes_received: int = count("websocket_bytes_received", "Bytes of messages received")
    messages_sent: int = count("websocket_messages_sent", "Total number of messages sent")
    bytes_sent: int = count("websocket_bytes_sent", "Bytes of messages sent")
    deliveries: int = count("gateway_deliveries", "Changes delivered to subscribers other than the author")
    message_latency_seconds: Histogram = histogram(
        "websocket_message_latency_seconds",
        LATENCY_BOUNDS_S,
        "Latency of WebSocket message delivery: from when an operation was read, at whatever worker, to the "
        "hand-over of its broadcast to the sockets, once a delivery (where edits are gathered, reading may "
        "wait for up to 25 ms)",
    )
    remote_latency_seconds: Histogram = histogram(
        "gateway_remote_latency_seconds",
        LATENCY_BOUNDS_S,
        "Of those, what another worker committed: from when it was read there, by the nodes' clocks",
    )
    errors: Counts = keyed("gateway_errors", "code", "ERROR messages sent, by code", ERROR_CODES)

    # Edits: each ends committed, refused or recognised as a resend
    operations_committed: int = count("gateway_operations_committed", "Submissions committed")
    operations_transformed: int = count(
        "gateway_operations_transformed",
        "Committed submissions whose operations differ from the submitted",
    )
    operations_merged: int = count(
        "gateway_operations_merged", "Committed submissions of which nothing was left after the transform"
    )
    operations_refused: Counts = keyed(
        "gateway_operations_refused",
        "code",
        "Edits that were refused (OP, UNDO, REDO, HTTP), by error code; the kill switch's don't count",
        ERROR_CODES,
    )
    resends: int = count("gateway_resends", "Submissions recognised by their seq and answered as duplicates")
    conflicts: Counts = keyed(
        "gateway_conflicts",
        "kind",
        "Operations that overwrote something unseen, or were dropped; edits refused with CONFLICT",
        CONFLICT_KINDS,
    )
    undos: int = count("gateway_undos", "UNDOs that found something to undo")
    redos: int = count("gateway_redos", "REDOs that found something to redo")
    step_seconds: dict[str, Histogram] = steps(
        "gateway_step_seconds",
        "Time that an edit spends in each step: received and lowered, admitted by its schema (a batch's "
        "first edit), transformed (which includes that), committed, fanned out, a slice of writing (flush)",
    )

    # The A/B test, while one runs
    variant_sessions: Counts = keyed(
        "gateway_variant_sessions", "variant", "Clients that signed in, by the variant of their users"
    )
    variant_operations: Counts = keyed(
        "gateway_variant_operations", "variant", "Submissions committed over connections, by variant"
    )
    variant_errors: Counts = keyed("gateway_variant_errors", "variant", "ERROR messages sent, by variant")

    # Commits
    batches: int = count("gateway_batches", "Batches appended to the log")
    batch_changes: Histogram = histogram("gateway_batch_changes", CHANGES_BOUNDS, "Changes in a batch")
    commit_seconds: Histogram = histogram(
        "gateway_commit_seconds", LATENCY_BOUNDS_S, "Round trip of an append to the log"
    )
    batches_stale: int = count("gateway_batches_stale", "Batches that another node was ahead of")
    reservations: int = count(
        "gateway_reservations",
        "Batches that asked for the head, after several in a row were stale",
    )
    batches_failed: int = count("gateway_batches_failed", "Batches that the log didn't take or didn't answer")
    changes_rescued: int = count(
        "gateway_changes_rescued", "Changes that the log had lost and rooms appended again"
    )
    changes_folded: int = count(
        "gateway_changes_folded", "Changes that the log had lost and that came back folded into one of those"
    )
    changes_lost: int = count(
        "gateway_changes_lost", "Changes known to be lost for good, each counted by every worker that knew it"
    )
    states_unproven: int = count("gateway_states_unproven", "States taken that may lack changes of the room")
    messages_slow: Counts = keyed(
        "gateway_messages_slow",
        "type",
        "Messages that held the loop for over 100 ms",
        MESSAGE_TYPES,
    )
    messages_waited: int = count("gateway_messages_waited", "Messages that waited for a share of CPU")
    log_errors: int = count("gateway_log_errors", "Calls of the log that failed")
    log_unwritable: int = gauge("gateway_log_unwritable", "1 while the log can't be written")
    log_damaged: int = count("gateway_log_damaged", "Times that what is stored wasn't what was written")
    key_problems: int = highest("gateway_key_problems", "Key files that are gone or can't be used")
    pending_changes: int = gauge("gateway_pending_changes", "Submissions accepted and not yet committed")
    overloaded: int = gauge("gateway_overloaded", "1 while more edits come than can be committed")
    pending_bytes: int = gauge("gateway_pending_bytes", "Bytes of submissions not yet committed")

    # Rooms and sync
    rooms: int = gauge("gateway_rooms", "Rooms that are open")
    rooms_opened: int = count("gateway_rooms_opened", "Rooms opened from the log")
    rooms_evicted: int = count("gateway_rooms_evicted", "Idle rooms that were closed")
    subscriptions: int = gauge("gateway_subscriptions", "Subscriptions of all connections")
    window_bytes: int = gauge("gateway_window_bytes", "Bytes of documents and changes that rooms keep")
    past_bytes: int = gauge("gateway_past_bytes", "Bytes of changes kept for edits that are far behind")
    bases_rebuilt: int = count("gateway_bases_rebuilt", "Bases of edits that were rebuilt from the log")
    syncs_changes: int = count("gateway_syncs_changes", "Subscribers brought up to date by changes")
    syncs_state: int = count("gateway_syncs_state", "Subscribers brought up to date by the document")

    room_readers_max: int = highest("gateway_room_readers_max", "Readers of the room that has the most")
    room_document_bytes_max: int = highest(
        "gateway_room_document_bytes_max", "Bytes of the largest document of an open room, at most"
    )
    room_pending_bytes_max: int = highest(
        "gateway_room_pending_bytes_max", "Bytes of edits on their way, of the room that has the most"
    )

    # Slow readers, in the order of the steps
    outbox_bytes: int = gauge("gateway_outbox_bytes", "Bytes queued for readers that are slow")
    presence_dropped: int = count("gateway_presence_dropped", "Presence messages dropped for slow readers")
    resyncs: int = count("gateway_resyncs", "Slow readers whose queue was replaced by the document")

    # Presence
    presences: int = gauge("gateway_presences", "Presence entries known")
    presence_sent: int = count("gateway_presence_sent", "Presence messages sent")

    # Bus
    bus_received: int = count("gateway_bus_received", "Announcements received from other nodes")
    changes_received: int = count("gateway_changes_received", "Changes that other workers committed")
    bus_gaps: int = count("gateway_bus_gaps", "Times that the bus may have lost announcements")
    bus_lost: int = count("gateway_bus_lost", "Messages that couldn't be sent to other nodes")

    # Archive: what this worker moves to PostgreSQL
    archive_changes: int = count("gateway_archive_changes", "Changes moved to the archive")
    archive_failures: int = count("gateway_archive_failures", "Attempts to archive that failed, and go on")
    archive_gaps: int = count("gateway_archive_gaps", "Times that the log lost what the archive lacks")
    archive_waiting: int = gauge("gateway_archive_waiting", "Entries that wait to be archived")
    archive_blocked: int = gauge(
        "gateway_archive_blocked", "Partitions that stand still: the archive holds other changes"
    )
    archive_lag_seconds: float = highest(
        "gateway_archive_lag_seconds", "Age of the oldest change that waits to be archived"
    )
    # Search: what this node's index has, and answers
    search_changes: int = count("gateway_search_changes", "Changes that were indexed")
    search_failures: int = count("gateway_search_failures", "Attempts to index that failed, and go on")
    search_lag_seconds: float = highest(
        "gateway_search_lag_seconds", "Age of the oldest change that waits to be indexed"
    )
    searches_failed: int = count("gateway_searches_failed", "Searches that the index didn't answer")
    search_seconds: Histogram = histogram(
        "gateway_search_seconds", LATENCY_BOUNDS_S, "What the index took to answer a search"
    )
    audit_records: int = count("gateway_audit_records", "Administrative acts and refusals that were recorded")
    audit_failures: int = count("gateway_audit_failures", "Attempts to write the audit that failed")
    audit_waiting: int = gauge("gateway_audit_waiting", "Records that wait to be written")
    audit_lost: int = count("gateway_audit_lost", "Records that were given up: too many waited")

    # Redis, as each server tells
    redis_memory_bytes: dict[str, float] = levels(
        "gateway_redis_memory_bytes", "server", "Memory that a Redis server uses", highest=True
    )
    redis_memory_limit_bytes: dict[str, float] = levels(
        "gateway_redis_memory_limit_bytes",
        "server",
        "Its maxmemory; its machine's memory where that is 0",
        highest=True,
    )
    redis_unbounded: dict[str, float] = levels(
        "gateway_redis_unbounded", "server", "1 where maxmemory is 0", highest=True
    )
    redis_evicted_keys: dict[str, float] = levels(
        "gateway_redis_evicted_keys", "server", "Keys that it evicted since its start", highest=True
    )
    redis_replicas: dict[str, float] = levels(
        "gateway_redis_replicas", "server", "Replicas that it has", highest=True
    )
    redis_replica_lag_bytes: dict[str, float] = levels(
        "gateway_redis_replica_lag_bytes", "server", "Bytes that its last replica is behind", highest=True
    )
    redis_persistence_failing: dict[str, float] = levels(
        "gateway_redis_persistence_failing",
        "server",
        "1 while it can't save or append its file",
        highest=True,
    )
    redis_answer_seconds: dict[str, float] = levels(
        "gateway_redis_answer_seconds", "server", "How long it took to answer INFO", highest=True
    )
    redis_unreachable: int = highest("gateway_redis_unreachable", "Redis servers that don't answer")

    # Runtime
    cpu_share: float = gauge("gateway_cpu_share", "Cores that are busy: each worker can use one")
    disk_free_bytes: int = highest("gateway_disk_free_bytes", "Free bytes of the data directory's disk")
    disk_bytes: int = highest("gateway_disk_bytes", "Bytes of that disk")
    backup_age_seconds: float = highest(
        "gateway_backup_age_seconds",
        "How long ago the newest backup by the clock (--keep) was begun, or where none was made the first "
        "attempt; 0 where none is known",
    )
    loop_lag_max_seconds: float = highest(
        "gateway_loop_lag_max_seconds", "The latest that a task ran, of the last half minute"
    )
    loop_lag_seconds: Histogram = histogram(
        "gateway_loop_lag_seconds", PAUSE_BOUNDS_S, "How late the event loop runs a task that is due"
    )
    gc_pause_seconds: Histogram = histogram(
        "gateway_gc_pause_seconds", PAUSE_BOUNDS_S, "Pauses of the garbage collector"
    )
    internal_errors: int = count("gateway_internal_errors", "Bugs: exceptions nobody expected, logged")

    def export(self) -> dict[str, Any]:
        """The values as plain JSON data: what a worker sends to whoever answers for the whole node."""
        return {name: _exported(getattr(self, name)) for name in METRICS}

    def merge(self, exported: Mapping[str, Any]) -> None:
        """Add what another worker exported: the sum is the node's."""
        for name, value in exported.items():
            ours = getattr(self, name)
            setattr(self, name, _JOINED.get(METRICS[name].kind, _merged)(ours, value))


METRICS: Mapping[str, Metric] = {item.name: item.metadata["metric"] for item in fields(Counters)}


def _highest_levels(value: dict[str, float], exported: Mapping[str, float]) -> dict[str, float]:
    for key, level in exported.items():
        value[key] = max(value.get(key, level), level)
    return value


_JOINED: Mapping[str, Callable[[Any, Any], Any]] = {"highest": max, "highest_levels": _highest_levels}


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
