"""A Redis Cluster under load, three masters and three replicas: failover, a frozen master, moving slots."""

from __future__ import annotations

import pytest
import trio

from gateway.bus.redis import RedisBus
from gateway.config import Config
from gateway.log.redis.log import RedisLog
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import partition_of, tag
from gateway.redislink.link import pack
from gateway.redislink.routing import Table
from gateway.redislink.shards import Call
from tests.contracts.bus_contract import Inbox
from tests.redis.parts import fresh, owner, running, slot_of
from tests.redis.writers import busy, judge
from tests.servers import RedisCluster, RedisServer, redis_cluster
from tests.waiting import PATIENCE_S, unawaited, until

RESOURCES = [f"event:{n}" for n in range(6)]


def settings(cluster: RedisCluster, **values: object) -> Config:
    return Config().with_(redis={"cluster_url": cluster.url, **values})


@pytest.mark.parametrize("flavour", ["any", "valkey"])
async def test_a_killed_master_fails_over_and_nothing_replicated_is_lost(flavour: str) -> None:
    with redis_cluster(flavour=flavour) as cluster:
        cluster.fail_over_soon()
        config = settings(cluster, durability="replicated")
        async with running(config) as shards:
            log = RedisLog(shards, config)
            victim = owner(cluster, RESOURCES[0])

            async def kill() -> None:
                victim.kill()

            # Only one replica each: the writers of the victim's slots go on without one, so it must rejoin.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_restart_once_replaced, cluster, victim)
                writers = await busy([log, log], RESOURCES, kill)
            await judge(log, writers)
            assert max(writer.longest_pause_s for writer in writers) > 0.5


async def _restart_once_replaced(cluster: RedisCluster, master: RedisServer) -> None:
    """Not before: a master that comes back as one has nothing, and its replica would take that over."""
    await until(lambda: cluster.replaced(master), "its replica takes over")
    await trio.to_thread.run_sync(master.start)


async def test_a_frozen_master_is_replaced_and_its_late_answers_do_no_harm() -> None:
    with redis_cluster() as cluster:
        cluster.fail_over_soon()
        config = settings(cluster, durability="replicated").with_(timeouts={"append_timeout_s": 2})
        async with running(config) as shards:
            log = RedisLog(shards, config)
            victim = owner(cluster, RESOURCES[0])

            async def freeze() -> None:
                victim.pause()
                await trio.sleep(4)  # longer than an append may take
                await until(lambda: cluster.replaced(victim), "its replica takes over")
                victim.resume()

            writers = await busy([log, log], RESOURCES, freeze)
            await judge(log, writers)
            assert sum(writer.unknown for writer in writers), "what the frozen master got is unknown"
            assert max(writer.longest_pause_s for writer in writers) > 1


async def test_a_call_that_the_wrong_master_gets_is_answered_by_the_right_one() -> None:
    partition = partition_of(RESOURCES[0], 256)
    async with running(fresh("any", cluster=True)) as shards:
        right = shards.table.owners[partition]
        wrong = next(address for address in shards.table.owners if address != right)
        shards._apply(shards.table.with_owners({partition: wrong}))
        call = Call(partition, pack(("SET", f"{tag(partition)}:moved", "there")))
        assert await shards.call(call) == b"OK"
        assert shards.table.owners[partition] == right


async def test_all_that_one_reply_says_has_moved_makes_one_new_table() -> None:
    """Whoever follows the table looks at all that it has there, each time."""
    async with running(fresh("any", cluster=True)) as shards:
        right = shards.table
        wrong, other = sorted(right.addresses, key=lambda address: address.name)[:2]
        moved = [partition for partition, address in enumerate(right.owners) if address == other]
        shards._apply(right.with_owners(dict.fromkeys(moved, wrong)))
        tables: list[Table] = []
        shards.on_table.append(lambda: tables.append(shards.table))
        calls = [Call(partition, pack(("SET", f"{tag(partition)}:moved", "there"))) for partition in moved]
        assert await shards.calls(calls) == [b"OK"] * len(moved)
        assert len(moved) > 50
        assert [table.owners for table in tables] == [right.owners]


async def test_slots_move_under_load_without_loss_and_the_bus_follows() -> None:
    with redis_cluster() as cluster:
        config = settings(cluster)
        async with running(config) as shards, running(config) as other, unawaited() as nursery:
            log = RedisLog(shards, config)
            bus, inbox = RedisBus(shards), Inbox()
            bus.attach(inbox)
            await nursery.start(bus.run)
            speaker = RedisBus(other)
            speaker.attach(Inbox())
            await nursery.start(speaker.run)
            for resource in RESOURCES:
                await bus.subscribe(resource)

            async def move_all() -> None:
                for resource in RESOURCES:
                    source = owner(cluster, resource)
                    target = next(item for item in cluster.masters if item is not source)
                    await trio.to_thread.run_sync(cluster.move_slot, slot_of(resource), source, target)

            writers = await busy([log, RedisLog(other, config)], RESOURCES, move_all)
            await judge(log, writers)
            await until(lambda: set(inbox.gaps) == set(RESOURCES))
            await _heard_again(speaker, inbox)


@pytest.mark.parametrize("told", ["unknown-endpoint", "hostname"])
async def test_a_server_that_is_told_without_its_host_is_on_the_host_that_was_asked(told: str) -> None:
    with redis_cluster("--cluster-preferred-endpoint-type", told) as cluster:
        async with running(settings(cluster)) as shards:
            source = owner(cluster, RESOURCES[0])
            target = next(item for item in cluster.masters if item is not source)
            partition = partition_of(RESOURCES[0], 256)
            call = Call(partition, pack(("INCR", f"{tag(partition)}:n")))
            cluster.begin_move(slot_of(RESOURCES[0]), source, target)
            assert await shards.call(call) == 1, "it is asked for where it moves to"
            cluster.move_slot(slot_of(RESOURCES[0]), source, target)
            assert await shards.call(call) == 2, "it moved"


async def test_what_follows_a_moving_slot_waits_for_replicas_and_ends_at_its_deadline() -> None:
    with redis_cluster() as cluster:
        async with running(settings(cluster)) as shards:
            source = owner(cluster, RESOURCES[0])
            target = next(item for item in cluster.masters if item is not source)
            replica = cluster.replicas[cluster.masters.index(target)]
            cluster.begin_move(slot_of(RESOURCES[0]), source, target)
            partition = partition_of(RESOURCES[0], 256)
            calls = [Call(partition, pack(("INCR", f"{tag(partition)}:{n}"))) for n in range(10)]
            assert await shards.calls(calls, channel="appends", replicas=1) == [1] * 10
            replica.pause()
            replies = await shards.calls(calls, channel="appends", replicas=1, timeout_s=1.0)
            replica.resume()
            assert [type(reply) for reply in replies] == [LinkError] * 10, "no replica has it"
            assert all(reply.sent for reply in replies)
            target.pause()
            with trio.fail_after(PATIENCE_S):
                replies = await shards.calls(calls, channel="appends", timeout_s=1.0)
            target.resume()
            assert [type(reply) for reply in replies] == [LinkError] * 10


async def _heard_again(speaker: RedisBus, inbox: Inbox) -> None:
    """Every resource's messages arrive, now from the slots' new owners."""
    wanted = set(RESOURCES)
    with trio.fail_after(PATIENCE_S):
        while wanted:
            for resource in wanted:
                speaker.publish(resource, b"there?")
            await trio.sleep(0.1)
            wanted -= {resource for resource, payload in inbox.messages if payload == b"there?"}
