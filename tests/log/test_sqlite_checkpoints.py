"""Checkpoints of the embedded log beside its appends: they happen, end, and leave nothing of a purge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway.log import sqlite_checkpoints
from gateway.log.sqlite import DATABASE
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.log.test_sqlite import opened

FILES = (DATABASE, f"{DATABASE}-wal")


def threads() -> int:
    return sum(thread.name == "checkpoints" for thread in threading.enumerate())


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_what_is_appended_comes_into_the_database_meanwhile(tmp_path: Path) -> None:
    """Though it isn't enough for the writer to see to it; and the thread ends with the log."""
    database, wal = (tmp_path / name for name in FILES)
    async with opened(tmp_path) as log:
        last = batch(await log.open(ROOM), record(1))
        await committed(log, last)
        before = database.stat().st_size
        assert threads() == 0
        for _ in range(3 * sqlite_checkpoints.PAGES // sqlite_checkpoints.PAGES_A_CHANGE // 500):
            version = last.base + len(last.records)
            last = batch(last, *(record(version + n, value="x" * 300) for n in range(1, 501)))
            await committed(log, last)
        await until(lambda: database.stat().st_size > before + (1 << 20))
        assert wal.stat().st_size < sqlite_checkpoints.WRITERS_PAGES * sqlite_checkpoints.PAGE_BYTES
        assert threads() == 1
    assert threads() == 0
    assert not wal.exists()
    async with opened(tmp_path) as log:
        assert (await log.open(ROOM)).records[-1].version == last.base + len(last.records)


async def test_the_write_ahead_log_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appends that never pause leave a checkpoint beside them no moment to finish: the writer's does."""
    monkeypatch.setattr(sqlite_checkpoints, "PAGES", 20)
    monkeypatch.setattr(
        "gateway.log.sqlite_store.WRITER_PRAGMAS", ("journal_mode = WAL", "wal_autocheckpoint = 80")
    )
    async with opened(tmp_path) as log:
        last = batch(await log.open(ROOM), record(1))
        await committed(log, last)
        for version in range(2, 1500):
            last = batch(last, record(version, value="x" * 5000))
            await committed(log, last)
        assert (tmp_path / FILES[1]).stat().st_size < 4 << 20


async def test_a_purge_beside_checkpoints_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "PAGES", 1)
    async with opened(tmp_path) as log:
        for number in range(30):
            secret = f"secret-{number}-" * 2000
            await committed(log, batch(await log.open(ROOM), record(1, value=secret)))
            await log.purge(ROOM)
            for name in FILES:
                assert f"secret-{number}-".encode() not in (tmp_path / name).read_bytes(), name
