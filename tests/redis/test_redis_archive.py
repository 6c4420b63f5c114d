"""Redis with PostgreSQL behind it: archiving, trimming, eviction, lost data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from gateway.log.archive import Mark
from gateway.log.postgres.archive import migrate
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import CALLS_AT_ONCE, HEADS_A_CALL
from gateway.ports import Absent, Batch, ClientKey, Committed, Duplicates, Failed, Forked, Snapshot
from gateway.redislink.keys import idle, keys_of, outbox, partition_of, tag
from gateway.redislink.link import Link
from tests.contracts.log_contract import ROOM, batch, committed, filled, record
from tests.redis.parts import client, flush, fresh, running
from tests.redis.worker import alone, versions, worker
from tests.servers import shared_postgres, shared_redis
from tests.waiting import unawaited, until


async def test_the_archive_asks_for_few_things_at_once_so_that_appends_get_their_turn(monkeypatch) -> None:
    names = (f"event:{number}" for number in range(20_000))
    resources = list(islice((name for name in names if partition_of(name, 256) < 20), 3 * CALLS_AT_ONCE + 1))
    async with alone() as node:
        for name in resources:
            await committed(node.log, filled(await node.log.open(name), 1, name))
        asked: list[int] = []
        start = Link.start

        def resources_of(call: bytes) -> int:
            keys = re.search(rb"_archived\r\n\$\d+\r\n(\d+)", call)
            return 1 if keys is None else (int(keys[1]) - 3) // 4

        def counted(link: Link, packed: Sequence[bytes]) -> Any:
            asked.append(sum(map(resources_of, packed)))
            return start(link, packed)

        monkeypatch.setattr(Link, "start", counted)
        monkeypatch.setattr("gateway.log.redis.outboxes.CALLS_A_DEADLINE", CALLS_AT_ONCE + 8)
        await node.archive()
        assert max(asked) == CALLS_AT_ONCE
        heads = await node.store.heads(resources)
        assert {name: version for name, (_, version) in heads.items()} == dict.fromkeys(resources, 1)
        with client() as direct:
            assert not any(direct.xlen(outbox(partition)) for partition in range(256)), "all is done"


async def test_many_resources_of_one_partition_are_told_but_none_of_another_epoch() -> None:
    names = [name for number in range(20_000) if partition_of(name := f"event:{number}", 256) == 7]
    names = names[: 2 * HEADS_A_CALL + 1]
    async with alone() as node:
        for name in names:
            await committed(node.log, filled(await node.log.open(name), 3, name))
        await node.hold()
        epochs = {name: (await node.log.open(name)).epoch for name in names}
        heads = {name: (epochs[name] + (name == names[3]), 2) for name in names}
        with client() as direct:
            last_id = direct.xrevrange(outbox(7), count=1)[0][0].decode()
            direct.delete(idle(7))
            await node.outbox.done({7: Mark(last_id, 0, heads)})
            told = {name: direct.hget(keys_of(name, 256).head, "a") for name in names}
            assert told == {name: b"0" if name == names[3] else b"2" for name in names}
            assert {name.decode() for name in direct.zrange(idle(7), 0, -1)} == set(names) - {names[3]}
            assert direct.xlen(outbox(7)) == 0


async def test_what_was_appended_is_archived_and_leaves_the_outbox() -> None:
    async with alone() as node:
        first = batch(await node.log.open(ROOM), record(1, seq=1), record(2))
        await committed(node.log, first, filled(await node.log.open("event:7"), 5, "event:7"))
        partition = partition_of(ROOM, 256)
        with client() as direct:
            assert direct.xlen(outbox(partition)) == 1
            assert int(direct.hget(tag(partition), "backlog")) > 0
            await node.archive()
            assert direct.xlen(outbox(partition)) == 0
            assert int(direct.hget(tag(partition), "backlog")) == 0
            assert direct.hget(keys_of(ROOM, 256).head, "a") == b"2"
        assert list(await node.store.read(ROOM, 0, 10)) == [record(1, seq=1), record(2)]
        assert versions(await node.store.read("event:7", 0, 10)) == [1, 2, 3, 4, 5]


async def test_redis_trims_what_is_archived_and_behind_a_snapshot_and_reads_on_in_the_archive() -> None:
    async with alone(history_versions=10) as node:
        last = filled(await node.log.open(ROOM), 40)
        await committed(node.log, last)
        for version in (10, 20, 38):
            await node.log.save_snapshot(ROOM, last.epoch, Snapshot(version, b'{"at":%d}' % version))
        with client() as direct:
            head = keys_of(ROOM, 256).head
            assert direct.hget(head, "t") in (None, b"0"), "nothing was archived yet"
            await node.archive()
            # 40 - 10 = 30 may go; the snapshot at 20 is the newest that leaves a way to reach all above it.
            assert direct.hget(head, "t") == b"20"
            assert set(direct.hkeys(keys_of(ROOM, 256).snapshots)) == {b"20", b"38"}
        assert versions(await node.log.read(ROOM, 0, 100)) == list(range(1, 41))
        assert versions(await node.log.read(ROOM, 25, 100)) == list(range(26, 41))
        assert await node.log.snapshot(ROOM, 15) == Snapshot(10, b'{"at":10}')
        assert (await node.log.open(ROOM)).snapshot.version == 38


async def test_a_page_of_history_goes_on_in_redis_with_what_is_not_archived_yet() -> None:
    async with alone(history_versions=10) as node:
        last = filled(await node.log.open(ROOM), 40)
        await committed(node.log, last)
        await node.log.save_snapshot(ROOM, last.epoch, Snapshot(20, b'{"at":20}'))
        await node.archive()
        for version in range(41, 46):
            last = batch(last, record(version))
            await committed(node.log, last)
        with client() as direct:
            assert direct.hget(keys_of(ROOM, 256).head, "t") != b"0", "Redis has trimmed"
        assert versions(await node.store.read(ROOM, 0, 100)) == list(range(1, 41)), "the archive is behind"
        assert versions(await node.log.read(ROOM, 0, 100)) == list(range(1, 46))
        assert versions(await node.log.read(ROOM, 0, 42)) == list(range(1, 43))
        assert versions(await node.log.read(ROOM, 0, 40)) == list(range(1, 41))


async def test_an_archive_that_is_added_later_gets_all_that_redis_keeps() -> None:
    config = fresh("any", history_versions=10)
    async with running(config) as shards:
        log = RedisLog(shards, config)
        last = filled(await log.open(ROOM), 40)
        await committed(log, last)
        await log.save_snapshot(ROOM, last.epoch, Snapshot(20, b'{"at":20}'))
    with client() as direct:
        assert direct.hget(keys_of(ROOM, 256).head, "t") == b"20", "Redis has trimmed"
    with shared_postgres().database() as dsn:
        migrate(dsn)
        async with worker(config, dsn) as node:
            await committed(node.log, batch(last, record(41)))
            await node.archive()
            assert await node.outbox.evict(-1000) == 1
            opening = await node.log.open(ROOM)
            assert opening.snapshot == Snapshot(20, b'{"at":20}')
            assert versions(opening.records) == list(range(21, 42))


async def test_an_idle_resource_is_evicted_and_reopens_from_the_archive_in_the_same_epoch() -> None:
    async with alone() as node:
        last = batch(await node.log.open(ROOM), *(record(n, seq=n) for n in range(1, 31)))
        await committed(node.log, last)
        await node.log.save_snapshot(ROOM, last.epoch, Snapshot(25, b'{"at":25}'))
        assert await node.outbox.evict(-1000) == 0, "what isn't archived stays"
        await node.archive()
        assert await node.outbox.evict(3_600_000) == 0, "what was written lately stays"
        assert await node.outbox.evict(-1000) == 1
        with client() as direct:
            assert not direct.exists(keys_of(ROOM, 256).head, keys_of(ROOM, 256).changes)
        following = batch(last, record(31, seq=31))
        assert list(await node.log.append([following])) == [Absent()]
        opening = await node.log.open(ROOM)
        assert opening.epoch == last.epoch
        assert opening.snapshot == Snapshot(25, b'{"at":25}')
        assert versions(opening.records) == [26, 27, 28, 29, 30]
        (outcome,) = await node.log.append([batch(last, record(31, seq=30))])
        assert outcome == Duplicates({0: (30, record(30).digest)})
        await committed(node.log, following)
        await node.archive()
        assert versions(await node.store.read(ROOM, 0, 100)) == list(range(1, 32))


async def test_a_resource_that_is_only_read_is_evicted_again() -> None:
    async with alone() as node:
        await committed(node.log, filled(await node.log.open(ROOM), 3))
        await node.archive()
        assert await node.outbox.evict(-1000) == 1
        assert versions((await node.log.open(ROOM)).records) == [1, 2, 3]
        with client() as direct:
            assert direct.exists(keys_of(ROOM, 256).head), "Redis has it again"
        assert await node.outbox.evict(3_600_000) == 0, "it was read lately"
        assert await node.outbox.evict(-1000) == 1


async def test_a_purge_is_not_evicted_before_the_archive_knows_of_it() -> None:
    async with alone() as node:
        await committed(node.log, filled(await node.log.open(ROOM), 3))
        await node.archive()
        epoch = await node.log.purge(ROOM)
        assert await node.outbox.evict(-1000) == 0
        await node.archive()
        assert await node.outbox.evict(-1000) == 1
        opening = await node.log.open(ROOM)
        assert (opening.epoch, opening.purged, list(opening.records)) == (epoch, epoch, [])


async def test_a_fork_is_not_evicted_before_the_archive_knows_of_it() -> None:
    async with alone() as node:
        first = filled(await node.log.open(ROOM), 3)
        await committed(node.log, first)
        await node.archive()
        (outcome,) = await node.log.append([batch(first, base=9)])
        assert isinstance(outcome, Forked)
        assert await node.outbox.evict(-1000) == 0
        await node.archive()
        assert await node.outbox.evict(-1000) == 1
        assert (await node.log.open(ROOM)).epoch == outcome.epoch


async def test_a_resource_that_was_written_since_does_not_keep_others_from_being_evicted() -> None:
    async with alone() as node:
        written = filled(await node.log.open("event:2"), 1, "event:2")
        await committed(node.log, written)
        await committed(node.log, filled(await node.log.open(ROOM), 1))
        await node.archive()
        await committed(node.log, batch(written))
        assert await node.outbox.evict(-1000) == 1
        assert list(await node.log.append([batch(written, base=2)])) == [Committed()]


async def test_redis_flushed_by_mistake_reopens_from_the_archive_in_a_new_epoch() -> None:
    async with alone() as node:
        last = batch(await node.log.open(ROOM), *(record(n, seq=n) for n in range(1, 21)))
        await committed(node.log, last)
        await node.log.save_snapshot(ROOM, last.epoch, Snapshot(16, b'{"at":16}'))
        await node.archive()
        unarchived = batch(last, record(21, seq=21))
        await committed(node.log, unarchived)
        flush(shared_redis("any", 0).port)
        (outcome,) = await node.log.append([batch(unarchived, record(22))])
        assert isinstance(outcome, Absent | Forked)
        opening = await node.log.open(ROOM)
        assert opening.epoch > last.epoch
        assert (opening.restarted, opening.follows) == (20, last.epoch)
        assert opening.snapshot == Snapshot(16, b'{"at":16}')
        assert versions(opening.records) == [17, 18, 19, 20]
        assert list(await node.log.append([batch(unarchived, record(22))])) == [Forked(opening.epoch)]
        # What a live room still knows goes in again, as a new change of the new epoch.
        await committed(node.log, batch(opening, record(21, seq=21)))
        await node.archive()
        assert versions(await node.store.read(ROOM, 0, 100)) == list(range(1, 22))
        assert (await node.store.heads([ROOM]))[ROOM] == (opening.epoch, 21)


async def test_a_resource_that_was_never_archived_starts_anew_after_a_flush() -> None:
    async with alone() as node:
        first = filled(await node.log.open(ROOM), 3)
        await committed(node.log, first)
        flush(shared_redis("any", 0).port)
        opening = await node.log.open(ROOM)
        assert opening.epoch > first.epoch
        assert (opening.snapshot, list(opening.records)) == (Snapshot(0, b"null"), [])
        await committed(node.log, batch(opening, record(1)))


async def test_workers_share_the_partitions_and_take_over_from_one_that_vanished() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any")
        async with worker(config, dsn) as left, worker(config, dsn) as right:
            held: dict[str, set[int]] = {"left": set(), "right": set()}
            while len(held["left"]) + len(held["right"]) < 256:
                held["left"] = set(await left.outbox.take(1))
                held["right"] = set(await right.outbox.take(1))
            assert not held["left"] & held["right"]
            assert min(map(len, held.values())) > 64
            await committed(left.log, filled(await left.log.open(ROOM), 3))
            with client() as direct:
                for partition in held["left"]:
                    direct.hset(tag(partition), "lease", 0)  # it has ended
            await right.archive()
            assert versions(await right.store.read(ROOM, 0, 9)) == [1, 2, 3]
            await right.outbox.release()
            assert len(await left.outbox.take(1)) > 0, "what was released is free at once"


async def test_a_lease_from_before_the_servers_clock_was_set_back_keeps_nobody_out() -> None:
    async with alone() as node:
        await committed(node.log, filled(await node.log.open(ROOM), 3))
        partition = partition_of(ROOM, 256)
        ahead_ms = 9_000_000_000_000
        with client() as direct:
            direct.hset(tag(partition), mapping={"owner": "crashed", "lease": ahead_ms})
        await node.archive()
        assert versions(await node.store.read(ROOM, 0, 9)) == [1, 2, 3]


async def test_what_another_worker_archived_meanwhile_is_not_missing() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any", history_versions=5)
        async with worker(config, dsn) as left, worker(config, dsn) as right:
            last = filled(await left.log.open(ROOM), 3)
            await committed(left.log, last)
            await left.archive()
            with client() as direct:  # its lease ran out, and it didn't see that
                direct.hdel(tag(partition_of(ROOM, 256)), "owner", "lease")
            for version in range(4, 31):
                last = batch(last, record(version))
                await committed(right.log, last)
            await right.log.save_snapshot(ROOM, last.epoch, Snapshot(20, b'{"at":20}'))
            while (await right.store.heads([ROOM]))[ROOM][1] < 30 or await right.archiver.step():
                await right.archiver.step()
            await right.outbox.release()
            await committed(left.log, batch(last, record(31)))
            await left.archive()
            assert versions(await left.store.read(ROOM, 0, 99)) == list(range(1, 32))
            assert left.archiver.numbers.gaps == 0


async def test_a_backlog_beyond_its_bound_refuses_appends_until_the_archive_catches_up() -> None:
    async with alone(archive_backlog_bytes_max=65536) as node:
        last: Batch = batch(await node.log.open(ROOM), record(1, value="x" * 70_000))
        await committed(node.log, last)
        following = batch(last, record(2, seq=1))
        (outcome,) = await node.log.append([following])
        assert isinstance(outcome, Failed)
        assert (outcome.outcome, outcome.retry_after_ms > 0) == ("none", True)
        await node.archive()
        await committed(node.log, following)


async def test_purges_and_forks_reach_the_archive() -> None:
    async with alone() as node:
        first = filled(await node.log.open(ROOM), 5)
        await committed(node.log, first)
        (outcome,) = await node.log.append([batch(first, record(10), base=9)])
        assert isinstance(outcome, Forked)
        await committed(node.log, batch(await node.log.open(ROOM), record(6)))
        await node.archive()
        assert (await node.store.heads([ROOM]))[ROOM] == (outcome.epoch, 6)
        epoch = await node.log.purge(ROOM)
        await node.archive()
        assert list(await node.store.read(ROOM, 0, 10)) == []
        assert (await node.store.heads([ROOM]))[ROOM] == (epoch, 0)


async def test_own_changes_go_on_in_the_archive_where_redis_has_trimmed() -> None:
    async with alone(history_versions=5) as node:
        last = filled(await node.log.open(ROOM), 30)
        await committed(node.log, last)
        for number in range(5):
            last = batch(last, *(record(31 + 2 * number + n) for n in range(2)))
            await committed(node.log, last)
        await node.log.save_snapshot(ROOM, last.epoch, Snapshot(34, b"1"))
        await node.archive()
        found = await node.log.own_changes(ClientKey(ROOM, "ann", "tab-1"), 100)
        assert versions(found) == list(range(40, 0, -1))


async def test_an_archiver_at_work_keeps_up_and_the_outboxes_run_empty() -> None:

    async with alone() as node, unawaited() as nursery:
        await nursery.start(node.archiver.run)
        last = filled(await node.log.open(ROOM), 1)
        await committed(node.log, last)
        for version in range(2, 50):
            last = batch(last, record(version))
            assert list(await node.log.append([last])) == [Committed()]
        with client() as direct:
            await until(lambda: direct.xlen(outbox(partition_of(ROOM, 256))) == 0)
        assert versions(await node.store.read(ROOM, 0, 100)) == list(range(1, 50))
