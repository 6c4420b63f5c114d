"""What Redis servers say of themselves, asked of real ones while they serve."""

from __future__ import annotations

from contextlib import suppress

import redis

from gateway.config import Config
from gateway.redislink.facts import TIMEOUT_S, ServerFacts, gather
from gateway.redislink.shards import Shards
from tests.servers import redis_cluster, redis_server
from tests.waiting import unawaited


async def facts(**settings: object) -> dict[str, ServerFacts]:
    """Gathered once, over shards of their own."""
    shards = Shards(Config().with_(redis=settings).redis)
    async with unawaited() as nursery:
        await nursery.start(shards.run)
        return await gather(shards)


async def test_memory_and_its_limit_are_told():
    with redis_server("--maxmemory", "50mb") as server:
        [found] = (await facts(urls=(server.url,))).values()
        assert 100_000 < found.memory_bytes < found.memory_limit_bytes == 50 << 20
        assert found.bounded and found.persistence_ok
        assert (found.evicted_keys, found.replicas, found.replica_lag_bytes) == (0, 0, 0)
        with redis.Redis("127.0.0.1", server.port) as client:
            client.config_set("maxmemory", 0)
        [found] = (await facts(urls=(server.url,))).values()
        assert not found.bounded
        assert found.memory_limit_bytes > 1 << 28, "the machine's memory"


async def test_a_replica_that_is_held_up_is_told_by_its_lag():
    with redis_cluster(masters=3) as servers:
        found = await facts(cluster_url=servers.url)
        assert [each.replicas for each in found.values()] == [1, 1, 1]
        replica = servers.replicas[0]
        replica.pause()
        try:
            with redis.Redis("127.0.0.1", servers.masters[0].port) as client:
                for number in range(600):  # a third of them is this server's
                    with suppress(redis.ResponseError):
                        client.set(f"key-{number}", "x" * 1000)
            found = await facts(cluster_url=servers.url)
        finally:
            replica.resume()
        lags = sorted(each.replica_lag_bytes for each in found.values())
        assert lags[-1] > 100_000


async def test_a_server_that_hangs_does_not_make_another_one_slow():
    with redis_server() as well, redis_server() as hung:
        shards = Shards(Config().with_(redis={"urls": (well.url, hung.url)}).redis)
        async with unawaited() as nursery:
            await nursery.start(shards.run)
            hung.pause()
            [(name, found)] = (await gather(shards)).items()
            hung.resume()
        assert name == f"127.0.0.1:{well.port}/0"
        assert found.answer_s < TIMEOUT_S, "it took as long as the other was waited for"
