"""What a worker shows of itself to an operator: numbers, busiest rooms, slow readers, sessions."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil

from gateway.admin.port import State
from gateway.hub.hub import Hub
from gateway.node.live_trace import LiveTracer
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.sessions.registry import Registry
from gateway.sessions.session import ClientSession

SHOWN_MAX = 10
SUBSCRIPTIONS_SHOWN = 20
# Rates are of at least so long.
RATE_INTERVAL_S = 1.0
GAUGES = ("connections", "connections_left", "http_connections", "rooms", "subscriptions", "presences")
SUMS = ("messages_received", "messages_sent", "deliveries", "operations_committed")
KEYED = ("operations_refused", "connections_rejected", "authentications", "connections_closed")
SERVERS = (
    "redis_memory_bytes",
    "redis_memory_limit_bytes",
    "redis_answer_seconds",
    "redis_replica_lag_bytes",
)
OTHERS = (
    "outbox_bytes", "slow_closes", "disk_free_bytes", "disk_bytes", "loop_lag_max_seconds", "archive_waiting",
    "archive_blocked", "archive_lag_seconds", "archive_failures", "redis_unreachable", "log_unwritable",
)  # fmt: skip


class Insight:
    """The port `gateway.admin.insight.NodeView` of a worker. Things are looked up when it is asked."""

    def __init__(self, worker: str, state: State, hub: Hub, registry: Registry, live: LiveTracer) -> None:
        self.worker = worker
        self.live = live
        self._state = state
        self._hub = hub
        self._registry = registry
        self._process = psutil.Process()
        self._seen: dict[str, int] = {}
        self._seen_s = 0.0
        self._rates: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        """Numbers of now, sums since the start, and who stands out."""
        counters = self._state.counters()
        rooms = list(self._hub.rooms)
        self._measure(rooms)
        return {
            "worker": self.worker,
            "pid": os.getpid(),
            "time_s": time.time(),
            "draining": self._state.draining,
            "types": sorted(self._hub.rules.types),
            "problems": list(self._state.problems),
            "cpu_s": time.process_time(),
            "memory_bytes": self._process.memory_info().rss,
            "users": self._registry.visitors.users,
            "archives": counters.archive_changes,
            **_numbers(counters),
            "busiest": self._busiest(rooms),
            "watched": self._watched(rooms),
            "slow": self._slow(),
        }

    def _measure(self, rooms: Sequence[Room]) -> None:
        """How many changes a second each room had since the last time."""
        now_s = self._hub.now_s()
        passed_s = now_s - self._seen_s
        if passed_s < RATE_INTERVAL_S:
            return
        before, self._seen = self._seen, {room.resource: room.version for room in rooms}
        self._seen_s = now_s
        self._rates = {
            name: (version - before[name]) / passed_s
            for name, version in self._seen.items()
            if version > before.get(name, version)
        }

    def _busiest(self, rooms: Iterable[Room]) -> list[dict[str, Any]]:
        names = heapq.nlargest(SHOWN_MAX, self._rates, key=lambda name: self._rates[name])
        found = {room.resource: room for room in rooms if room.resource in names}
        return [self._shown(found[name]) for name in names if name in found]

    def _watched(self, rooms: Iterable[Room]) -> list[dict[str, Any]]:
        found = heapq.nlargest(SHOWN_MAX, rooms, key=lambda room: room.subscriber_count)
        return [self._shown(room) for room in found if room.subscriber_count]

    def _shown(self, room: Room) -> dict[str, Any]:
        return {
            "resource": room.resource,
            "version": room.version,
            "subscribers": room.subscriber_count,
            "changes_per_s": round(self._rates.get(room.resource, 0.0), 2),
            "pending_bytes": room.pending_bytes,
        }

    def _slow(self) -> list[dict[str, Any]]:
        """The readers for whom most waits."""
        waiting = (
            (session.connection.waiting_bytes, session.id, session)
            for session in self._registry.sessions
            if session.connection is not None and session.connection.waiting_bytes
        )
        found = heapq.nlargest(SHOWN_MAX, waiting)
        return [{"waiting_bytes": size, **_shown_session(session)} for size, _, session in found]

    def sessions(self, user_id: str | None, resource: str | None, limit: int) -> list[dict[str, Any]]:
        """Those of a user, or with a resource, or any; at most `limit`, the newest first."""
        found = [
            session
            for session in self._registry.sessions
            if (user_id is None or (session.identity is not None and session.identity.user_id == user_id))
            and (resource is None or resource in session.subscriptions)
        ]
        newest = heapq.nlargest(limit, found, key=lambda session: session.opened_ms)
        now_s = self._hub.now_s()
        return [
            {
                **_shown_session(session),
                "heard_s_ago": round(now_s - session.heard_s, 1),
                "waiting_bytes": 0 if session.connection is None else session.connection.waiting_bytes,
                "subscriptions": list(session.subscriptions)[:SUBSCRIPTIONS_SHOWN],
                "subscriptions_count": len(session.subscriptions),
                "worker": self.worker,
            }
            for session in newest
        ]


def _shown_session(session: ClientSession) -> dict[str, Any]:
    return {
        "session": session.id,
        "user_id": None if session.identity is None else session.identity.user_id,
        "client_id": session.client_id,
        "remote": session.remote,
        "opened_ms": session.opened_ms,
        "extended": session.extended,
    }


def _numbers(counters: Counters) -> dict[str, Any]:
    keyed: dict[str, Mapping[str, int]] = {name: dict(getattr(counters, name)) for name in KEYED}
    servers: dict[str, Mapping[str, float]] = {name: dict(getattr(counters, name)) for name in SERVERS}
    latency = counters.message_latency_seconds
    return {
        **{name: getattr(counters, name) for name in (*GAUGES, *SUMS, *OTHERS)},
        **keyed,
        **servers,
        "latency_sum_s": latency.sum,
        "latency_count": sum(latency.counts),
    }
