"""The Grafana dashboard: `python deploy/dashboard.py` writes grafana-dashboard.json beside this.

A row has a title and panels: a `stat` is a number, a `graph` a time series. Six stats, or three graphs, fill
a line. Tests hold that the file is what this makes, that each metric is shown, that every query finds data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

FILE = Path(__file__).parent / "grafana-dashboard.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Other exporters of that Prometheus have metrics by the names of processes, too.
NODE = 'job=~"$job", instance=~"$instance"'
INTERVAL = "[$__rate_interval]"
FAULTS = 'code=~"UNAVAILABLE|INTERNAL"'
# A ratio's divisor that is never 0: without traffic the ratio is 0 then, not missing.
NONZERO = 1e-9

Query = tuple[str, str]  # the expression, and the legend


class Panel(NamedTuple):
    """One panel. `unit` is Grafana's."""

    kind: str
    title: str
    unit: str
    description: str
    queries: Sequence[Query]


def stat(title: str, unit: str, description: str, *queries: Query) -> Panel:
    return Panel("stat", title, unit, description, queries)


def graph(title: str, unit: str, description: str, *queries: Query) -> Panel:
    return Panel("timeseries", title, unit, description, queries)


# ------------------------------------------------------------------------------------------ expressions


def now(name: str, *matchers: str) -> str:
    """A gauge of the chosen nodes."""
    return f"{name}{{{', '.join((NODE, *matchers))}}}"


def total(name: str) -> str:
    return f"sum({now(name)})"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """A counter's growth a second, over all chosen nodes."""
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({now(f'{name}_total', *matchers)}{INTERVAL}))"


def quantile(share: float, name: str, *matchers: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    buckets = now(f"{name}_bucket", *matchers)
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({buckets}{INTERVAL})))"


def quantiles(name: str, *shares: float) -> list[Query]:
    return [(quantile(share, name), f"p{100 * share:g}") for share in shares]


def ratio(part: str, *rest: str) -> str:
    """A part of itself and the rest: 0 to 1."""
    return f"{part} / clamp_min({' + '.join((part, *rest))}, {NONZERO:g})"


def by_node(name: str) -> Query:
    return now(name), "{{instance}}"


CERTIFICATE = now("gateway_certificate_ends_timestamp_seconds")
FAILED = rate("gateway_operations_refused", FAULTS)
ACCEPTED = rate("gateway_authentications", 'result="accepted"')
NOT_CONNECTED = (
    f"{rate('websocket_connections_rejected')} - {rate('gateway_connections_deferred')}",
    rate("gateway_authentications", 'result!~"accepted|disabled|too_many"'),
)

# ---------------------------------------------------------------------------------------------- panels

