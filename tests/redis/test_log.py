"""The log in Redis: the contract of `OpLog` on one Redis, one Valkey, two shards and clusters of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.log.redis.log import RedisLog
from gateway.ports import OpLog
from tests.contracts.log_contract import LogContract
from tests.redis.parts import fresh, running


class TestRedis(LogContract):
    flavours: tuple[str, ...] = ("any",)
    cluster = False

    @asynccontextmanager
    async def log(self) -> AsyncIterator[OpLog]:
        config = fresh(*self.flavours, cluster=self.cluster)
        async with running(config) as shards:
            yield RedisLog(shards, config)


class TestValkey(TestRedis):
    flavours = ("valkey",)


class TestShards(TestRedis):
    flavours = ("any", "valkey")


class TestRedisCluster(TestRedis):
    cluster = True


class TestValkeyCluster(TestRedis):
    flavours = ("valkey",)
    cluster = True
