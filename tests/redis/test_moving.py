"""Partitions that move between independent servers: plans, loads, interruptions."""

from __future__ import annotations

import math
from functools import partial

import pytest
import redis
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.redis import RedisBus
from gateway.bus.redis_presence import RedisPresence
from gateway.bus.redis_values import RedisValues
from gateway.config import Config
from gateway.errors import ConfigError, LogUnavailable
from gateway.log.redis.log import RedisLog
from gateway.ports.shared import StoredValues
from gateway.redislink.keys import FLAGS_KEY, ROUTING_KEY, partition_of, tag
from gateway.redislink.moving import KEYS_AT_ONCE, LOCK_KEY, PARTITIONS_AT_ONCE, plan, rebalance
from gateway.redislink.routing import ShardTopology, StoredTable
from tests.cli.commands import gateway
from tests.contracts.bus_contract import Inbox
from tests.contracts.log_contract import ROOM, batch, committed, filled, history
from tests.redis.leases import Leases
from tests.redis.parts import running, settings
from tests.redis.writers import busy, judge
from tests.servers import RedisServer, redis_server
from tests.waiting import unawaited, until

RESOURCES = [f"event:{n}" for n in range(6)]


def silent(_: str) -> None:
    pass


def shares(config: Config) -> dict[str, int]:
    """How many partitions each server has."""
    table = ShardTopology(config.redis).stored()
    return {name: table.owners.count(place) for place, name in enumerate(table.servers)}


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=64),
    st.sets(st.integers(0, 6), min_size=1).map(sorted),
)
def test_a_plan_evens_out_with_as_few_moves_as_can_be(owners: list[int], targets: list[int]) -> None:
    table = StoredTable(1, tuple("abcde"), tuple(owners))
    names = ["abcdefg"[place] for place in targets]
    moves = plan(table, names)
    after = [moves.get(partition, "abcde"[owner]) for partition, owner in enumerate(owners)]
    counts = sorted(after.count(name) for name in names)
    assert sum(counts) == len(owners)
    assert counts[-1] - counts[0] <= 1
    before = [sum("abcde"[owner] == name for owner in owners) for name in names]
    kept = sorted(before, reverse=True)
    least, extra = divmod(len(owners), len(names))
    assert len(moves) == len(owners) - sum(
        min(count, least + (place < extra)) for place, count in enumerate(kept)
    )


async def test_a_shard_is_added_and_another_emptied_under_load_without_loss() -> None:
    with redis_server() as one, redis_server() as two:
        alone, both, other = settings(one.url), settings(one.url, two.url), settings(two.url)
        async with running(alone) as shards, running(alone) as spare, unawaited() as nursery:
            logs = [RedisLog(shards, alone), RedisLog(spare, alone)]
            bus, inbox, presence = RedisBus(shards), Inbox(), RedisPresence(shards, "node")
            bus.attach(inbox)
            presence.attach(Leases())
            await nursery.start(bus.run)
            await nursery.start(presence.run)
            speaker = RedisBus(spare)
            speaker.attach(Inbox())
            await nursery.start(speaker.run)
            for resource in RESOURCES:
                await bus.subscribe(resource)
                presence.put(resource, "session", b"here")

            async def move() -> None:
                told: list[str] = []
                moved = await trio.to_thread.run_sync(rebalance, both.redis, told.append)
                assert moved == 128
                assert shares(both) == {f"127.0.0.1:{server.port}/0": 128 for server in (one, two)}
                assert told[0] == "128 of 256 partitions move"
                assert await trio.to_thread.run_sync(rebalance, other.redis, silent) == 128

            writers = await busy(logs, RESOURCES, move)
            await judge(logs[0], writers)
            assert shares(other)[f"127.0.0.1:{two.port}/0"] == 256
            await until(lambda: set(inbox.gaps) == set(RESOURCES))
            for resource in RESOURCES:
                speaker.publish(resource, b"there?")
            await until(
                lambda: {name for name, text in inbox.messages if text == b"there?"} == set(RESOURCES)
            )
            for resource in RESOURCES:
                await until(partial(presence.members, resource))
        with redis.Redis("127.0.0.1", one.port) as client:
            kinds = {key.partition(b":")[2][:1] for key in client.keys("{p*")}
            assert kinds <= {b"", b"n", b"w"}, "only fences stay, and what is written without the log"
        async with running(other) as shards:
            await judge(RedisLog(shards, other), writers)


