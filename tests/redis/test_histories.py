"""Histories that part: promoted replicas, lost tails, replicas that lag; and writers that nobody starves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import redis
import trio

from gateway.bus.redis import RedisBus
from gateway.config import Config
from gateway.errors import LogTrimmed
from gateway.log.redis.log import RedisLog
from gateway.ports import Absent, Batch, Committed, Failed, Forked, Reserved, Snapshot
from gateway.redislink.keys import keys_of
from gateway.wire import announcement
from tests.contracts.bus_contract import Inbox
from tests.contracts.log_contract import ROOM, batch, committed, filled, history, record
from tests.proxy import tcp_proxy
from tests.redis.parts import client, fresh, running, settings
from tests.redis.writers import Writer, judge
from tests.servers import redis_server
from tests.waiting import PATIENCE_S, unawaited, until


@asynccontextmanager
async def written(changes: int, config: Config | None = None) -> AsyncIterator[tuple[RedisLog, Batch]]:
    """A log whose room has so many changes, and the batch of them."""
    config = config or fresh("any")
    async with running(config) as shards:
        log = RedisLog(shards, config)
        first = filled(await log.open(ROOM), changes)
        await committed(log, first)
        yield log, first


@contextmanager
def earlier_state() -> Iterator[list[tuple[bytes, bytes]]]:
    """What the server's keys are now, put back when the block ends: a promoted replica that lagged."""
    with client() as direct:
        names = [name.encode() if isinstance(name, str) else name for name in direct.keys("{p*")]
        saved = [(name, direct.dump(name)) for name in names]
        yield saved
        direct.delete(*direct.keys("{p*"))
        for name, data in saved:
            direct.restore(name, 0, data)


async def test_a_node_whose_tail_was_lost_forks_when_it_appends() -> None:
    async with written(3) as (log, first):
        with earlier_state():
            lost = batch(first, record(4), record(5))
            await committed(log, lost)
        (outcome,) = await log.append([batch(lost, record(6))])
        assert isinstance(outcome, Forked)
        opening = await log.open(ROOM)
        assert opening.epoch == outcome.epoch > first.epoch
        assert (opening.restarted, opening.follows) == (3, first.epoch)
        assert len(opening.records) == 3


async def test_a_fork_of_equal_length_is_told_by_the_nonces_and_other_nodes_hear_of_it() -> None:
    config = fresh("any")
    async with running(config) as mine, running(config) as others, unawaited() as nursery:
        log, other = RedisLog(mine, config), RedisLog(others, config)
        bus, inbox = RedisBus(others), Inbox()
        bus.attach(inbox)
        await nursery.start(bus.run)
        await bus.subscribe(ROOM)
        first = filled(await log.open(ROOM), 3)
        await committed(log, first)
        with earlier_state():
            lost = batch(first, record(4, value="lost"))
            await committed(log, lost)
        await committed(other, batch(await other.open(ROOM), record(4, value="other")))
        (outcome,) = await log.append([batch(lost, record(5))])
        assert isinstance(outcome, Forked)
        await until(lambda: _epochs(inbox)[-1:] == [outcome.epoch])
        assert list((await log.open(ROOM)).records)[3] == record(4, value="other")


def _epochs(inbox: Inbox) -> list[int]:
    """The epochs of the announcements that tell of another history."""
    heard = [announcement.decode(payload) for _, payload in inbox.messages]
    return [news.epoch for news in heard if not news.records]


async def test_a_reader_learns_of_a_lost_tail_by_the_comparison_of_heads() -> None:
    config = fresh("any", head_compare_s=0.2)
    async with running(config) as shards, unawaited() as nursery:
        log, bus, inbox = RedisLog(shards, config), RedisBus(shards), Inbox()
        bus.attach(inbox)
        await nursery.start(bus.run)
        await bus.subscribe(ROOM)
        await bus.subscribe("event:calm")
        first = filled(await log.open(ROOM), 3)
        await committed(log, first, filled(await log.open("event:calm"), 2, "event:calm"))
        await trio.sleep(0.6)
        assert inbox.gaps == []
        with earlier_state():
            await committed(log, batch(first, record(4)))
        await until(lambda: ROOM in inbox.gaps)
        assert (await log.open(ROOM)).epoch > first.epoch
        assert "event:calm" not in inbox.gaps


