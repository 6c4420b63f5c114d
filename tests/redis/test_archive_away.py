"""What leaves Redis for the archive, and what stays, while a server of either is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from gateway.bus.redis import RedisBus
from gateway.errors import LogUnavailable
from gateway.log.archive import Archiver
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import RedisOutbox
from gateway.redislink.address import Address
from gateway.redislink.keys import partition_of
from gateway.redislink.shards import Shards
from tests.contracts.bus_contract import Inbox
from tests.contracts.log_contract import NOW_MS, ROOM, committed, filled
from tests.redis.node import archive_all, client, node
from tests.redis.parts import flush, fresh, running, settings
from tests.redis.worker import Worker, worker
from tests.servers import postgres_server, redis_server, shared_postgres, shared_redis
from tests.simulation.cluster import CONFIG
from tests.waiting import PATIENCE_S, unawaited, until

RESOURCES = [f"event:{number}" for number in range(40)]
# Longer than a busy machine keeps a sound server from its answer.
QUICK = {"command_timeout_s": 3.0, "connect_timeout_s": 3.0}


@pytest.mark.parametrize("away", ["kill", "pause"])
async def test_a_server_that_is_away_stops_neither_archiving_nor_eviction_of_the_others(away: str) -> None:
    with redis_server() as one, redis_server() as two, shared_postgres().database() as dsn:
        migrate(dsn)
        async with worker(settings(one.url, two.url, **QUICK), dsn) as node:
            for name in RESOURCES:
                await committed(node.log, filled(await node.log.open(name), 1, name))
            await node.hold()
            owners = node.shards.table.owners
            gone = one if owners[0].port == one.port else two  # the one that has the first partition
            reached = {name for name in RESOURCES if owners[partition_of(name, 256)].port != gone.port}
            getattr(gone, away)()
            with trio.fail_after(PATIENCE_S):
                while set(await node.store.heads(RESOURCES)) != reached:
                    await node.archiver.step()
            assert str(gone.port) in node.outbox.trouble or "no reply in time" in node.outbox.trouble
            assert node.archiver.lag_ms > 0, "what waits there isn't known"
            await _evicted(node, len(reached))
            if away == "pause":
                gone.resume()
                await _until_reached(node, owners[0])
                await node.archive()
                assert set(await node.store.heads(RESOURCES)) == set(RESOURCES)
                assert not node.outbox.trouble


async def _evicted(node: Worker, count: int) -> None:
    """Evict what is idle until so many resources went."""
    with trio.fail_after(PATIENCE_S):
        while count:
            count -= await node.outbox.evict(-1000)


async def _until_reached(node: Worker, address: Address) -> None:
    link = node.shards.server_at(address).others
    with trio.fail_after(PATIENCE_S):
        await link.wait_up()


async def test_where_no_server_answers_the_archive_waits() -> None:
    with redis_server() as server, shared_postgres().database() as dsn:
        migrate(dsn)
        async with worker(settings(server.url, **QUICK), dsn) as node, unawaited() as nursery:
            await nursery.start(node.archiver.run)
            server.kill()
            await until(lambda: node.archiver.numbers.failures > 1)
            assert node.archiver.numbers.trouble
            assert not node.archiver.numbers.store_away


async def test_an_edit_of_what_redis_lost_is_refused_while_the_archive_is_away() -> None:
    config = CONFIG.with_(redis={"urls": fresh("any").redis.urls})
    with postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        migrate(dsn)
        async with node("one", config, dsn) as found, client("ann", found) as ann:
            assert (await ann.edit(0, "first"))["version"] == 1
            await archive_all(config, dsn)
            postgres.kill()
            flush(shared_redis("any", 0).port)
            for _ in range(3):
                refused = await ann.edit(1, "on")
                assert (refused["code"], refused["outcome"]) == ("UNAVAILABLE", "none")
            assert found.counters.batches < 10
            postgres.start()
            with trio.fail_after(PATIENCE_S):
                await ann.told("SYNC_RESPONSE")  # in a new epoch
            assert (await ann.edit(1, "on"))["version"] == 2


@pytest.mark.parametrize("away", [2, 3])
async def test_while_servers_are_away_the_reason_stays_the_same(away: int) -> None:
    with redis_server() as one, redis_server() as two, redis_server() as three:
        servers = [one, two, three]
        async with running(settings(*(server.url for server in servers), **QUICK)) as shards:
            outbox = RedisOutbox(shards, settings(**QUICK))
            links = [shards.server_at(address).others for address in shards.first_partitions()]
            ports = [server.port for server in servers[:away]]
            for server in servers[:away]:
                server.kill()
            gone = [link for link in links if link.address.port in ports]
            await until(lambda: all("failed" in link.last_error for link in gone))
            assert len({await _reason(outbox) for _ in range(12)}) == 1


async def _reason(outbox: RedisOutbox) -> str:
    """Why a part of the log doesn't answer, or none of it."""
    try:
        await outbox.take(1)
    except LogUnavailable as error:
        return str(error)
    assert outbox.trouble
    return outbox.trouble


