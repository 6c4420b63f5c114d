"""A backup of a cluster whose old history goes while it is written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import ConfigError, GatewayError
from gateway.log import cluster_backup, postgres_retention
from gateway.log.archive import SavedSnapshot, Transfer
from gateway.log.backup_file import BackupReader, Contents, StoredHead, verify
from gateway.log.cluster_backup import Stores, backup, stores
from gateway.log.postgres import PostgresArchive, migrate
from gateway.ports import Opening, Record, Snapshot
from gateway.ports.retention import Excess
from gateway.wire.announcement import Announcement
from tests.contracts.log_contract import ROOM, record
from tests.redis.parts import fresh
from tests.servers import shared_postgres

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
    assert await postgres_retention.retain(archive, Excess(ROOM, EPOCH, upto), [document(upto)], 0)


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


@pytest.mark.parametrize(
    ("page", "told"), [(5, "changes up to version 8 are missing"), (8, "has 37 of its 40 changes")]
)
async def test_a_gap_that_lasts_is_told_as_one_wherever_a_page_ends(
    page: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_backup, "READ_AT_ONCE", page)
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 41), 40)
        with pytest.raises(GatewayError, match=told):
            await backup(found, tmp_path / "backup.sqlite3")


async def test_history_with_a_gap_is_told_when_it_is_backed_up_and_not_when_it_is_restored(
    tmp_path: Path,
) -> None:
    file = tmp_path / "backup.sqlite3"
    file.write_bytes(b"monday's")
    async with archived(range(1, 6), 5) as (found, archive):
        await add(archive, range(9, 13), 12)
        with pytest.raises(ConfigError, match=f"stays as it was.*{ROOM} has 9 of its 12 changes"):
            await backup(found, file)
    assert file.read_bytes() == b"monday's"
    assert os.listdir(tmp_path) == [file.name]