async def test_a_node_that_others_left_behind_hears_it_from_what_they_announce() -> None:
    config = fresh("any")
    async with running(config) as mine, running(config) as others, unawaited() as nursery:
        log, other = RedisLog(mine, config), RedisLog(others, config)
        bus, inbox = RedisBus(mine), Inbox()
        bus.attach(inbox)
        await nursery.start(bus.run)
        await bus.subscribe(ROOM)
        first = filled(await log.open(ROOM), 3)
        await committed(log, first)
        with earlier_state():
            lost = batch(first, record(4, value="lost"))
            await committed(log, lost)
        theirs = batch(await other.open(ROOM), record(4, value="other"), record(5))
        await committed(other, theirs)
        await until(lambda: bool(inbox.messages))
        (outcome,) = await log.append([batch(theirs, record(6))])
        assert isinstance(outcome, Forked), "its room stands on the change that was lost"


async def test_an_older_state_of_a_server_never_continues_the_old_epoch() -> None:
    async with written(3) as (log, first):
        with client() as direct:
            direct.delete(keys_of(ROOM, 256).head)  # its partition goes on
        opening = await log.open(ROOM)
        assert (opening.restarted, opening.version) == (0, 0)
        assert opening.epoch > first.epoch


async def test_reading_past_what_was_lost_starts_a_new_epoch_and_gives_nothing() -> None:
    async with written(3) as (log, first):
        with earlier_state():
            await committed(log, batch(first, record(4), record(5)))
        assert list(await log.read(ROOM, 5, 10)) == []
        assert (await log.open(ROOM)).epoch > first.epoch


async def test_a_node_far_away_is_not_starved_by_one_nearby() -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy:
            proxy.delay_s = 0.004
            # Longer than this machine may stop the far node for between its answer and its next try.
            patient = {"reservation_ms": 200}
            near_config = settings(f"{server.url}?name=one", **patient)
            far_config = settings(f"redis://127.0.0.1:{proxy.port}?name=one", **patient)
            async with running(near_config) as near_shards, running(far_config) as far_shards:
                near = [Writer(RedisLog(near_shards, near_config), ROOM, f"near-{n}") for n in range(5)]
                far = Writer(RedisLog(far_shards, far_config), ROOM, "far")
                stop = trio.Event()
                with trio.fail_after(PATIENCE_S):
                    async with trio.open_nursery() as nursery:
                        for writer in near:
                            writer.pace_s = 0.0
                            nursery.start_soon(writer.run, stop)
                        nursery.start_soon(far.run, stop)
                        await until(lambda: len(far.acknowledged) >= 20)
                        stop.set()
                assert far.stale > 0, "the near ones were in its way"
                # All six ask for the head after three refusals, and whoever was refused most often gets it:
                # about nine refusals for each success. Without reservations it succeeds next to never.
                assert far.stale <= 20 * len(far.acknowledged)
                assert far.refused == 0
                await judge(far.log, [*near, far])


async def test_an_acknowledgement_waits_for_the_replica_and_is_unknown_without_it() -> None:
    with (
        redis_server("--repl-diskless-sync-delay", "0") as master,
        redis_server("--replicaof", f"127.0.0.1 {master.port}") as replica,
    ):
        with redis.Redis("127.0.0.1", master.port) as direct:
            await until(lambda: "'state': 'online'" in str(direct.info("replication")))
        config = settings(master.url, durability="replicated").with_(timeouts={"append_timeout_s": 10})
        async with running(config) as shards:
            log = RedisLog(shards, config)
            first = filled(await log.open(ROOM), 1)
            await committed(log, first)
            replica.pause()
            outcomes: list[object] = []
            second = batch(first, record(2))
            async with trio.open_nursery() as nursery:

                async def append() -> None:
                    outcomes.extend(await log.append([second]))

                async def seen_by_others() -> bool:
                    return len(await history(log)) == 2

                nursery.start_soon(append)
                await until(seen_by_others)
                await trio.sleep(0.1)
                assert outcomes == []
                replica.resume()
            assert outcomes == [Committed()]
            replica.pause()
            hurried = RedisLog(shards, config.with_(timeouts={"append_timeout_s": 2}))
            (outcome,) = await hurried.append([batch(second, record(3))])
            replica.resume()
            assert isinstance(outcome, Failed)
            assert outcome.outcome == "unknown"