@asynccontextmanager
async def bus_of(shards: Shards) -> AsyncIterator[RedisBus]:
    bus = RedisBus(shards)
    bus.attach(Inbox())
    async with unawaited() as nursery:
        await nursery.start(bus.run)
        yield bus


@pytest.mark.parametrize("cluster", [False, True], ids=["alone", "cluster"])
@pytest.mark.parametrize("flavour", ["any", "valkey"])
async def test_what_a_worker_has_open_is_not_evicted_and_keeps_nothing_else(
    flavour: str, cluster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.log.redis.outboxes.EVICTIONS_A_PARTITION", 1)
    other = next(
        name for name in RESOURCES if name != ROOM and partition_of(name, 4) == partition_of(ROOM, 4)
    )
    config = fresh(flavour, cluster=cluster, partitions=4)
    with shared_postgres().database() as dsn:
        migrate(dsn)
        async with running(config) as shards, bus_of(shards) as bus:
            store, outbox = PostgresArchive(dsn), RedisOutbox(shards, config)
            log, archiver = RedisLog(shards, config, store, wall_ms=lambda: NOW_MS), Archiver(outbox, store)
            await bus.subscribe(ROOM)
            for name in (ROOM, other):  # the open one is the oldest
                await committed(log, filled(await log.open(name), 1, name))
                while await archiver.step():
                    pass
            assert await outbox.evict(-1000) == 0
            assert await outbox.evict(-1000) == 1
            await bus.unsubscribe(ROOM)
            with trio.fail_after(PATIENCE_S):
                while not await outbox.evict(-1000):
                    pass
            await store.aclose()


async def test_nothing_is_evicted_while_the_archive_is_away_though_nothing_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("gateway.log.redis.outboxes.PRESSED_INTERVAL_S", 0.01)
    monkeypatch.setattr("gateway.log.redis.outboxes.PRESSED_IDLE_MIN_MS", -60_000)
    heads, evict = PostgresArchive.heads, RedisOutbox.evict
    asked: list[Sequence[str]] = []
    idles: list[int] = []

    async def asking(store: PostgresArchive, names: Sequence[str]) -> Any:
        asked.append(names)
        return await heads(store, names)

    async def evicting(outbox: RedisOutbox, idle_ms: int, partitions: Sequence[int]) -> int:
        idles.append(idle_ms)
        return await evict(outbox, idle_ms, partitions)

    with redis_server() as server, postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        migrate(dsn)
        config = settings(server.url, partitions=4, evict_idle_h=1)
        async with running(config) as shards, trio.open_nursery() as nursery:
            store, outbox = PostgresArchive(dsn), RedisOutbox(shards, config, lambda address: True)
            log, archiver = RedisLog(shards, config, store, wall_ms=lambda: NOW_MS), Archiver(outbox, store)
            await committed(log, filled(await log.open(ROOM), 1))
            while len(await outbox.take(1)) < 4:
                pass
            while await archiver.step():
                pass
            postgres.kill()
            monkeypatch.setattr(PostgresArchive, "heads", asking)
            monkeypatch.setattr(RedisOutbox, "evict", evicting)
            await nursery.start(outbox.run_evictions, store)
            await until(lambda: len(asked) > 30)
            assert caplog.text.count("nothing is evicted") == 1
            assert [one.version for one in await log.read(ROOM, 0, 9)] == [1], "Redis has it still"
            postgres.start()
            await until(lambda: "1 resources, idle" in caplog.text)
            assert idles[:3] == [1_800_000, 900_000, 450_000], "what is idle for longest goes first"
            nursery.cancel_scope.cancel()
            await store.aclose()
