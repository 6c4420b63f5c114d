"""The audit's stores: the contract, and that a change made behind their back is seen."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.database_thread import DatabaseThread
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.postgres.audit import PostgresAudit
from gateway.log.sqlite.audit import DATABASE, SqliteAudit
from gateway.runtime.metrics import Counters
from tests.contracts.audit_contract import ALL, AuditContract, entry, faults
from tests.doubles.audit import MemoryAudit
from tests.node.audit import trail
from tests.proxy import tcp_proxy
from tests.servers import shared_postgres
from tests.waiting import until


class TestMemoryAudit(AuditContract):
    @asynccontextmanager
    async def store(self) -> AsyncIterator[MemoryAudit]:
        yield MemoryAudit()


class TestSqliteAudit(AuditContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqliteAudit]:
        store = SqliteAudit(self.path)
        yield store
        await store.aclose()


class TestPostgresAudit(AuditContract):
    @asynccontextmanager
    async def store(self) -> AsyncIterator[PostgresAudit]:
        with shared_postgres().database() as dsn:
            migrate(dsn)
            archive = PostgresArchive(dsn)
            yield PostgresAudit(archive)
            await archive.aclose()


TAMPERED = [
    ("UPDATE audit SET actor = 'eve' WHERE number = 2", "record 2 was changed"),
    ("DELETE FROM audit WHERE number = 2", "records are missing between 1 and 3"),
    ("DELETE FROM audit WHERE number < 3", "records up to 2 are gone"),
    ("UPDATE audit SET previous = 'x' WHERE number = 3", "record 3 was changed"),
]


@pytest.mark.parametrize(("statement", "fault"), TAMPERED)
async def test_what_somebody_does_to_the_database_is_seen(tmp_path, statement, fault):
    store = SqliteAudit(tmp_path)
    await store.append([entry(number) for number in range(4)])
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as connection:
        connection.execute(statement)
    assert fault in "; ".join(await faults(store))
    await store.aclose()


async def test_no_chain_is_begun_anew_where_the_directory_was_moved_away(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    store = SqliteAudit(directory)
    await store.append([entry(1)])
    away = directory.rename(tmp_path / "away")
    with pytest.raises(LogUnavailable, match=r"audit\.sqlite3: No such file"):
        await store.append([entry(2)])
    away.rename(directory)
    assert [record.number for record in await store.append([entry(2)])] == [2]
    await store.aclose()


class Untidied(PostgresAudit):
    """Takes nothing old away: what is committed are records alone."""

    async def retain(self, since_ms: int, node: str, now_ms: int) -> int:
        return 0


async def test_what_was_committed_though_the_answer_was_lost_is_written_once() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        direct = PostgresArchive(dsn)
        async with tcp_proxy(shared_postgres().port) as proxy:
            archive = PostgresArchive(dsn.replace(str(shared_postgres().port), str(proxy.port)))
            async with trail(Untidied(archive), Counters()) as audit:
                await audit.record("purge", "ann", "event:1")
                proxy.unanswered = b"COMMIT"
                audit.note("drain", "ann", "n1")

                async def both() -> bool:
                    return len(await PostgresAudit(direct).find(ALL)) >= 2

                await until(both, "both are committed")
                proxy.unanswered = b""
                proxy.cut()
                proxy.heal()
                await audit.record("reload", "ann", "n1")
                records = await audit.find(ALL)
            assert [record.entry.act for record in records] == ["purge", "drain", "reload"]
            assert await faults(PostgresAudit(direct)) == []
            await archive.aclose()
        await direct.aclose()


async def test_workers_of_a_node_share_the_chain_in_its_directory(tmp_path):
    first, second = SqliteAudit(tmp_path), SqliteAudit(tmp_path)
    for number in range(5):
        await first.append([entry(number)])
        await second.append([entry(number)])
    assert len(await first.find(ALL)) == 10
    assert await faults(second) == []
    await first.aclose()
    await second.aclose()


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.rollback()
connection.close()
"""


