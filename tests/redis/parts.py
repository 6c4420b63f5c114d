"""What the tests of the Redis adapters share: running shards, what servers hold, waiting."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from gateway.bus.redis import RedisBus
from gateway.config import Config
from gateway.redislink.keys import partition_of, tag
from gateway.redislink.shards import Shards
from tests.contracts.bus_contract import Inbox
from tests.proxy import Proxy
from tests.servers import RedisCluster, RedisServer, shared_redis, shared_redis_cluster
from tests.waiting import unawaited


def settings(*urls: str, **values: Any) -> Config:
    """The default settings with these servers."""
    return Config().with_(redis={"urls": urls, **values})


def fresh(*flavours: str, cluster: bool = False, **values: Any) -> Config:
    """Settings for the test run's shared servers of these flavours (or cluster of the first), emptied."""
    if cluster:
        formed = shared_redis_cluster(flavours[0])
        flush(*(server.port for server in formed.masters))
        return Config().with_(redis={"cluster_url": formed.url, **values})
    servers = [shared_redis(flavour, number) for number, flavour in enumerate(flavours)]
    flush(*(server.port for server in servers))
    return settings(*(server.url for server in servers), **values)


def proxied(proxy: Proxy) -> str:
    """The URL of the server behind it."""
    return f"redis://127.0.0.1:{proxy.port}"


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Shards]:
    """The shards of one node."""
    async with unawaited() as nursery:
        shards = Shards(config.redis)
        await nursery.start(shards.run)
        yield shards


def client() -> redis.Redis:
    """A client of the server that `fresh("any")` is about, past the gateway."""
    return redis.Redis("127.0.0.1", shared_redis("any", 0).port)


def flush(*ports: int) -> None:
    """Empty servers, as a mistaken FLUSHALL would."""
    for port in ports:
        with redis.Redis("127.0.0.1", port) as client:
            client.flushall()


def save(server: RedisServer, to: Path) -> None:
    """What it has now, as a copy of its file."""
    with redis.Redis("127.0.0.1", server.port) as client:
        client.save()
    shutil.copy(server.directory / "dump.rdb", to)


def started_on(server: RedisServer, copy: Path) -> None:
    """Ended, and started on an older file."""
    server.kill()
    shutil.copy(copy, server.directory / "dump.rdb")
    server.start()


@asynccontextmanager
async def listening(shards: Shards, inbox: Inbox) -> AsyncIterator[RedisBus]:
    """A bus that runs over these shards."""
    async with unawaited() as nursery:
        bus = RedisBus(shards)
        bus.attach(inbox)
        await nursery.start(bus.run)
        yield bus


def slot_of(resource: str) -> int:
    return key_slot(tag(partition_of(resource, 256)).encode())


def owner(cluster: RedisCluster, resource: str) -> RedisServer:
    """The master that holds the resource when the cluster has just been formed."""
    step = -(-16384 // 3)
    return cluster.masters[slot_of(resource) // step]
