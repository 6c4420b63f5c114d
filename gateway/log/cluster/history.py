"""Old history goes from a cluster: from the index of searches, Redis and the archive, in that order.

So whatever breaks in between, the archive still tells what is in excess, and the next look goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gateway.log.postgres import retention as postgres_retention
from gateway.log.postgres.archive import PostgresArchive
from gateway.log.redis.log import RedisLog
from gateway.log.search.cluster import ClusterIndexing
from gateway.ports import Snapshot
from gateway.ports.retention import Excess, RetentionRule
from gateway.ports.search import Erasure


class ClusterHistory:
    """The port `HistoryKeeper` over Redis and the archive; `indexing` feeds the index, where there is one."""

    def __init__(self, log: RedisLog, archive: PostgresArchive, indexing: ClusterIndexing | None) -> None:
        self._log = log
        self._archive = archive
        self._indexing = indexing

    async def turn(self, seconds: float) -> bool:
        """See the port."""
        return await postgres_retention.turn(self._archive, seconds)

    async def excess(self, kept: RetentionRule, after: str, limit: int) -> Sequence[Excess]:
        """See the port."""
        return await postgres_retention.excess_of(self._archive, kept, after, limit)

    async def stored(self, resource: str, versions: Collection[int]) -> Mapping[int, bool]:
        """See the port."""
        return await postgres_retention.stored(self._archive, resource, versions)

    async def retain(self, excess: Excess, document: bytes, named: Collection[int], since_ms: int) -> int:
        """See the port."""
        if self._indexing is not None:
            await self._indexing.erase([Erasure(*excess)])
        await self._log.forget_history(excess.name, excess.epoch, Snapshot(excess.upto, document))
        return await postgres_retention.retain(self._archive, excess, document, named, since_ms)

    async def keep(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        """See the port."""
        await postgres_retention.keep(self._archive, resource, epoch, snapshot)

    async def let_go(self, resource: str, epoch: int, version: int) -> None:
        """See the port."""
        await postgres_retention.let_go(self._archive, resource, epoch, version)

    async def forget(self, before_ms: int) -> None:
        """See the port. Redis forgets by itself, whenever a snapshot is saved."""
        await postgres_retention.forget(self._archive, before_ms)
