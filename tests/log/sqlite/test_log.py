"""The embedded log: the contract, and what its files promise: crashes, damage, full disks, a second node."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
import trio

from gateway.errors import ConfigError, LogLocked, LogUnavailable
from gateway.log.sqlite import store as sqlite_store
from gateway.log.sqlite import writer as sqlite_writer
from gateway.log.sqlite.log import DATABASE, LOCK, DirectoryLock, SqliteLog
from gateway.ports import Batch, ClientKey, Committed, Failed, OpLog, Record, Snapshot
from gateway.ports.retention import Excess
from tests.contracts.log_contract import ROOM, LogContract, append, batch, committed, filled, history, record
from tests.log.sqlite.parts import file_size, file_size_max, opened
from tests.log.writer_process import ROOMS

REPOSITORY = Path(__file__).parents[3]


class TestSqliteLog(LogContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "data"

    def log(self) -> AbstractAsyncContextManager[OpLog]:
        return opened(self.directory)


class TestSqliteLogPlacesAtOnce(TestSqliteLog):
    """Where each append but the last has its places."""

    @pytest.fixture(autouse=True)
    def _tail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_writer, "TAIL_MAX", 1)


# ------------------------------------------------------------------------------------- what survives


async def test_another_program_that_opens_the_database_and_ends_takes_nothing_away(tmp_path: Path) -> None:
    """As a shell of SQLite does: the last one to close a database deletes its write-ahead log."""
    look = f"import sqlite3; d = sqlite3.connect({str(tmp_path / DATABASE)!r}); "
    look += "print(d.execute('SELECT count(*) FROM change').fetchone()[0]); d.close()"
    async with opened(tmp_path) as log:
        for version in range(1, 4):
            await committed(log, batch(await log.open(ROOM), record(version)))
            done = await trio.run_process([sys.executable, "-c", look], capture_stdout=True)
            assert int(done.stdout) == version


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM), record(1, seq=1), record(2, seq=2, undoes=1))
        await committed(log, first)
        await log.save_snapshot(ROOM, first.epoch, Snapshot(1, b'{"title": "x"}'))
        before = await log.open(ROOM)
    async with opened(tmp_path) as log:
        assert await log.open(ROOM) == before
        assert (await log.open("event:7")).epoch == before.epoch
        await committed(log, first)
        (found,) = await log.recent([ClientKey(ROOM, "ann", "tab-1")], 0)
        assert [submitted.seq for submitted in found] == [2, 1]
        assert len(await history(log)) == 2


@pytest.mark.parametrize("tail", [1, 7, 2000])
async def test_nothing_acknowledged_is_missing_when_the_wal_is_cut_to_its_synced_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    monkeypatch.setattr(sqlite_writer, "TAIL_MAX", tail)
    live, cut = tmp_path / "live", tmp_path / "cut"
    acknowledged: list[tuple[int, Path]] = []
    async with opened(live) as log:
        last: Batch | None = None
        for step in range(40):
            last = batch(last or await log.open(ROOM), *_pair(last))
            await committed(log, last)
            acknowledged.append((last.base + 2, crashed(live, cut / str(step), garbage=bytes(step * 100))))
    for version, directory in acknowledged:
        async with opened(directory) as log:
            found = [item.version for item in await history(log)]
            assert found == list(range(1, version + 1))
            await committed(log, batch(await log.open(ROOM)))


def _pair(last: Batch | None) -> tuple[Record, Record]:
    head = 0 if last is None else last.base + 2
    return record(head + 1, value="x" * 3000), record(head + 2)


def crashed(live: Path, copy: Path, garbage: bytes) -> Path:
    """What a machine finds after a power cut: the synced bytes, and rubbish where the WAL would grow."""
    copy.mkdir(parents=True)
    shutil.copy(live / DATABASE, copy)
    wal = f"{DATABASE}-wal"
    (copy / wal).write_bytes((live / wal).read_bytes() + garbage)
    return copy


async def test_each_commit_is_synced(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        connection = log._writer.connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        acknowledged = killed_writer(tmp_path, lines=15)
        heads = trio.run(heads_of, tmp_path)
        assert len(set(heads)) == 1
        assert acknowledged <= heads[0] <= acknowledged + 2


def killed_writer(directory: Path, lines: int) -> int:
    """Kill a writer in the middle of its work; the last version that it acknowledged."""
    command = [sys.executable, "-m", "tests.log.writer_process", str(directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.readlines()
    return int([line for line in printed if line.endswith("\n")][-1])


async def heads_of(directory: Path) -> list[int]:
    async with opened(directory) as log:
        heads = []
        for n in range(ROOMS):
            versions = [found.version for found in await history(log, f"event:{n}")]
            assert versions == list(range(1, len(versions) + 1))
            heads.append(len(versions))
        return heads


# -------------------------------------------------------------------------------- disks that fail


async def test_a_disk_that_fails_refuses_appends_and_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = filled(await log.open(ROOM), 50)
        other = batch(await log.open("event:7"), resource="event:7")
        await committed(log, first, other)
        with file_size_max(file_size(tmp_path / f"{DATABASE}-wal")):
            outcomes = await append(log, batch(first, record(51, value="x" * 200_000)), batch(other))
            assert all(isinstance(outcome, Failed) and outcome.outcome == "none" for outcome in outcomes)
            assert len((await log.open(ROOM)).records) == 50
            with pytest.raises(LogUnavailable, match=DATABASE):
                await log.save_snapshot(ROOM, first.epoch, Snapshot(50, b"x" * 200_000))
            with pytest.raises(LogUnavailable, match=DATABASE):
                await log.purge(ROOM)
        await committed(log, batch(first, record(51)), batch(other))
        assert len(await history(log)) == 51


async def test_an_append_waits_while_another_process_holds_the_database(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM))
        holder = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        answered = trio.Event()

        async def answer() -> None:
            await committed(log, first)
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await trio.sleep(0.2)
            assert not answered.is_set()
            assert list((await log.open(ROOM)).records) == []
            holder.execute("COMMIT")
        holder.close()
        assert len(await history(log)) == 1


async def test_a_database_that_stays_held_refuses_the_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.log.sqlite.store.BUSY_TIMEOUT_S", 0.05)
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM))
        holder = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        (outcome,) = await append(log, first)
        assert isinstance(outcome, Failed)
        assert outcome.outcome == "none"
        holder.close()
        assert await append(log, first) == [Committed()]


@pytest.mark.parametrize("damage", ["not a database", "torn pages", "no header"])
async def test_a_damaged_database_is_a_clear_error_at_start(tmp_path: Path, damage: str) -> None:
    path = tmp_path / DATABASE
    async with opened(tmp_path) as log:
        await committed(log, filled(await log.open(ROOM), 500))
    content = bytearray(path.read_bytes())
    if damage == "not a database":
        content[:] = b"#!/bin/sh\necho hello\n" * 500
    elif damage == "torn pages":
        content[8192:40_960] = os.urandom(40_960 - 8192)
    else:
        content[:100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(LogUnavailable, match=rf"{DATABASE}.*backup"):
        SqliteLog(tmp_path)
    assert path.read_bytes() == content
    with pytest.raises(LogUnavailable):  # not LogLocked: the failed start let go of the directory
        SqliteLog(tmp_path)


async def test_a_database_of_a_later_gateway_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LogUnavailable, match="later gateway"):
        SqliteLog(tmp_path)


def test_a_full_disk_is_no_damage_to_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "_WRITER_PRAGMAS", ("max_page_count = 1",))
    with pytest.raises(LogUnavailable, match=r"disk is full\. Make room there") as found:
        SqliteLog(tmp_path)
    assert "backup" not in str(found.value)


async def test_a_full_disk_is_no_damage_to_a_start_with_what_is_there(tmp_path: Path) -> None:
    """The file beside the database can't be made then, which SQLite has no other words for."""
    async with opened(tmp_path):
        pass
    with file_size_max(4096), pytest.raises(LogUnavailable, match=r"disk I/O error\. .*make room") as found:
        SqliteLog(tmp_path)
    assert "backup" not in str(found.value)


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"/file is no directory"):
        SqliteLog(tmp_path / "file" / "data")


