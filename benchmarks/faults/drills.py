"""What is broken, and how it comes back. Each drill takes a cluster whose users are at work."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis
import trio

from benchmarks.faults.cluster import Cluster, Shape, gateway, in_thread
from gateway.config import RedisSettings
from gateway.redislink.keys import partition_of
from loadtest.observe import scrape

STOPPED_S = 10.0
CUT_S = 5.0
LOST_S = 8.0
REDIS_AWAY_S = 1.0
MASTER_AWAY_S = 6.0
SHARD_AWAY_S = 8.0
SHARDS, AWAY = 3, 2  # the last of three
POSTGRES_AWAY_S = 5.0
BETWEEN_NODES_S = 2.0
# More than it holds when it begins to fill; the load writes that in some seconds.
FILLED_BYTES = 3 << 20
FULL_WITHIN_S = 60.0
FULL_S = 3.0


@dataclass(frozen=True, slots=True)
class Drill:
    """One of them: the servers that it needs, and what it does to them, `at_s` into a scenario.

    `watched`: bystanders work through it and must hardly notice; where it `spares` documents, in these.
    """

    name: str
    description: str
    shape: Shape
    disrupt: Callable[[Cluster], Awaitable[None]] | None
    scenario: str = "drill"
    at_s: float = 12.0
    watched: bool = False
    spares: Callable[[str], bool] | None = None


async def kill_worker(cluster: Cluster) -> None:
    cluster.nodes[0].workers()[0].kill()


async def kill_redis(cluster: Cluster) -> None:
    server = cluster.redis[0]
    await in_thread(server.kill)
    await trio.sleep(REDIS_AWAY_S)
    await in_thread(server.start)


async def kill_master(cluster: Cluster) -> None:
    """Its replica takes over; later it comes back, as a replica."""
    assert cluster.redis_cluster is not None
    master = cluster.redis_cluster.masters[0]
    await in_thread(master.kill)
    await trio.sleep(MASTER_AWAY_S)
    await in_thread(master.start)


async def stop_shard(cluster: Cluster) -> None:
    """One of three independent servers is stopped, and started again."""
    server = cluster.redis[AWAY]
    await in_thread(server.stop)
    await trio.sleep(SHARD_AWAY_S)
    await in_thread(server.start)


def elsewhere(resource: str) -> bool:
    """Whether a resource is on a server that stays: a new deployment deals its partitions out in turn."""
    return partition_of(resource, RedisSettings().partitions) % SHARDS != AWAY


async def kill_postgres(cluster: Cluster) -> None:
    assert cluster.postgres is not None
    await in_thread(cluster.postgres.kill)
    await trio.sleep(POSTGRES_AWAY_S)
    await in_thread(cluster.postgres.start)


async def fill_redis(cluster: Cluster) -> None:
    """It fills up, for the archive is away; then that is back, and frees it."""
    assert cluster.postgres is not None
    await in_thread(cluster.postgres.kill)
    with redis.Redis("127.0.0.1", cluster.redis[0].port) as direct:
        used = int(direct.info("memory")["used_memory"])
        direct.config_set("maxmemory", used + FILLED_BYTES)
        with trio.fail_after(FULL_WITHIN_S):
            while not await _refuses(cluster):  # noqa: ASYNC110
                await trio.sleep(0.2)
    await trio.sleep(FULL_S)
    await in_thread(cluster.postgres.start)


async def _refuses(cluster: Cluster) -> bool:
    metrics = await trio.to_thread.run_sync(scrape, cluster.admin_url)
    return metrics.get("gateway_log_unwritable", 0) > 0


async def stop_redis(cluster: Cluster) -> None:
    cluster.redis[0].pause()
    try:
        await trio.sleep(STOPPED_S)
    finally:
        cluster.redis[0].resume()


async def cut_network(cluster: Cluster) -> None:
    """Connections end, new ones are refused."""
    assert cluster.network is not None
    way = cluster.network.way(1)
    way.cut()
    await trio.sleep(CUT_S)
    way.heal()


async def lose_packets(cluster: Cluster) -> None:
    """Nothing arrives any more, and nobody is told."""
    assert cluster.network is not None
    way = cluster.network.way(1)
    way.swallow_requests = way.swallow_replies = True
    await trio.sleep(LOST_S)
    way.cut()  # as what was swallowed never comes, the connections can't go on
    way.heal()


async def roll_workers(cluster: Cluster) -> None:
    for node in cluster.nodes:
        await node.roll()


async def restart_nodes(cluster: Cluster) -> None:
    for node in cluster.nodes:
        await node.stop(signal.SIGTERM)
        await node.start()
        await trio.sleep(BETWEEN_NODES_S)  # the balancer has to notice that it is back


async def add_shard(cluster: Cluster) -> None:
    await gateway("rebalance", "--redis", cluster.redis_urls)


BEHIND_HAPROXY = Shape(nodes=2)
BEHIND_PROXY = Shape(nodes=2, proxy=True)
ALL = (
    Drill("none", "Nothing: the load alone", Shape(), None),
    Drill("worker", "kill -9 of one of two workers", Shape(), kill_worker),
    Drill("redis", "kill -9 of Redis (fsync), started again", Shape(durability="fsync"), kill_redis),
    Drill(
        "master",
        "kill -9 of a master of a Redis Cluster (replicated)",
        Shape(redis="cluster", durability="replicated"),
        kill_master,
    ),
    Drill(
        "part",
        f"one of three Redis servers (fsync) is stopped for {SHARD_AWAY_S:.0f} s; others' documents go on",
        Shape(redis="three", durability="fsync", nodes=2),
        stop_shard,
        watched=True,
        spares=elsewhere,
    ),
    Drill("postgres", "kill -9 of PostgreSQL, started again", Shape(), kill_postgres),
    Drill(
        "full",
        f"Redis runs full while PostgreSQL is away, {FULL_S:.0f} s more",
        Shape(settings={"redis.history_versions": 8, "log.snapshot_versions": 4, "redis.archive_lease_s": 1}),
        fill_redis,
    ),
    Drill("stopped", f"Redis stands still for {STOPPED_S:.0f} s (SIGSTOP)", Shape(), stop_redis),
    Drill("cut", f"one of two nodes is cut off from Redis for {CUT_S:.0f} s", BEHIND_PROXY, cut_network),
    Drill("lossy", f"the same, in silence, for {LOST_S:.0f} s", BEHIND_PROXY, lose_packets),
    Drill("roll", "new workers (SIGHUP) on two nodes behind HAProxy", BEHIND_HAPROXY, roll_workers),
    Drill("restart", "both nodes behind HAProxy restarted, in turn", BEHIND_HAPROXY, restart_nodes),
    Drill(
        "takeover",
        "kill -9 of one of two workers that have 30,600 connections",
        Shape(),
        kill_worker,
        scenario="takeover",
        at_s=75.0,
        watched=True,
    ),
    Drill("shard", "a second Redis takes half of the partitions", Shape(redis="two"), add_shard),
)
DRILLS = {drill.name: drill for drill in ALL}