async def test_an_interrupted_move_is_healed_by_the_next_run() -> None:
    with redis_server() as one, redis_server() as two:
        alone, both = settings(one.url), settings(one.url, two.url)
        async with running(alone) as shards:
            log = RedisLog(shards, alone)
            opening = await log.open(ROOM)
            await committed(log, filled(opening, 5))
            with redis.Redis("127.0.0.1", one.port) as client:
                for partition in range(256):
                    client.hset(tag(partition), "fenced", "elsewhere")
            quick = alone.with_(timeouts={"append_timeout_s": 0.1})

            async def refused() -> bool:
                (outcome,) = await RedisLog(shards, quick).append([filled(opening, 1)])
                return "moved" in str(outcome)

            await until(refused, "it is refused because its partition moved")
            told: list[str] = []
            await trio.to_thread.run_sync(rebalance, both.redis, told.append)
            assert sum("serves again" in line for line in told) == 256
            assert len(await history(log)) == 5
            await committed(log, batch(await log.open(ROOM)))


async def test_flags_set_while_their_partition_moves_are_set_where_it_goes() -> None:
    with redis_server() as one, redis_server() as two:
        alone, both, other = settings(one.url), settings(one.url, two.url), settings(two.url)
        async with running(alone) as shards, trio.open_nursery() as nursery:
            values = RedisValues(shards, FLAGS_KEY)
            await values.change({"kill_switch": False}, "ann", 1)
            with redis.Redis("127.0.0.1", one.port) as client:
                client.hset(tag(0), "fenced", "elsewhere")
                with pytest.raises(LogUnavailable):
                    await values.read(StoredValues())
                nursery.start_soon(values.change, {"kill_switch": True}, "bob", 2)
                await trio.sleep(0.1)
                assert client.hget(FLAGS_KEY, "f:kill_switch") == b"false", "it may have been copied"
            for config in (both, other):
                await trio.to_thread.run_sync(rebalance, config.redis, silent)
            await until(lambda: shards.table.owners[0].port == two.port)
            found = await values.read(StoredValues())
            assert (found.values, found.changed_by) == ({"kill_switch": True}, "bob")
            assert await values.read(found) is found


@pytest.mark.parametrize("dead", [True, False])
async def test_a_server_that_takes_no_table_keeps_nobody_from_serving(dead: bool) -> None:
    with redis_server() as one, redis_server() as two, redis_server() as third:
        alone, both = settings(one.url), settings(one.url, two.url)
        async with running(settings(one.url, third.url)):
            pass
        rebalance(alone.redis, silent)
        async with running(alone) as shards:
            log = RedisLog(shards, alone)
            await committed(log, filled(await log.open(ROOM), 5))
            if dead:
                third.kill()
            else:
                fill(third)
            told: list[str] = []
            assert await trio.to_thread.run_sync(rebalance, both.redis, told.append) == 128
            assert any("no new routing table" in line for line in told) == dead
            assert shares(both)[f"127.0.0.1:{two.port}/0"] == 128
            for resource in RESOURCES:
                await committed(log, batch(await log.open(resource), resource=resource))
            assert len(await history(log)) == 5


async def test_a_server_that_was_given_up_gets_the_new_table_without_the_functions_of_this_version() -> None:
    with redis_server() as one, redis_server() as two, redis_server() as third:
        async with running(settings(one.url, third.url)):
            pass
        rebalance(settings(one.url).redis, silent)
        told: list[str] = []
        with redis.Redis("127.0.0.1", one.port) as kept, redis.Redis("127.0.0.1", third.port) as given_up:
            given_up.function_flush()
            assert rebalance(settings(one.url, two.url).redis, told.append) == 128
            assert given_up.get(ROUTING_KEY) == kept.get(ROUTING_KEY)
        assert not any("no new routing table" in line for line in told)