# -------------------------------------------------------------------------------------- a second node


async def test_a_second_node_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(LogLocked, match=rf"{tmp_path}.*process {os.getpid()}"):
            SqliteLog(tmp_path)
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM)))


async def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    killed_writer(tmp_path, lines=2)
    async with opened(tmp_path):
        pass


# ----------------------------------------------------------------------------------- beside each other


async def test_reads_do_not_wait_for_a_held_writer(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM))
        await committed(log, first)
        holder = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committed, log, batch(first))  # it fails, where it has waited for too long
            assert len((await log.open(ROOM)).records) == 1
            assert len(await log.read(ROOM, 0, 9)) == 1
            holder.execute("COMMIT")
        holder.close()


async def test_closing_waits_for_an_abandoned_write_and_then_everything_is_refused(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    first = batch(await log.open(ROOM))
    holder = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with trio.move_on_after(0.05):
        await log.append([first])
    holder.execute("COMMIT")
    holder.close()
    await log.aclose()
    await log.aclose()
    with pytest.raises(LogUnavailable, match="closed"):
        await log.open(ROOM)
    with pytest.raises(LogUnavailable, match="closed"):
        await log.append([batch(first)])
    async with opened(tmp_path) as again:
        assert [found.version for found in (await again.open(ROOM)).records] == [1]


async def test_purged_text_is_gone_from_the_files(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM), record(1, value="a secret text"))
        await committed(log, first)
        await log.save_snapshot(ROOM, first.epoch, Snapshot(1, b'"a secret text"'))
        await log.purge(ROOM)
        assert not holding(tmp_path, b"a secret text")