ROWS: Mapping[str, Sequence[Panel]] = {
    "Now": [
        stat(
            "Connections", "short", "Open WebSockets, the users behind them, and HTTP connections",
            (total("websocket_connections_total"), "WebSocket"), (total("gateway_users"), "users"),
            (total("gateway_http_connections"), "HTTP"),
        ),
        stat(
            "Connections left", "short", "How many more all nodes take: the number to scale on",
            (total("gateway_connections_left"), ""),
        ),
        stat("Edits", "ops", "Committed submissions", (rate("gateway_operations_committed"), "")),
        stat(
            "Delivery p95", "s", "From an operation's arrival to the hand-over to the sockets",
            (quantile(0.95, "websocket_message_latency_seconds"), ""),
        ),
        stat(
            "Failed edits", "percentunit", "Share of edits that failed through no fault of the client",
            (ratio(FAILED, rate("gateway_operations_committed")), ""),
        ),
        stat(
            "Connected", "percentunit", "Share of attempts that were let in and authenticated",
            (f"1 - {ratio(f'({NOT_CONNECTED[0]} + {NOT_CONNECTED[1]})', ACCEPTED)}", ""),
        ),
        stat("Nodes", "short", "Nodes that can be scraped", (f"count(up{{{NODE}}} == 1) or vector(0)", "")),
        stat(
            "Workers", "short", "Workers that take clients, and nodes that are saying goodbye",
            (total("gateway_workers"), "workers"), (total("gateway_draining"), "draining nodes"),
        ),
        stat(
            "Newest backup", "s", "How long ago it was begun, by the clock; 0: none is known",
            (f"max({now('gateway_backup_age_seconds')})", ""),
        ),
        stat(
            "Replaced workers", "short", "Workers that ended unasked, in an hour",
            (f"sum(increase({now('gateway_worker_restarts_total')}[1h]))", ""),
        ),
        stat(
            "Certificate ends in", "s", "The first to end; 0: it has, or no node serves TLS itself",
            (f"clamp_min(min({CERTIFICATE} > 0) - time(), 0) or vector(0)", ""),
        ),
        stat(
            "Versions", "short", "Nodes by the version that they run",
            (f"count by (version) ({now('gateway_build_info')})", "{{version}}"),
        ),
    ],
    "Clients": [
        graph("Connections by node", "short", "Open WebSockets", by_node("websocket_connections_total")),
        graph(
            "Connections left, by bound", "short", "What bounds a node: limit, descriptors, memory, CPU",
            (now("gateway_connections_left_by"), "{{instance}} {{bound}}"),
        ),
        graph(
            "Connections by worker", "short", "Open WebSockets",
            (now("gateway_worker_connections"), "{{instance}} {{worker}}"),
        ),
        graph(
            "Handshakes", "ops",
            "Accepted, and refused by HTTP status; what a storm may have, and who is asked to come later",
            (rate("websocket_connections_accepted"), "accepted"),
            (rate("websocket_connections_rejected", by="status"), "refused {{status}}"),
            (now("gateway_accept_pace"), "pace in a storm, {{instance}}"),
            (rate("gateway_connections_deferred", by="who"), "asked later: {{who}}"),
        ),
        graph(
            "Tokens", "ops", "How authentications ended",
            (rate("gateway_authentications", by="result"), "{{result}}"),
        ),
        graph(
            "Permission by resource", "ops", "What the authoriser decides, and what is kept of it",
            (rate("gateway_authoriser_decisions", by="result"), "{{result}}"),
            (now("gateway_authoriser_cached"), "decisions kept, {{instance}}"),
        ),
        graph(
            "Authoriser without an answer", "ops", "Requests by what was wrong, and nodes that have none now",
            (rate("gateway_authoriser_failures", by="reason"), "{{reason}}"),
            (f"max by (instance) ({now('gateway_authoriser_failing')})", "{{instance}} has no answers"),
        ),
        graph(
            "Authoriser's answers", "s", "What it takes for a request",
            *quantiles("gateway_authoriser_seconds", 0.5, 0.95),
        ),
        graph(
            "Closed", "ops", "Connections that ended, by close code, or went on in another worker",
            (rate("websocket_connections_closed", by="code"), "{{code}}"),
            (rate("websocket_connections_handed_over"), "to another worker"),
            (rate("gateway_sessions_revoked"), "of them revoked"),
        ),
        graph(
            "Messages", "ops", "Messages received and sent",
            (rate("websocket_messages_received"), "received"), (rate("websocket_messages_sent"), "sent"),
            (rate("gateway_deliveries"), "deliveries"),
        ),
        graph(
            "Bytes", "Bps", "Bytes of messages",
            (rate("websocket_bytes_received"), "received"), (rate("websocket_bytes_sent"), "sent"),
        ),
        graph("Errors", "ops", "ERROR messages by code", (rate("gateway_errors", by="code"), "{{code}}")),
    ],
    "Edits": [
        graph(
            "Delivery latency", "s", "From an operation's arrival to the hand-over of its broadcast",
            *quantiles("websocket_message_latency_seconds", 0.5, 0.95, 0.99),
        ),
        graph(
            "Delivery latency across workers", "s", "Of those, what another worker committed",
            *quantiles("gateway_remote_latency_seconds", 0.5, 0.95, 0.99),
        ),
        graph(
            "Where the time goes (p95)", "s", "Each step of an edit",
            (quantile(0.95, "gateway_step_seconds", by="step"), "{{step}}"),
        ),
        graph(
            "Outcomes", "ops", "Edits by outcome",
            (rate("gateway_operations_committed"), "committed"),
            (rate("gateway_operations_transformed"), "of them transformed"),
            (rate("gateway_operations_merged"), "of them merged away"),
            (rate("gateway_resends"), "resends"),
        ),
        graph(
            "Refused", "ops", "Edits that were refused, by code",
            (rate("gateway_operations_refused", by="code"), "{{code}}"),
        ),
        graph(
            "Conflicts a minute", "short", "Edits that met a concurrent change of the same place",
            (f"{rate('gateway_conflicts', by='kind')} * 60", "{{kind}}"),
        ),
        graph(
            "Undo and redo", "ops", "Those that found something",
            (rate("gateway_undos"), "undo"), (rate("gateway_redos"), "redo"),
        ),
        graph(
            "Syncs", "ops", "How subscribers are brought up to date",
            (rate("gateway_syncs_changes"), "by changes"), (rate("gateway_syncs_state"), "by the document"),
        ),
        graph(
            "Costly messages", "ops", "That held the loop for over 100 ms, or waited for a share of CPU",
            (rate("gateway_messages_slow", by="type"), "held the loop: {{type}}"),
            (rate("gateway_messages_waited"), "waited for CPU"),
        ),
        graph(
            "A/B test: sign-ins", "ops", "By the variant of their users, while a test runs",
            (rate("gateway_variant_sessions", by="variant"), "{{variant}}"),
        ),
        graph(
            "A/B test: edits", "ops", "Committed edits by variant",
            (rate("gateway_variant_operations", by="variant"), "{{variant}}"),
        ),
        graph(
            "A/B test: errors", "ops", "ERROR messages by variant",
            (rate("gateway_variant_errors", by="variant"), "{{variant}}"),
        ),
    ],
    "Log": [
        graph(
            "Commit time", "s", "Round trip of an append",
            *quantiles("gateway_commit_seconds", 0.5, 0.95, 0.99),
        ),
        graph(
            "Changes in a batch", "short", "Group commit: grows with the load",
            *quantiles("gateway_batch_changes", 0.5, 0.95),
        ),
        graph(
            "Batches", "ops", "Appended, beaten by another node, failed",
            (rate("gateway_batches"), "appended"), (rate("gateway_batches_stale"), "stale"),
            (rate("gateway_batches_failed"), "failed"), (rate("gateway_log_errors"), "log errors"),
            (rate("gateway_reservations"), "reservations"),
        ),
        graph(
            "What the log lost", "ops", "Changes that the log lost, and what became of them",
            (rate("gateway_changes_rescued"), "appended again"), (rate("gateway_changes_folded"), "folded"),
            (rate("gateway_changes_lost"), "lost"),
            (rate("gateway_states_unproven"), "states that may lack some"),
            (f"max({now('gateway_log_unwritable')})", "it can't be written"),
            (rate("gateway_log_damaged"), "not what was written"),
        ),
        graph(
            "Waiting for a commit", "short", "Submissions accepted and not yet committed",
            by_node("gateway_pending_changes"),
            by_node("gateway_overloaded"),
        ),
        graph(
            "Bytes waiting", "bytes", "Beyond limits.worker_pending_bytes_max edits are refused",
            by_node("gateway_pending_bytes"),
        ),
    ],
    "Redis": [
        graph(
            "Memory of Redis", "percentunit", "Of maxmemory, or of the machine's where there is none",
            (
                f"clamp_max(max by (server) ({now('gateway_redis_memory_bytes')}) / "
                f"max by (server) ({now('gateway_redis_memory_limit_bytes')}), 1)",
                "{{server}}",
            ),
        ),
        graph(
            "Answers of Redis", "s", "How long INFO took",
            (f"max by (server) ({now('gateway_redis_answer_seconds')})", "{{server}}"),
        ),
        graph(
            "Replicas' lag", "bytes", "Of the replica that is furthest behind",
            (f"max by (server) ({now('gateway_redis_replica_lag_bytes')})", "{{server}}"),
        ),
        graph(
            "Faults of Redis", "short", "Without maxmemory, failing to write its file, unreachable",
            (f"max by (server) ({now('gateway_redis_unbounded')})", "{{server}} unbounded"),
            (f"max by (server) ({now('gateway_redis_persistence_failing')})", "{{server}} can't write"),
            (f"max({now('gateway_redis_unreachable')})", "unreachable"),
        ),
        graph(
            "Evicted keys", "short", "None, ever: an evicted key is a lost change",
            (f"max by (server) ({now('gateway_redis_evicted_keys')})", "{{server}}"),
        ),
        graph(
            "Replicas", "short", "Of each server",
            (f"max by (server) ({now('gateway_redis_replicas')})", "{{server}}"),
        ),
    ],
    "Rooms, presence, slow readers": [
        graph(
            "Rooms and subscriptions", "short", "Open now",
            (total("gateway_rooms"), "rooms"), (total("gateway_subscriptions"), "subscriptions"),
            (total("gateway_presences"), "presences"),
        ),
        graph(
            "Rooms opened and evicted", "ops", "From the log, and when idle",
            (rate("gateway_rooms_opened"), "opened"), (rate("gateway_rooms_evicted"), "evicted"),
            (rate("gateway_bases_rebuilt"), "old bases rebuilt"),
        ),
        graph(
            "The largest audience", "short", "Readers of the room that has the most",
            by_node("gateway_room_readers_max"),
        ),
        graph(
            "The largest room", "bytes", "Its document, and edits on their way",
            (now("gateway_room_document_bytes_max"), "{{instance}} document"),
            (now("gateway_room_pending_bytes_max"), "{{instance}} on their way"),
        ),
        graph(
            "Presence", "ops", "Sent, and dropped for slow readers",
            (rate("gateway_presence_sent"), "sent"), (rate("gateway_presence_dropped"), "dropped"),
        ),
        graph(
            "Slow readers", "ops", "Resynchronised, and closed",
            (rate("gateway_resyncs"), "resynchronised"), (rate("websocket_slow_closes"), "closed"),
        ),
        graph("Queued for slow readers", "bytes", "Of all connections", by_node("gateway_outbox_bytes")),
        graph(
            "Bus", "ops", "Announcements from other workers",
            (rate("gateway_bus_received"), "received"), (rate("gateway_bus_gaps"), "gaps"),
            (rate("gateway_bus_lost"), "lost"), (rate("gateway_changes_received"), "changes in them"),
        ),
        graph(
            "Rooms' windows", "bytes", "What rooms keep, and what is kept for edits that are far behind",
            (total("gateway_window_bytes"), "windows"), (total("gateway_past_bytes"), "far behind"),
        ),
    ],
    "Archive": [
        graph(
            "Archived", "ops", "Changes moved to PostgreSQL",
            (rate("gateway_archive_changes"), "changes"),
            (rate("gateway_archive_failures"), "failed attempts"),
        ),
        graph(
            "Waiting for the archive", "short", "Changes that wait, and partitions that stand still",
            (now("gateway_archive_waiting"), "waiting {{instance}}"),
            (now("gateway_archive_blocked"), "blocked {{instance}}"),
            (f"sum by (instance) (increase({now('gateway_archive_gaps_total')}[1h]))", "gaps {{instance}}"),
        ),
        graph(
            "Age of the oldest that waits", "s", "How far the archive is behind",
            by_node("gateway_archive_lag_seconds"),
        ),
        graph(
            "Index of searches", "ops", "Changes indexed, and what failed",
            (rate("gateway_search_changes"), "changes"), (rate("gateway_search_failures"), "failed attempts"),
            (rate("gateway_searches_failed"), "searches unanswered"),
        ),
        graph(
            "Search", "s", "How long searches take, and the age of the oldest change that isn't indexed",
            *quantiles("gateway_search_seconds", 0.5, 0.95), by_node("gateway_search_lag_seconds"),
        ),
        graph(
            "Audit", "short", "Records of acts and refusals: written, and waiting",
            (rate("gateway_audit_records"), "written a second"),
            (rate("gateway_audit_failures"), "attempts that failed"),
            (rate("gateway_audit_lost"), "given up"),
            (now("gateway_audit_waiting"), "waiting {{instance}}"),
        ),
    ],
    "Processes": [
        graph(
            "CPU", "short", "Cores that each process uses",
            (f"rate({now('process_cpu_seconds_total')}{INTERVAL})", "{{instance}} {{worker}}"),
        ),
        graph("Cores busy", "short", "Smoothed; each worker can use one", by_node("gateway_cpu_share")),
        graph(
            "Memory", "bytes", "Resident",
            (now("process_resident_memory_bytes"), "{{instance}} {{worker}}"),
        ),
        graph(
            "Event loop lag", "s", "How late a due task runs",
            *quantiles("gateway_loop_lag_seconds", 0.5, 0.99),
        ),
        graph(
            "Event loop lag by worker", "s", "The latest of half a minute",
            (now("gateway_loop_lag_max_seconds"), "{{instance}}"),
            (now("gateway_worker_loop_lag_max_seconds"), "{{instance}} {{worker}}"),
        ),
        graph(
            "Collector pauses", "s", "p99, and how much of each second they take",
            (quantile(0.99, "gateway_gc_pause_seconds"), "p99"),
            (f"sum(rate({now('gateway_gc_pause_seconds_sum')}{INTERVAL}))", "a second"),
        ),
        graph(
            "Descriptors", "percentunit", "Of each process's limit",
            (f"{now('process_open_fds')} / {now('process_max_fds')}", "{{instance}} {{worker}}"),
        ),
        graph(
            "Disk", "percentunit", "Of the data directory, used",
            (f"1 - {now('gateway_disk_free_bytes')} / {now('gateway_disk_bytes')}", "{{instance}}"),
        ),
        graph(
            "Bugs, unusable keys", "short", "Exceptions nobody expected, in ten minutes; key files",
            (f"sum by (instance) (increase({now('gateway_internal_errors_total')}[10m]))", "{{instance}}"),
            (f"max by (instance) ({now('gateway_key_problems')})", "{{instance}} key files"),
        ),
    ],
}  # fmt: skip

