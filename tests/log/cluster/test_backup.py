"""A backup of a cluster whose old history goes while it is written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.config import Config
from gateway.errors import LogDamaged, LogUnavailable
from gateway.hub import replay
from gateway.log.archive import SavedSnapshot, Transfer
from gateway.log.backup_file import BackupReader, Contents, StoredHead, renewed, verify
from gateway.log.cluster import backup as cluster_backup
from gateway.log.cluster.backup import Stores, backup, stores
from gateway.log.postgres import retention as postgres_retention
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.sqlite import backup as sqlite_backup
from gateway.ports import Opening, Record, Snapshot
from gateway.ports.retention import Excess
from gateway.redislink.keys import partition_of, tag
from gateway.redislink.link import pack
from gateway.redislink.moving import rebalance
from gateway.redislink.routing import Table
from gateway.redislink.shards import Call, Shards
from gateway.wire.announcement import Announcement
from tests.contracts.log_contract import ROOM, append, batch, record
from tests.log.sqlite.parts import opened
from tests.redis.parts import fresh, owner, settings, slot_of
from tests.servers import redis_cluster, redis_server, shared_postgres

EPOCH = 1


@asynccontextmanager
async def archived(versions: range, snapshot: int) -> AsyncIterator[tuple[Stores, PostgresArchive]]:
    """A cluster whose archive has these changes of a resource, and a snapshot."""
    with shared_postgres().database() as dsn:
        migrate(dsn)
        config = fresh("any").with_(postgres={"dsn": dsn})
        async with stores(config) as found:
            assert found.archive is not None
            await add(found.archive, versions, snapshot)
            yield found, found.archive


async def add(archive: PostgresArchive, versions: range, snapshot: int) -> None:
    changes = [Announcement(ROOM, EPOCH, versions[0] - 1, f"n{versions[0]}", [*map(record, versions)])]
    await archive.store(Transfer(changes, [SavedSnapshot(ROOM, EPOCH, document(snapshot))]))


async def go(archive: PostgresArchive, upto: int) -> None:
    """Old changes go, as a rule of retention has it."""
    at_upto = document(upto).document
    assert await postgres_retention.retain(archive, Excess(ROOM, EPOCH, upto), at_upto, [], 0)


def document(version: int) -> Snapshot:
    return Snapshot(version, b'{"at":%d}' % version)


def contents(file: Path) -> tuple[StoredHead, list[int]]:
    with BackupReader(file) as reader:
        [head] = reader.heads()
        return head, [one.version for part in reader.records(ROOM, head.first) for one in part]


async def test_history_that_goes_while_it_is_copied_leaves_a_whole_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_backup, "READ_AT_ONCE", 10)
    read, pages = PostgresArchive.read, [0]

    async def going(archive: PostgresArchive, resource: str, after: int, limit: int) -> Sequence[Record]:
        pages[0] += 1
        if pages[0] == 2:
            await go(archive, 30)
        return await read(archive, resource, after, limit)

    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 61), 50) as (found, _):
        monkeypatch.setattr(PostgresArchive, "read", going)
        assert await backup(found, file) == Contents(1, 30)
    assert verify(file) == Contents(1, 30)
    assert contents(file) == (StoredHead(ROOM, EPOCH, 30, 60), [*range(31, 61)])


async def test_history_that_goes_beyond_the_head_which_was_read_leaves_a_whole_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, openings = PostgresArchive.open, [0]

    async def growing(archive: PostgresArchive, resource: str) -> Opening | None:
        opening = await opened(archive, resource)
        openings[0] += 1
        if openings[0] == 1:
            await add(archive, range(61, 101), 90)
            await go(archive, 80)
        return opening

    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 61), 50) as (found, _):
        monkeypatch.setattr(PostgresArchive, "open", growing)
        assert await backup(found, file) == Contents(1, 20)
    assert contents(file) == (StoredHead(ROOM, EPOCH, 80, 100), [*range(81, 101)])


@pytest.mark.parametrize("page", [5, 8])
@pytest.mark.parametrize(
    ("documents", "first"), [((8, 20, 40), 8), ((20, 40), 20), ((40,), 39)], ids=["at", "after", "newest"]
)
async def test_a_history_with_a_gap_begins_at_the_oldest_document_after_it_wherever_a_page_ends(
    page: int, documents: tuple[int, ...], first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_backup, "READ_AT_ONCE", page)
    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 6), 5) as (found, archive):
        for version in documents:
            await add(archive, range(9, 41), version)
        assert await backup(found, file) == Contents(1, 40 - first, gaps=1)
    assert verify(file) == Contents(1, 40 - first)
    assert contents(file) == (StoredHead(ROOM, EPOCH, first, 40), [*range(first + 1, 41)])


async def test_what_moves_to_a_server_that_was_looked_through_is_in_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server() as one, redis_server() as two:
        config, only_first = settings(one.url, two.url), settings(one.url).redis
        names = [f"event:{number}" for number in range(20)]
        async with stores(config) as found:
            for name in names:
                await append(found.log, batch(await found.log.open(name), record(1), resource=name))
            call, scans = Shards.call, []

            async def moving(shards: Shards, asked: Call, timeout_s: float | None = None) -> Any:
                if b"SCAN" in asked.packed:
                    scans.append(asked.partition)
                    if len(scans) == 2:  # the first server has been looked through
                        await trio.to_thread.run_sync(rebalance, only_first, lambda told: None)
                return await call(shards, asked, timeout_s)

            monkeypatch.setattr(Shards, "call", moving)
            file = tmp_path / "backup.sqlite3"
            assert await backup(found, file) == Contents(20, 20)
            assert len(scans) >= 3
    with BackupReader(file) as reader:
        assert {head.name for head in reader.heads()} == set(names)


@pytest.mark.parametrize("ends", [True, False], ids=["the slot too", "and the slot stays on its way"])
async def test_what_a_reshard_moves_to_a_server_that_was_looked_through_is_in_the_backup(
    ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_backup, "ATTEMPT_PAUSE_S", 0.01)
    with redis_cluster() as cluster:
        names = [f"event:{number}" for number in range(20)]
        async with stores(Config().with_(redis={"cluster_url": cluster.url})) as found:
            for name in names:
                await append(found.log, batch(await found.log.open(name), record(1), resource=name))
            masters = {server.port: server for server in cluster.masters}
            first, *_, last = (masters[address.port] for address in found.shards.first_partitions())
            slots = {slot_of(name) for name in names if owner(cluster, name) is last}
            assert slots
            call, scans = Shards.call, []

            async def moving(shards: Shards, asked: Call, timeout_s: float | None = None) -> Any:
                if b"SCAN" in asked.packed:
                    scans.append(asked.partition)
                if len(scans) == 2 and slots:  # the first server has been looked through
                    while slots:
                        slot = slots.pop()
                        cluster.begin_move(slot, last, first)
                        cluster.move_keys(slot, last, first)
                        if ends or slots:
                            cluster.end_move(slot, last, first)
                return await call(shards, asked, timeout_s)

            monkeypatch.setattr(Shards, "call", moving)
            if ends:
                assert await cluster_backup.names_in_redis(found.shards) == set(names)
            else:
                with pytest.raises(LogUnavailable, match="the cluster's reshard, has ended"):
                    await cluster_backup.names_in_redis(found.shards)


async def test_partitions_that_never_rest_are_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_backup, "ATTEMPT_PAUSE_S", 0.01)
    async with stores(fresh("any")) as found:
        versions = count(1)

        async def elsewhere(shards: Shards) -> Table:
            version = next(versions)
            return Table(version, shards.table.owners[:version])

        monkeypatch.setattr(Shards, "newest_table", elsewhere)
        with pytest.raises(LogUnavailable, match="when `gateway rebalance`, or"):
            await cluster_backup.names_in_redis(found.shards)


async def test_a_history_whose_beginning_is_missing_begins_at_the_oldest_document_after_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "backup.sqlite3"
    async with archived(range(9, 41), 20) as (found, archive):
        await add(archive, range(41, 43), 42)
        assert await backup(found, file) == Contents(1, 22, gaps=1)
    assert contents(file) == (StoredHead(ROOM, EPOCH, 20, 42), [*range(21, 43)])


async def test_several_gaps_leave_what_came_after_the_last_one(tmp_path: Path) -> None:
    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 13), 12)
        await add(archive, range(21, 31), 24)
        assert await backup(found, file) == Contents(1, 6, gaps=1)
    assert contents(file) == (StoredHead(ROOM, EPOCH, 24, 30), [*range(25, 31)])


async def test_the_newest_document_alone_is_restored_with_and_without_an_archive(tmp_path: Path) -> None:
    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 13), 12)
        assert await backup(found, file) == Contents(1, 1, gaps=1)
    with shared_postgres().database() as dsn, BackupReader(file) as reader:
        migrate(dsn)
        for settings in (fresh("any"), fresh("any").with_(postgres={"dsn": dsn})):
            async with stores(settings) as found:
                await cluster_backup.clear(found, replace=True)
                await cluster_backup.fill(found, reader)
                opening, history = await replay.load(found.log, ROOM, 16)
                assert (opening.snapshot, list(opening.records)) == (document(12), [])
                assert (history.version, history.document) == (12, {"at": 12})


async def test_a_cluster_that_has_the_newest_document_alone_is_backed_up_then_and_after_an_edit(
    tmp_path: Path,
) -> None:
    first, again, edited = (tmp_path / name for name in ("first", "again", "edited"))
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 13), 12)
        await backup(found, first)
    async with stores(fresh("any")) as found:
        with BackupReader(first) as reader:
            await cluster_backup.fill(found, reader)
        assert await backup(found, again) == verify(again) == Contents(1, 1)
        await append(found.log, batch(await found.log.open(ROOM)))
        assert await backup(found, edited) == verify(edited) == Contents(1, 1)
    assert contents(again) == (StoredHead(ROOM, EPOCH, 11, 12), [12])
    assert contents(edited) == (StoredHead(ROOM, EPOCH, 12, 13), [13])


async def test_a_backup_of_the_newest_document_alone_is_restored_into_one_node(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 13), 12)
        await backup(found, first)
    async with stores(fresh("any")) as found:
        with BackupReader(first) as reader:
            await cluster_backup.fill(found, reader)
        await backup(found, again)
    sqlite_backup.restore(again, tmp_path / "node", replace=False)
    async with opened(tmp_path / "node") as log:
        _, history = await replay.load(log, ROOM, 16)
        assert (history.version, history.document) == (12, {"at": 12})


@pytest.mark.parametrize("archiving", [True, False])
async def test_what_is_brought_keeps_its_epochs_though_redis_was_restarted_before(
    archiving: bool, tmp_path: Path
) -> None:
    file = tmp_path / "backup.sqlite3"
    async with archived(range(1, 6), 5) as (found, _):
        await backup(found, file)
    renewed(file)
    with shared_postgres().database() as dsn, BackupReader(file) as reader:
        migrate(dsn)
        config = fresh("any").with_(postgres={"dsn": dsn if archiving else ""})
        async with stores(config) as found:
            partition = partition_of(ROOM, config.redis.partitions)
            meta = ("HSET", tag(partition), "run", "before", "fenced", "10.0.0.9")
            await found.shards.call(Call(partition, pack(meta)))
            await cluster_backup.clear(found, replace=True)
            await cluster_backup.fill(found, reader)
            assert (await found.log.open(ROOM)).epoch == reader.standing_epoch


async def test_a_history_that_retention_has_cut_has_no_gap(tmp_path: Path) -> None:
    async with archived(range(1, 61), 50) as (found, archive):
        await go(archive, 30)
        assert await backup(found, tmp_path / "backup.sqlite3") == Contents(1, 30)


async def test_damage_is_told_when_it_is_backed_up_and_not_when_it_is_restored(tmp_path: Path) -> None:
    file = tmp_path / "backup.sqlite3"
    file.write_bytes(b"monday's")
    async with archived(range(1, 6), 5) as (found, archive):
        await archive.store(Transfer([Announcement(ROOM, EPOCH, 8, "n", [*map(record, range(9, 13))])]))
        with pytest.raises(LogDamaged, match=f"archived history of {ROOM} after version 5"):
            await backup(found, file)
    assert file.read_bytes() == b"monday's"
    assert os.listdir(tmp_path) == [file.name]