async def test_a_full_server_is_relieved() -> None:
    with redis_server() as one, redis_server() as two:
        alone, both = settings(one.url), settings(one.url, two.url)
        async with running(alone) as shards:
            log = RedisLog(shards, alone)
            for resource in RESOURCES:
                await committed(log, batch(await log.open(resource), resource=resource))
            fill(one)
            assert await trio.to_thread.run_sync(rebalance, both.redis, silent) == 128
            owners = {name: partition_of(name, 256) for name in RESOURCES}
            moved = [name for name, partition in owners.items() if partition >= 128]
            assert moved
            for resource in moved:
                await committed(log, batch(await log.open(resource), resource=resource))


def fill(server: RedisServer) -> None:
    """From now on it takes nothing that needs memory."""
    with redis.Redis("127.0.0.1", server.port) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            client.set("a", "b")


@pytest.mark.parametrize("always", [True, False])
async def test_the_locks_are_kept_for_as_long_as_a_copy_takes(
    always: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.redislink.moving.RENEWAL_S", 0 if always else math.inf)
    with redis_server() as one, redis_server() as two, redis.Redis("127.0.0.1", one.port) as client:
        async with running(settings(one.url)):
            pass
        portions = 20
        for number in range(portions * KEYS_AT_ONCE):
            client.set(f"{tag(255)}:h:{number}", "x")
        rebalance(settings(one.url, two.url).redis, silent)
        renewed = client.info("commandstats")["cmdstat_expire"]["calls"]
        if always:
            assert renewed > 2 * portions, "at each portion that is copied, and each that is deleted"
        else:
            assert renewed == 2 * 128 / PARTITIONS_AT_ONCE, "before a fence, and before the switch"


async def test_a_server_that_was_given_up_is_not_needed_again() -> None:
    with redis_server() as one, redis_server() as two, redis_server() as third:
        async with running(settings(one.url, two.url)):
            pass
        rebalance(settings(two.url).redis, silent)
        one.kill()
        assert rebalance(settings(two.url, third.url).redis, silent) == 128


async def test_two_runs_at_once_are_refused() -> None:
    with redis_server() as one, redis_server() as two:
        both = settings(one.url, two.url)
        async with running(settings(one.url)):
            pass
        with redis.Redis("127.0.0.1", one.port) as client:
            client.set(LOCK_KEY, "somebody else", ex=60)
        with pytest.raises(LogUnavailable, match="already"):
            rebalance(both.redis, silent)
        assert shares(settings(one.url)) == {f"127.0.0.1:{one.port}/0": 256}


async def test_a_server_by_another_name_is_told_as_what_it_is() -> None:
    with redis_server() as server:
        first = settings(server.url)
        assert set(shares(first)) == {f"127.0.0.1:{server.port}/0"}
        for other in (f"redis://127.1:{server.port}", f"{server.url}?name=shard-a"):
            config = settings(other)
            with pytest.raises(ConfigError, match=rf"is 127\.0\.0\.1:{server.port}/0 by another name"):
                rebalance(config.redis, silent)
        moved = settings(f"redis://127.1:{server.port}?name=127.0.0.1:{server.port}/0")
        assert rebalance(moved.redis, silent) == 0, "a new address keeps the name"
        with redis_server() as added:
            config = settings(server.url, added.url, f"redis://127.1:{added.port}")
            with pytest.raises(
                ConfigError, match=rf"127\.1:{added.port}/0 is 127\.0\.0\.1:{added.port}/0 by another name"
            ):
                rebalance(config.redis, silent)


async def test_the_command_adds_a_server() -> None:
    with redis_server() as one, redis_server() as two:
        async with running(settings(one.url)):
            pass
        done = await gateway("rebalance", "--redis", f"{one.url},{two.url}")
        assert done.status == 0, done.err
        assert done.out.splitlines()[-1] == "done: 128 partitions moved"
        assert shares(settings(one.url))[f"127.0.0.1:{two.port}/0"] == 128


async def test_servers_without_any_data_are_refused() -> None:
    with redis_server() as one:
        done = await gateway("rebalance", "--redis", one.url)
        assert done.status == 2
        assert "name those that do, too" in done.err
        assert (await gateway("rebalance")).status == 2


def test_a_cluster_moves_its_slots_itself() -> None:
    config = Config().with_(redis={"cluster_url": "redis://127.0.0.1:1"})
    with pytest.raises(ConfigError, match="reshard"):
        rebalance(config.redis, silent)