# ------------------------------------------------------------------------------------------- Grafana


def dashboard() -> dict[str, Any]:
    """The dashboard's model."""
    of_job = 'websocket_connections_total{job=~"$job"}'
    return {
        "title": "Collaboration gateway",
        "uid": "collab-gateway",
        "tags": ["gateway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "query": "prometheus",
                    "label": "Prometheus",
                    "hide": 0,
                },
                # "All" are the jobs that there are of gateways, and not whatever else is scraped.
                _variable("job", "Job", "label_values(gateway_build_info, job)"),
                {**_variable("instance", "Node", f"label_values({of_job}, instance)"), "allValue": ".*"},
            ]
        },
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_placed(), 1)],
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    """What is picked from what Prometheus has, one or more; all at first."""
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
        "sort": 1,
    }


def _placed() -> Iterator[dict[str, Any]]:
    """The panels from the top down, each row under its title."""
    y = 0
    for title, panels in ROWS.items():
        yield {
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, y, 24, 1),
        }
        y += 1
        width, height = (4, 5) if panels[0].kind == "stat" else (8, 8)
        a_line = 24 // width
        for number, panel in enumerate(panels):
            line, column = divmod(number, a_line)
            yield _panel(panel, _place(width * column, y + height * line, width, height))
        y += height * -(-len(panels) // a_line)


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"h": height, "w": width, "x": x, "y": y}


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": letter, "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
        for letter, (expression, legend) in zip(ascii_uppercase, panel.queries, strict=False)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if panel.kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        options = {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
        "options": options,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