async def test_a_missing_function_is_loaded_again() -> None:
    async with written(2) as (log, first):
        with client() as direct:
            direct.function_flush()
        await committed(log, batch(first))


async def test_a_head_that_is_reserved_for_another_node_waits_its_turn_alone() -> None:
    async with written(1, fresh("any", reservation_ms=300)) as (log, first):
        other = filled(await log.open("event:2"), 1, "event:2")
        await committed(log, other)
        with client() as direct:
            reserve(direct, 60_000)
            reserved, unaffected = await log.append([batch(first), batch(other)])
            assert isinstance(reserved, Reserved) and 0 < reserved.seconds < 60
            assert unaffected == Committed()
            reserve(direct, 500)
            again: object = reserved
            while isinstance(again, Reserved):
                await trio.sleep(again.seconds)
                (again,) = await log.append([batch(first)])
            assert again == Committed()
            assert not direct.hexists(keys_of(ROOM, 256).head, "r")


def reserve(direct: redis.Redis, lasts_ms: int) -> None:
    """The room's head is another node's for so long, by the server's clock."""
    seconds, microseconds = direct.time()
    until_ms = seconds * 1000 + microseconds // 1000 + lasts_ms
    direct.hset(keys_of(ROOM, 256).head, mapping={"r": "somebody else", "u": until_ms})


def impatient() -> Config:
    """Of nodes that give an append up after a second."""
    return fresh("any", reservation_ms=20).with_(timeouts={"append_timeout_s": 1.0})


async def test_a_reservation_far_ahead_is_not_waited_for_for_ever() -> None:
    async with written(1, impatient()) as (log, first):
        with client() as direct:
            direct.hset(keys_of(ROOM, 256).head, mapping={"r": "a dead node", "u": 1 << 50})
            (outcome,) = await log.append([batch(first)])
            assert outcome == Reserved(0.2)
            await trio.sleep(1.05)
            (outcome,) = await log.append([batch(first)])
            assert isinstance(outcome, Failed) and outcome.outcome == "none"
            direct.hdel(keys_of(ROOM, 256).head, "r", "u")
        await committed(log, batch(first))


async def test_a_reservation_that_was_met_before_another_failure_is_not_held_against_a_later_one() -> None:
    async with written(1, impatient()) as (log, first):
        reserved = {"r": "another node", "u": 1 << 50}
        with client() as direct:
            direct.hset(keys_of(ROOM, 256).head, mapping=reserved)
            assert list(await log.append([batch(first)])) == [Reserved(0.2)]
            direct.hdel(keys_of(ROOM, 256).head, "r", "u")
            direct.config_set("maxmemory", 1)
            (outcome,) = await log.append([batch(first)])
            direct.config_set("maxmemory", 0)
            assert isinstance(outcome, Failed)
            await trio.sleep(1.05)
            direct.hset(keys_of(ROOM, 256).head, mapping=reserved)
            assert list(await log.append([batch(first)])) == [Reserved(0.2)]
            direct.hdel(keys_of(ROOM, 256).head, "r", "u")
        await committed(log, batch(first))


async def test_a_batch_behind_a_trimmed_history_is_told_to_open_again() -> None:
    config = fresh("any", history_versions=2)
    async with running(config) as shards:
        log = RedisLog(shards, config)
        opening = await log.open(ROOM)
        first = filled(opening, 10)
        await committed(log, first)
        await log.save_snapshot(ROOM, first.epoch, Snapshot(8, b"8"))
        (outcome,) = await log.append([batch(opening, record(2), base=1)])
        assert outcome == Absent()
        with pytest.raises(LogTrimmed):
            await log.read(ROOM, 1, 10)
        with pytest.raises(LogTrimmed):
            await log.snapshot(ROOM, 7)
        assert await log.snapshot(ROOM, 9) == Snapshot(8, b"8")