async def test_who_was_kept_from_writing_keeps_its_locks(tmp_path, monkeypatch):
    """Without them another process takes itself for the last one there, and removes the log of writes."""
    monkeypatch.setattr("gateway.log.sqlite.audit.BUSY_TIMEOUT_S", 0.05)
    store, later = SqliteAudit(tmp_path), SqliteAudit(tmp_path)
    await store.append([entry(0)])
    await store.append([entry(1)])
    command = [sys.executable, "-c", HOLDER, str(tmp_path / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: ASYNC220
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(LogUnavailable, match="locked"):
            await store.append([entry(2)])
    assert (tmp_path / f"{DATABASE}-wal").exists()
    await store.append([entry(3)])
    assert len(await later.find(ALL)) == 3
    await store.aclose()
    await later.aclose()


def move_away(directory: Path) -> None:
    """Keep what is in it elsewhere, as the runbook says."""
    for path in directory.iterdir():
        path.rename(directory.parent / f"{directory.name}.{path.name}")


def no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def broken_inside(path: Path) -> None:
    """Its first page says that it is a database."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))


@pytest.mark.parametrize("damage", [no_database, broken_inside])
async def test_a_damaged_database_says_the_way_out_and_whoever_takes_it_needs_no_restart(tmp_path, damage):
    store = SqliteAudit(tmp_path)
    await store.append([entry()])
    await store.aclose()
    damage(tmp_path / DATABASE)
    with pytest.raises(LogUnavailable, match=r"audit\.sqlite3: .*; keep it elsewhere .*a new one is begun"):
        await store.append([entry()])
    move_away(tmp_path)
    await store.append([entry(2)])
    assert await faults(store) == []
    await store.aclose()


async def test_whoever_moves_it_away_needs_no_restart_of_who_met_no_damage(tmp_path):
    store = SqliteAudit(tmp_path)
    await store.append([entry()])
    move_away(tmp_path)
    await store.append([entry(2)])
    assert [record.number for record in await store.find(ALL)] == [1]
    await store.aclose()


async def test_whoever_moves_it_away_while_it_is_opened_is_followed_as_well(tmp_path):
    """What was put in its place was taken for what was open: all further records went into the old one."""

    def opened(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS said (word TEXT)")
        if not list(kept.iterdir()):
            for part in data.iterdir():
                part.rename(kept / part.name)
            path.touch()
        return connection

    data, kept = tmp_path / "data", tmp_path / "kept"
    data.mkdir()
    kept.mkdir()
    (data / DATABASE).touch()
    database = DatabaseThread("audit", data / DATABASE, opened)
    for word in ("first", "second"):
        say = "INSERT INTO said VALUES (?)", (word,)
        await database.run(lambda connection, say=say: connection.execute(*say))
    await database.aclose()
    with closing(sqlite3.connect(data / DATABASE)) as found:
        assert found.execute("SELECT word FROM said").fetchall() == [("second",)]


async def test_a_database_that_cannot_be_made_is_a_log_that_is_away(tmp_path):
    (tmp_path / DATABASE).symlink_to(tmp_path / "not" / "mounted")
    store = SqliteAudit(tmp_path)
    with pytest.raises(LogUnavailable, match=r"audit\.sqlite3: No such file"):
        await store.append([entry()])
    await store.aclose()


async def test_a_database_that_breaks_while_it_is_open_is_opened_anew(tmp_path):
    """In the place where it was, where another one is put meanwhile."""
    store = SqliteAudit(tmp_path)
    await store.append([entry()])
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = 'garbled' WHERE name = 'audit'")
        connection.execute("PRAGMA schema_version = 1000")
    with pytest.raises(LogUnavailable, match="a new one is begun"):
        await store.append([entry()])
    move_away(tmp_path)
    await store.append([entry(2)])
    assert [record.number for record in await store.find(ALL)] == [1]
    await store.aclose()
