"""The bus over Redis: the contract of `Bus`, and what happens when connections and servers go."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import redis
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.bus.redis import RedisBus
from gateway.errors import LogUnavailable
from gateway.log.redis.log import RedisLog
from gateway.ports import Bus
from gateway.redislink.keys import keys_of
from tests.contracts.bus_contract import ROOM, BusContract, Inbox
from tests.contracts.log_contract import committed, filled
from tests.proxy import tcp_proxy
from tests.redis.parts import fresh, listening, running, settings
from tests.servers import RedisServer, redis_server
from tests.waiting import PATIENCE_S, until


class TestRedis(BusContract):
    flavours: tuple[str, ...] = ("any",)
    cluster = False

    @asynccontextmanager
    async def buses(self, number: int) -> AsyncIterator[Sequence[Bus]]:
        config = fresh(*self.flavours, cluster=self.cluster)
        async with AsyncExitStack() as stack:
            yield [RedisBus(await stack.enter_async_context(running(config))) for _ in range(number)]


class TestValkey(TestRedis):
    flavours = ("valkey",)


class TestShards(TestRedis):
    flavours = ("any", "valkey")


class TestRedisCluster(TestRedis):
    cluster = True


class TestValkeyCluster(TestRedis):
    flavours = ("valkey",)
    cluster = True


class Confused(Inbox):
    """A listener that can't read some messages."""

    def on_message(self, resource: str, payload: bytes) -> None:
        if payload == b"nonsense":
            raise ValueError("nonsense")
        super().on_message(resource, payload)


async def test_a_message_that_is_not_understood_is_a_gap_and_later_ones_arrive() -> None:
    async with two_nodes(Confused()) as (speaker, hearer, inbox, _):
        await hearer.subscribe(ROOM)
        speaker.publish(ROOM, b"nonsense")
        speaker.publish(ROOM, b"sense")
        await inbox.until(1)
        assert inbox.messages == [(ROOM, b"sense")]
        assert inbox.gaps == [ROOM]


async def test_a_restarted_server_is_subscribed_again_and_the_gap_is_told() -> None:
    async with two_nodes(Inbox()) as (speaker, hearer, inbox, server):
        await hearer.subscribe(ROOM)
        await hearer.subscribe("event:7")
        server.kill()
        with pytest.raises(LogUnavailable):
            await hearer.subscribe("event:8")
        await trio.to_thread.run_sync(server.start)
        await until(lambda: sorted(map(str, inbox.gaps)) == ["event:42", "event:7"])
        await hearer.subscribe("event:8")
        for resource in (ROOM, "event:7", "event:8"):
            await _until_heard(speaker, inbox, resource)


async def test_a_server_that_is_away_is_told_once_for_all_links_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with redis_server() as server:
        async with running(settings(server.url)) as shards, listening(shards, Inbox()) as bus:
            await bus.subscribe(ROOM)
            found = shards.server(0)
            links = [found.appends, found.others, bus._servers[found.address].subscriber]
            server.kill()
            await until(lambda: all("all attempts to connect" in link.last_error for link in links))
            await trio.to_thread.run_sync(server.start)
            await until(lambda: all(link.up for link in links))
    told = [line for line in caplog.messages if "is out of reach" in line]
    assert len([line for line in told if "all attempts to connect" in line]) == 1
    assert told.index(f"Redis {found.address.name} is out of reach no longer") == len(told) - 1


async def _until_heard(speaker: RedisBus, inbox: Inbox, resource: str) -> None:
    """Publish until it arrives: the speaker's own connection may still be away."""
    with trio.fail_after(PATIENCE_S):
        while (resource, b"again") not in inbox.messages:
            speaker.publish(resource, b"again")
            await trio.sleep(0.02)


async def test_what_cannot_be_sent_in_time_is_lost_and_counted() -> None:
    async with two_nodes(Inbox(), publish_bytes_max=1024) as (speaker, hearer, inbox, _):
        await hearer.subscribe(ROOM)
        for _ in range(10):
            speaker.publish(ROOM, b"x" * 200)
        await inbox.until(1)
        assert 0 < speaker.messages_lost < 10
        await until(lambda: len(inbox.messages) == 10 - speaker.messages_lost)


async def test_a_node_that_was_cut_off_hears_of_what_it_missed() -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy:
            near = settings(f"{server.url}?name=one")
            far = settings(f"redis://127.0.0.1:{proxy.port}?name=one")
            inbox = Inbox()
            async with running(near) as here, running(far) as there, listening(there, inbox) as bus:
                log, other = RedisLog(here, near), RedisLog(there, far)
                await bus.subscribe(ROOM)
                first = filled(await log.open(ROOM), 1)
                await other.open(ROOM)
                proxy.cut()
                await committed(log, first)
                proxy.heal()
                await until(lambda: set(inbox.gaps) == {ROOM})  # and again, when heads are compared
                assert len((await other.open(ROOM)).records) == 1


async def test_a_subscription_that_nobody_waited_for_ends_when_it_is_confirmed() -> None:
    async with two_nodes(Inbox()) as (_, hearer, _, server), trio.open_nursery() as nursery:
        await hearer.subscribe("event:1")
        server.pause()
        nursery.start_soon(_refused, hearer, ROOM)
        await wait_all_tasks_blocked()
        await hearer.unsubscribe(ROOM)
        server.resume()
        await hearer.subscribe("event:2")
        with redis.Redis("127.0.0.1", server.port) as client:
            channel = keys_of(ROOM, 256).channel
            await until(lambda: client.execute_command("PUBSUB", "SHARDNUMSUB", channel)[1] == 0)


async def test_a_server_that_confirms_after_the_partition_moved_away_does_not_count() -> None:
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url)
        inbox = Inbox()
        async with (
            running(config) as left,
            running(config) as right,
            listening(left, Inbox()) as speaker,
            listening(right, inbox) as hearer,
        ):
            await hearer.subscribe(ROOM)
            owner = hearer.owner(ROOM)
            (before,) = (server for address, server in hearer._servers.items() if address != owner)
            await before.subscriber.wait_up()
            channel = keys_of(ROOM, 256).channel
            await before.subscriber.subscribe([channel])
            hearer.confirm(ROOM, before.subscriber)
            with redis.Redis("127.0.0.1", owner.port) as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await _until_heard(speaker, inbox, ROOM)
            assert inbox.gaps == [ROOM]


async def _refused(bus: RedisBus, resource: str) -> None:
    with pytest.raises(LogUnavailable):
        await bus.subscribe(resource)


@asynccontextmanager
async def two_nodes(
    inbox: Inbox, **values: Any
) -> AsyncIterator[tuple[RedisBus, RedisBus, Inbox, RedisServer]]:
    """Two buses that run on a server of their own; the second one's inbox is given."""
    with redis_server() as server:
        config = settings(server.url, **values)
        async with (
            running(config) as left,
            running(config) as right,
            listening(left, Inbox()) as speaker,
            listening(right, inbox) as hearer,
        ):
            yield speaker, hearer, inbox, server
