"""The log in Redis: the contract of `OpLog` on one Redis, one Valkey and two shards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.log.redis import RedisLog
from gateway.ports import OpLog
from tests.contracts.log_contract import LogContract
from tests.redis.parts import flush, running, settings
from tests.servers import shared_redis


class TestRedis(LogContract):
    flavours: tuple[str, ...] = ("any",)

    @asynccontextmanager
    async def log(self) -> AsyncIterator[OpLog]:
        servers = [shared_redis(flavour, number) for number, flavour in enumerate(self.flavours)]
        flush(*(server.port for server in servers))
        config = settings(*(server.url for server in servers))
        async with running(config) as shards:
            yield RedisLog(shards, config)


class TestValkey(TestRedis):
    flavours = ("valkey",)


class TestShards(TestRedis):
    flavours = ("any", "valkey")