@pytest.mark.parametrize("by", ["an append", "the keeper"])
async def test_what_a_reader_kept_in_the_files_beyond_a_purge_goes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(sqlite_writer, "CUT_PAUSE_S", 0.0)
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM), record(1, value="a secret text"))
        await committed(log, first)
        with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM change").fetchone()
            await log.purge(ROOM)
            reader.execute("COMMIT")
            if by == "an append":
                await committed(log, batch(await log.open(ROOM)))
            else:
                assert await log.turn(1)
        assert not holding(tmp_path, b"a secret text")


async def test_who_is_killed_right_after_a_purge_loses_nothing_by_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM), record(1, value="a secret text"), record(2)))
    purging = [sys.executable, "-m", "tests.log.purging_process", str(tmp_path)]
    killed = await trio.run_process(purging, cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    async with opened(tmp_path) as log:
        opening = await log.open(ROOM)
        assert (opening.records, opening.purged) == ([], opening.epoch)
        assert await log.turn(1)
        assert not holding(tmp_path, b"a secret text")
    assert not caplog.text


async def test_what_retention_took_of_a_resource_is_told_by_one_row(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        epoch = await log.purge(ROOM)
        await committed(log, batch(await log.open(ROOM), *(record(n) for n in range(1, 7))))
        for upto in (2, 4, 5):
            assert await log.retain(Excess(ROOM, epoch, upto), b"{}", [], 0)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("SELECT epoch, upto FROM gone").fetchall() == [(epoch, 0), (epoch, 5)]


def test_a_directory_that_cannot_be_locked_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(LogUnavailable, match=r"can't be locked: .*Is a directory"):
        DirectoryLock(tmp_path)


def holding(directory: Path, text: bytes) -> list[Path]:
    return [path for path in directory.iterdir() if text in path.read_bytes()]
