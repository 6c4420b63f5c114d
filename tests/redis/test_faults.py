"""Nothing acknowledged is lost, none twice: kills, freezes, cuts, lost replies, on one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import trio

from gateway.log.redis.log import RedisLog
from gateway.ports import Batch, Committed, Failed, Record
from gateway.redislink.errors import LinkBusy, LinkError
from gateway.redislink.keys import keys_of
from gateway.redislink.link import Link, pack
from gateway.redislink.shards import Call
from tests.contracts.log_contract import batch, committed
from tests.proxy import Proxy, tcp_proxy
from tests.redis.parts import proxied, running, settings
from tests.redis.writers import busy, judge
from tests.servers import RedisServer, redis_server
from tests.waiting import PATIENCE_S, unawaited, until, until_equal

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
RESOURCES = [f"event:{n}" for n in range(4)]


def record(version: int, seq: int | None = None) -> Record:
    return Record(version, b"{}", "user", "client", seq, "digest", 1_790_000_000_000, None)


@asynccontextmanager
async def through_proxy(server: RedisServer, **sections: object) -> AsyncIterator[tuple[RedisLog, Proxy]]:
    """The log of a node whose connections can be broken."""
    async with tcp_proxy(server.port) as proxy:
        config = settings(proxied(proxy)).with_(**sections)
        async with running(config) as shards:
            yield RedisLog(shards, config), proxy


async def test_a_lost_reply_is_resolved_by_the_nonce_and_the_change_is_there_once() -> None:
    with redis_server() as server:
        async with through_proxy(server) as (log, proxy):
            opening = await log.open("event:1")
            await log.append([Batch("event:1", opening.epoch, 0, "first", [record(1)])])
            proxy.swallow_replies = True
            async with trio.open_nursery() as nursery:
                outcomes: list[object] = []

                async def append() -> None:
                    outcomes.extend(
                        await log.append([Batch("event:1", opening.epoch, 1, "second", [record(2, 1)])])
                    )

                nursery.start_soon(append)
                await until(lambda: proxy.swallowed, "its answer is lost")
                assert not outcomes
                proxy.cut()
                proxy.heal()
            assert outcomes == [Committed()]
            assert [found.version for found in await log.read("event:1", 0, 10)] == [1, 2]


async def test_a_request_that_never_arrived_is_appended_when_it_is_sent_again() -> None:
    with redis_server() as server:
        async with through_proxy(server) as (log, proxy):
            opening = await log.open("event:1")
            proxy.swallow_requests = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cut_and_heal, proxy)
                (outcome,) = await log.append([Batch("event:1", opening.epoch, 0, "n", [record(1)])])
            assert outcome == Committed()
            assert len(await log.read("event:1", 0, 10)) == 1


async def test_a_refusal_of_a_repetition_is_not_final_since_the_first_sending_may_still_arrive() -> None:
    with redis_server() as server:
        async with through_proxy(server) as (log, proxy):
            first = batch(await log.open("event:1"), resource="event:1")
            await committed(log, first)
            with redis.Redis("127.0.0.1", server.port) as client:
                seconds, microseconds = client.time()
                until = seconds * 1000 + microseconds // 1000 + 600
                head = keys_of("event:1", 256).head
                client.hset(head, mapping={"r": "somebody else", "u": until})
                proxy.swallow_requests = True
                mine = batch(first)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cut_and_heal, proxy)
                    (outcome,) = await log.append([mine])
                assert outcome == Committed()
                assert client.hget(head, "n") == mine.nonce.encode(), "it was sent again, not staged again"


@pytest.mark.parametrize("freed", [True, False])
async def test_an_error_is_not_the_answer_of_what_may_have_been_appended_before(freed: bool) -> None:
    with redis_server() as server:
        timeouts = {"append_timeout_s": 10.0 if freed else 1.0}
        async with through_proxy(server, timeouts=timeouts) as (log, proxy):
            first = batch(await log.open("event:1"), resource="event:1")
            await committed(log, first)
            proxy.swallow_replies = True
            with redis.Redis("127.0.0.1", server.port) as client:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cut_while_full, proxy, client, freed)
                    (outcome,) = await log.append([batch(first)])
                client.config_set("maxmemory", 0)
            if freed:
                assert outcome == Committed()
            else:
                assert isinstance(outcome, Failed) and outcome.outcome == "unknown"
            assert len(await log.read("event:1", 0, 10)) == 2


async def _cut_while_full(proxy: Proxy, client: redis.Redis, freed: bool) -> None:
    head = keys_of("event:1", 256).head
    await until(lambda: client.hget(head, "v") == b"2", "it is appended")
    client.config_set("maxmemory", 1)
    proxy.cut()
    proxy.heal()
    if freed:
        await until(lambda: client.info("errorstats").get("errorstat_OOM"), "its repetition is refused")
        client.config_set("maxmemory", 0)


async def _cut_and_heal(proxy: Proxy) -> None:
    await until(lambda: proxy.swallowed, "it was sent")
    proxy.cut()
    proxy.heal()


async def test_what_cannot_be_resolved_in_time_is_unknown_and_what_was_not_sent_is_none() -> None:
    with redis_server() as server:
        async with through_proxy(server, timeouts={"append_timeout_s": 0.3}) as (log, proxy):
            opening = await log.open("event:1")
            link = log._shards.server(0).link("appends")
            await link.wait_up()
            proxy.swallow_replies = True
            (outcome,) = await log.append([Batch("event:1", opening.epoch, 0, "n", [record(1)])])
            assert isinstance(outcome, Failed)
            assert outcome.outcome == "unknown"
            proxy.cut()
            await until(lambda: not link.up)
            (outcome,) = await log.append([Batch("event:1", opening.epoch, 1, "m", [record(2)])])
            assert isinstance(outcome, Failed)
            assert (outcome.outcome, outcome.retry_after_ms > 0) == ("none", True)


async def test_a_server_that_has_been_gone_for_long_is_not_waited_for() -> None:
    with redis_server() as server:
        async with through_proxy(server, timeouts={"append_timeout_s": 60.0}) as (log, proxy):
            opening = await log.open("event:1")
            link = log._shards.server(0).link("appends")
            proxy.cut()
            await until(lambda: not link.up)
            assert link.down_since is not None
            link.down_since -= 61
            with trio.fail_after(PATIENCE_S):
                (outcome,) = await log.append([Batch("event:1", opening.epoch, 0, "n", [record(1)])])
            assert isinstance(outcome, Failed)
            assert outcome.outcome == "none"


async def test_calls_that_go_in_parts_stop_at_their_deadline_and_what_was_not_sent_is_said_to_be_so() -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy, running(settings(proxied(proxy))) as shards:
            proxy.swallow_replies = True
            calls = [Call(0, pack(("INCR", f"counter{number}"))) for number in range(20)]
            replies = await shards.calls(calls, at_once=8, timeout_s=0.3)
            assert [type(reply) for reply in replies] == [LinkError] * 20
            assert [reply.sent for reply in replies] == [True] * 8 + [False] * 12
            with redis.Redis("127.0.0.1", server.port) as client:
                names = [f"counter{number}" for number in range(20)]
                await until_equal(lambda: client.exists(*names), 8)  # the network may be late


class Brief(Link):
    """It takes one request, and is busy then."""

    taken = False

    def start(self, packed: Sequence[bytes]) -> Any:
        if self.taken:
            raise LinkBusy("others' commands are under way")
        self.taken = True
        return super().start(packed)


async def test_what_was_carried_out_counts_as_sent_when_nobody_can_wait_for_its_replicas() -> None:
    with redis_server() as server:
        config = settings(server.url, replicas_wait_ms=1)
        async with running(config) as shards, unawaited() as nursery:
            found = shards.server(0)
            found.appends = Brief(found.address, config.redis)
            await nursery.start(found.appends.run)
            await found.appends.wait_up()
            call = Call(0, pack(("INCR", "counter")))
            [reply] = await shards.calls([call], channel="appends", replicas=1, timeout_s=0.3)
            assert isinstance(reply, LinkError) and reply.sent
        with redis.Redis("127.0.0.1", server.port) as client:
            assert client.get("counter") == b"1"


async def test_nothing_is_lost_or_twice_when_connections_break_again_and_again() -> None:
    with redis_server() as server:
        async with through_proxy(server) as (log, proxy):

            async def break_often() -> None:
                for number in range(12):
                    proxy.swallow_replies = number % 2 == 0
                    await trio.sleep(0.02)
                    proxy.cut()
                    await trio.sleep(0.01)
                    before = proxy.connections
                    proxy.heal()
                    await until(lambda before=before: proxy.connections > before, "it is connected to again")

            writers = await busy([log, log], RESOURCES, break_often)
            await judge(log, writers)


async def test_killing_redis_with_fsync_loses_nothing_acknowledged() -> None:
    with redis_server(*DURABLE) as server:
        config = settings(server.url, durability="fsync")
        async with running(config) as shards:
            log = RedisLog(shards, config)

            async def kill() -> None:
                for _ in range(2):
                    server.kill()
                    await trio.sleep(0.1)
                    await trio.to_thread.run_sync(server.start)
                    await trio.sleep(0.2)

            writers = await busy([log, log], RESOURCES, kill)
            await judge(log, writers)
            assert max(writer.longest_pause_s for writer in writers) > 0.1


async def test_a_frozen_redis_stops_appends_and_loses_none() -> None:
    with redis_server() as server:
        config = settings(server.url).with_(timeouts={"append_timeout_s": 0.5})
        async with running(config) as shards:
            log = RedisLog(shards, config)

            async def freeze() -> None:
                server.pause()
                await trio.sleep(1.5)
                server.resume()

            writers = await busy([log, log], RESOURCES, freeze)
            await judge(log, writers)
            assert sum(writer.unknown + writer.refused for writer in writers)
