"""What one worker of a cluster has of log and archive, over real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from gateway.config import Config
from gateway.log.archive import Archiver
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import RedisOutbox
from gateway.redislink.shards import Shards
from tests.contracts.log_contract import NOW_MS
from tests.redis.parts import fresh, running
from tests.servers import shared_postgres


class Worker(NamedTuple):
    """What one worker of a cluster has of log and archive."""

    log: RedisLog
    outbox: RedisOutbox
    archiver: Archiver
    store: PostgresArchive
    shards: Shards

    async def archive(self) -> None:
        """Take every partition, and move all that waits."""
        await self.hold()
        while await self.archiver.step():
            pass

    async def hold(self) -> None:
        while len(await self.outbox.take(1)) < 256:
            pass


@asynccontextmanager
async def worker(config: Config, dsn: str) -> AsyncIterator[Worker]:
    async with running(config) as shards:
        store, taken = PostgresArchive(dsn), RedisOutbox(shards, config)
        try:
            log = RedisLog(shards, config, store, wall_ms=lambda: NOW_MS)
            yield Worker(log, taken, Archiver(taken, store), store, shards)
        finally:
            await store.aclose()


@asynccontextmanager
async def alone(**values: Any) -> AsyncIterator[Worker]:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        async with worker(fresh("any", **values), dsn) as found:
            yield found


def versions(records: Sequence[Any]) -> list[int]:
    return [found.version for found in records]
