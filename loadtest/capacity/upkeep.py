"""What a cluster keeps, and what a month of it costs: memory of Redis, disk of the archive, dollars.

Bytes are measured (Valkey 9, PostgreSQL 17; docs/how-to/size.md): a change and a resource beside what is in
them. Redis holds the resources that were changed of late, the archive every change of so many days.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.capacity.prices import Machine, Prices, bill

GIB = 1 << 30
HOUR_S, DAY_S = 3600.0, 86_400.0
# The load over a day, as a share of the peak: nights are quiet, two peaks at work.
DAY = (5, 4, 3, 3, 3, 5, 10, 25, 60, 90, 100, 95, 70, 80, 95, 100, 90, 70, 45, 30, 22, 16, 11, 8)
AVERAGE = sum(DAY) / (100 * len(DAY))
RESOURCE_BYTES = 4700.0  # in Redis, without its changes
CHANGE_BYTES = 130.0  # in Redis and in the archive, beside the change itself
SNAPSHOTS = 2  # of each resource in Redis
REWRITING = 2.0  # a server that writes its file anew needs as much again
REDIS_MEMORY_MAX = 0.9  # of a machine, the rest is the system's
REDIS_UTILISATION = 0.6  # of the appends that a master takes


def redis_room(redis: Machine) -> float:
    """What a master on this machine may hold, in bytes."""
    return REDIS_MEMORY_MAX * redis.memory_gib * GIB


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of how much. `documents` are those that are changed within `redis_h`."""

    documents: float
    change_bytes: float = 170.0
    document_bytes: float = 1024.0
    redis_h: float = 48.0
    history_versions: float = 2000.0
    archive_days: float = 30.0

    def redis_bytes(self, operations_per_s: float) -> float:
        """Memory of all masters together at this peak of edits, what a rewritten file needs included."""
        changes = operations_per_s * AVERAGE * self.redis_h * HOUR_S
        changes = min(changes, self.documents * self.history_versions)
        each = RESOURCE_BYTES + SNAPSHOTS * self.document_bytes
        return REWRITING * (self.documents * each + changes * (CHANGE_BYTES + self.change_bytes))

    def disk_bytes(self, operations_per_s: float) -> float:
        """The archive at this peak of edits: every change of so many days, and the documents."""
        changes = operations_per_s * AVERAGE * self.archive_days * DAY_S
        return changes * (CHANGE_BYTES + self.change_bytes) + self.documents * self.document_bytes

    def assumed(self, given: bool) -> str:
        """What of it isn't measured, in words; `given`: somebody said how many documents there are."""
        why = "as you say" if given else "each has its viewers and one more: say how many by --documents"
        return (
            f"{self.documents:,.0f} documents of {self.document_bytes:,.0f} bytes are changed within "
            f"{self.redis_h:.0f} h ({why}), {self.change_bytes:,.0f} bytes a change; Redis keeps at most "
            f"{self.history_versions:,.0f} changes of each"
        )

    def masters(self, operations_per_s: float, redis: Machine, appends_per_s: float) -> int:
        """The fewest such machines that hold it and take the appends, at most `appends_per_s` each."""
        held = math.ceil(self.redis_bytes(operations_per_s) / redis_room(redis))
        return max(held, math.ceil(operations_per_s / appends_per_s / REDIS_UTILISATION), 1)


def month(
    prices: Prices,
    node: Machine,
    nodes: int,
    masters: int,
    disk_bytes: float,
    peak_bytes_per_s: float,
    connections: float,
) -> Mapping[str, float]:
    """Dollars a month, by part, in all, and for each 1,000 connections at the peak; masters have replicas."""
    sent = peak_bytes_per_s * AVERAGE
    made = bill(prices, node, nodes, 2 * masters, disk_bytes / 1e9, sent)
    return {**made, "of_1000_connections": 1000 * made["total"] / connections}
