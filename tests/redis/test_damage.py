"""A letter that changes in Redis or PostgreSQL: told by error, log, number and doctor, and never served."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from gateway.cli.machine import findings
from gateway.config import Config
from gateway.errors import LogDamaged
from gateway.log.archive import Transfer
from gateway.log.checked import Checked
from gateway.log.cluster import check as cluster_check
from gateway.log.cluster.backup import stores
from gateway.log.cluster.check import check_cluster
from gateway.log.postgres.archive import migrate
from gateway.log.redis.log import RedisLog
from gateway.ports import ClientKey, Failed, Opening, Snapshot
from gateway.redislink.keys import keys_of, outbox, partition_of, tag
from gateway.wire.announcement import MAGIC_BEFORE, Announcement
from gateway.wire.checksum import damage
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.redis.parts import client, fresh, running
from tests.redis.worker import alone, versions, worker
from tests.servers import shared_postgres

KEYS = keys_of(ROOM, 256)
HANDED = b'{"title":"handed over"}'


def change_batch(at: int, wrong: bytes | None = None) -> None:
    """Change a letter of the stored batch that ends at a version; or store this one, as nobody should."""
    with client() as direct:
        entries = direct.xrange(KEYS.changes)
        direct.delete(KEYS.changes)
        for entry_id, fields in entries:
            if entry_id == b"%d-0" % at:
                payload = fields[b"b"]
                fields[b"b"] = payload.replace(b"value", b"valve", 1) if wrong is None else wrong
                assert fields[b"b"] != payload
            direct.xadd(KEYS.changes, fields, entry_id)


async def filled_log(log: RedisLog, changes: int = 3) -> int:
    """One batch a change, and a snapshot in the middle; the epoch."""
    for number in range(1, changes + 1):
        await committed(log, batch(await log.open(ROOM), record(number, seq=number)))
    opening = await log.open(ROOM)
    await log.save_snapshot(ROOM, opening.epoch, Snapshot(1, HANDED))
    return opening.epoch


async def checked(config: Config) -> Checked:
    """As `gateway doctor` looks."""
    async with stores(config) as found:
        return await check_cluster(found)


async def found_by_doctor(config: Config) -> list[str]:
    return (await checked(config)).named


async def test_a_letter_changed_in_a_stored_batch_is_not_served(caplog: pytest.LogCaptureFixture) -> None:
    config = fresh("any")
    async with running(config) as shards:
        log = RedisLog(shards, config)
        epoch = await filled_log(log)
        assert await found_by_doctor(config) == []
        change_batch(2)
        met = damage.met
        with pytest.raises(LogDamaged, match=rf"a batch of {ROOM}.*isn't what was written.*doctor"):
            await log.read(ROOM, 1, 10)
        assert damage.met == met + 1
        assert f"a batch of {ROOM}" in caplog.text
        with pytest.raises(LogDamaged):
            await log.open(ROOM)
        with pytest.raises(LogDamaged):
            await log.own_changes(ClientKey(ROOM, "ann", "tab-1"), 10)
        assert versions(await log.read(ROOM, 2, 10)) == [3], "what is sound is served"
        late = batch(Opening(epoch, Snapshot(1, b"{}"), ()), record(2, seq=9))
        [outcome] = await log.append([late])
        assert isinstance(outcome, Failed) and "isn't what was written" in outcome.message
        assert outcome.is_damage
    assert await found_by_doctor(config) == [f"the batch of {ROOM} that ends at 2"]


async def test_a_letter_changed_in_a_snapshot_is_not_served() -> None:
    config = fresh("any")
    async with running(config) as shards:
        log = RedisLog(shards, config)
        await filled_log(log)
        assert await log.snapshot(ROOM, 1) == Snapshot(1, HANDED)
        with client() as direct:
            stored = direct.hget(KEYS.snapshots, "1")
            assert stored.endswith(HANDED)
            direct.hset(KEYS.snapshots, "1", stored.replace(b"handed", b"landed"))
        for ask in (log.snapshot(ROOM, 2), log.open(ROOM)):
            with pytest.raises(LogDamaged, match=f"the snapshot of {ROOM} at 1 isn't what was written"):
                await ask
    assert await found_by_doctor(config) == [f"the snapshot of {ROOM} at 1"]


async def test_what_was_stored_before_there_were_checksums_is_read() -> None:
    config = fresh("any")
    async with running(config) as shards:
        log = RedisLog(shards, config)
        await filled_log(log)
        with client() as direct:
            for entry_id, fields in direct.xrange(KEYS.changes):
                before = MAGIC_BEFORE + fields[b"b"][5:]
                change_batch(int(entry_id.split(b"-")[0]), before)
            direct.hset(KEYS.snapshots, "1", HANDED)
        opening = await log.open(ROOM)
        assert (opening.snapshot, versions(opening.records)) == (Snapshot(1, HANDED), [2, 3])
        await committed(log, batch(opening, record(4)))
        assert versions(await log.read(ROOM, 0, 10)) == [1, 2, 3, 4]
    found = await checked(config)
    assert (found.changes, found.without_checksum, found.damaged) == (4, 3, 0)


async def test_a_batch_that_is_gone_is_found() -> None:
    config = fresh("any")
    async with running(config) as shards:
        await filled_log(RedisLog(shards, config))
    with client() as direct:
        direct.xdel(KEYS.changes, "2-0")
    assert await found_by_doctor(config) == [f"{ROOM} lacks changes before 3"]


async def test_a_damaged_outbox_stops_its_partition_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with alone() as node:
        await committed(node.log, batch(await node.log.open(ROOM), record(1), record(2)))
        await committed(node.log, batch(await node.log.open("event:7"), record(1), resource="event:7"))
        partition = partition_of(ROOM, 256)
        assert partition != partition_of("event:7", 256)
        with client() as direct:
            ((_, fields),) = direct.xrange(outbox(partition))
            direct.delete(outbox(partition))
            direct.xadd(outbox(partition), {**fields, b"b": fields[b"b"].replace(b"value", b"valve", 1)})
        await node.archive()
        assert node.archiver.numbers.blocked == {partition}
        assert f"partition {partition} isn't archived nor trimmed" in caplog.text
        assert await node.store.names() == {"event:7"}
        assert versions(await node.log.read(ROOM, 0, 9)) == [1, 2], "Redis has it as it was"


async def test_a_partition_that_stands_still_is_one_workers_and_goes_on_without_what_was_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any")
        async with worker(config, dsn) as left, worker(config, dsn) as right:
            partition = partition_of(ROOM, 256)
            await committed(left.log, batch(await left.log.open(ROOM), record(1)))
            with client() as direct:
                ((entry_id, fields),) = direct.xrange(outbox(partition))
                direct.delete(outbox(partition))
                direct.xadd(outbox(partition), {**fields, b"b": b"nothing"}, entry_id)
            await left.archive()
            assert left.archiver.numbers.blocked == {partition}
            for _ in range(40):  # a few are asked for each time
                await right.archiver.step()
                await left.archiver.step()
            assert right.archiver.numbers.blocked == set()
            assert left.archiver.numbers.blocked == {partition}
            with client() as direct:
                direct.xdel(outbox(partition), entry_id)
            await committed(left.log, batch(await left.log.open(ROOM), record(2)))
            monkeypatch.setattr("trio.current_time", lambda: 1e9)  # it has rested
            await left.archiver.step()
            assert left.archiver.numbers.blocked == set()
            assert versions(await left.store.read(ROOM, 1, 9)) == [2]


def archived_letter(dsn: str, table: str, column: str) -> None:
    """Change a letter of what PostgreSQL has stored."""
    with psycopg.connect(dsn, autocommit=True) as direct:
        statement = f"UPDATE gateway.{table} SET {column} = replace({column}::text, 'e\"', 'a\"')::json"
        statement += " WHERE version = 2"
        assert direct.execute(statement).rowcount == 1


async def test_a_letter_changed_in_the_archive_is_not_served(tmp_path: Path) -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any", history_versions=10).with_(postgres={"dsn": dsn})
        async with worker(config, dsn) as node:
            for number in range(1, 4):
                await committed(node.log, batch(await node.log.open(ROOM), record(number)))
            epoch = (await node.log.open(ROOM)).epoch
            await node.log.save_snapshot(ROOM, epoch, Snapshot(2, b'{"title":"snow white"}'))
            await node.archive()
            assert await node.outbox.evict(-1000) == 1
            assert versions((await node.store.open(ROOM)).records) == [3]  # type: ignore[union-attr]
            assert await found_by_doctor(config) == []
            archived_letter(dsn, "change", "body")
            with pytest.raises(LogDamaged, match=rf"archived change 2 of {ROOM} isn't what was written"):
                await node.store.read(ROOM, 0, 10)
            assert versions(await node.store.read(ROOM, 2, 10)) == [3]
            archived_letter(dsn, "snapshot", "document")
            for ask in (node.store.snapshot(ROOM, 2), node.log.open(ROOM)):
                with pytest.raises(LogDamaged, match=f"the archived snapshot of {ROOM} at 2"):
                    await ask
        found = await checked(config)
        assert found.named == [f"archived change 2 of {ROOM}", f"the archived snapshot of {ROOM} at 2"]
        assert (found.changes, found.without_checksum) == (3, 0)


async def test_a_gap_in_what_the_archive_opens_is_not_served_and_leaves_alone_what_redis_has() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any").with_(postgres={"dsn": dsn})
        async with worker(config, dsn) as node:
            await filled_log(node.log)
            await node.archive()
            assert await found_by_doctor(config) == []
            with psycopg.connect(dsn, autocommit=True) as direct:
                direct.execute("DELETE FROM gateway.change WHERE version = 2")
            with client() as direct:  # as after a restart
                direct.hset(tag(KEYS.partition), "run", "another")
        async with worker(config, dsn) as node:
            assert versions((await node.log.open(ROOM)).records) == [2, 3]
            lacking = f"the archived history of {ROOM}"
            assert await found_by_doctor(config) == [f"{lacking}, which lacks changes from 2 on"]
            await node.archive()
            assert await node.outbox.evict(-1000) == 1
            with pytest.raises(LogDamaged, match=f"{lacking} after version 1 isn't what was written"):
                await node.log.open(ROOM)


async def test_what_was_archived_before_there_were_checksums_is_read() -> None:
    async with alone() as node:
        await committed(node.log, batch(await node.log.open(ROOM), record(1), record(2)))
        await node.log.save_snapshot(ROOM, (await node.log.open(ROOM)).epoch, Snapshot(1, HANDED))
        await node.archive()
        await node.store.run(
            lambda direct: direct.execute("UPDATE gateway.change SET checksum = NULL"), "none"
        )
        await node.store.run(
            lambda direct: direct.execute("UPDATE gateway.snapshot SET checksum = NULL"), "none"
        )
        assert versions(await node.store.read(ROOM, 0, 9)) == [1, 2]
        assert await node.store.snapshot(ROOM, 1) == Snapshot(1, HANDED)


async def test_an_archive_is_looked_through_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = cluster_check._GAPS.replace("WHERE c", "WHERE (SELECT count(pg_sleep(1.5))) = 1 AND c")
    monkeypatch.setattr(cluster_check, "_GAPS", slow)
    monkeypatch.setattr("gateway.log.postgres.archive.STATEMENT_TIMEOUT_S", 1)
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any").with_(postgres={"dsn": dsn})
        async with stores(config) as found:
            assert found.archive is not None
            await found.archive.store(Transfer([Announcement(ROOM, 1, 0, "n", [record(1)])]))
            assert (await check_cluster(found)).named == []


def test_doctor_names_what_is_damaged_in_a_cluster() -> None:
    config = fresh("any")
    with client() as direct:
        direct.hset(tag(KEYS.partition), mapping={"incarnation": 5})
        direct.hset(KEYS.head, mapping={"e": 5, "v": 1, "n": "n", "t": 0, "a": 0, "p": 0})
        direct.xadd(KEYS.changes, {"n": "n", "b": b"\x02nonsense"}, "1-0")
    (found,) = [finding for finding in findings(config) if finding.name == "stored changes"]
    assert (found.status, f"the batch of {ROOM} that ends at 1" in found.found) == ("bad", True)
    away = config.with_(redis={"urls": ("redis://127.0.0.1:1",)})
    (found,) = [finding for finding in findings(away) if finding.name == "stored changes"]
    assert (found.status, "can't be read" in found.found) == ("bad", True)
