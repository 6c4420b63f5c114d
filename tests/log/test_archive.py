"""The archiver, between an outbox in memory and a real PostgreSQL."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from gateway.errors import LogDamaged, LogTrimmed, LogUnavailable
from gateway.log.archive import ArchiveEntry, Archiver, Kind, Mark, SavedSnapshot
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.ports import Opening, Record, Snapshot
from gateway.wire.announcement import Announcement
from tests.contracts.log_contract import NOW_MS, ROOM, record
from tests.servers import postgres_server, shared_postgres
from tests.waiting import unawaited, until


class MemoryOutbox:
    """Outboxes of a log, the resources `event:N` being of partition N modulo 4."""

    def __init__(self) -> None:
        self.entries: dict[int, list[ArchiveEntry]] = {number: [] for number in range(4)}
        self.documents: dict[tuple[str, int, int], bytes] = {}
        self.records: dict[str, list[Record]] = {}
        self.bases: dict[str, SavedSnapshot] = {}
        self.heads: dict[str, tuple[int, int]] = {}
        self.released = False
        self.damaged: set[int] = set()
        self.trouble = ""
        self.taken_without: set[int] = set()
        self.failure: Exception | None = None
        self.unreadable: set[str] = set()  # resources whose changes aren't what was written

    def add(self, kind: Kind, news: Announcement) -> None:
        entries = self.entries[int(news.resource.partition(":")[2]) % len(self.entries)]
        entries.append(ArchiveEntry(f"{len(entries)}", kind, news, NOW_MS, 1))

    def append(self, resource: str, *records: Record, epoch: int = 1, nonce: str | None = None) -> None:
        base = records[0].version - 1
        self.add("change", Announcement(resource, epoch, base, nonce or f"{epoch}-{base}", records))

    @property
    def waiting(self) -> int:
        return sum(map(len, self.entries.values()))

    async def take(self, count: int, without: Collection[int] = ()) -> Mapping[int, Sequence[ArchiveEntry]]:
        await trio.lowlevel.checkpoint()
        self.taken_without = set(without)
        if self.failure is not None:
            raise self.failure
        return {number: found[:count] for number, found in self.entries.items() if number not in without}

    async def document(self, resource: str, epoch: int, version: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.documents.get((resource, epoch, version))

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        if resource in self.unreadable:
            raise LogDamaged(f"a batch of {resource}")
        return [found for found in self.records.get(resource, ()) if found.version > after][:limit]

    async def kept(self, resource: str) -> SavedSnapshot | None:
        await trio.lowlevel.checkpoint()
        return self.bases.get(resource)

    async def done(self, marks: Mapping[int, Mark]) -> None:
        await trio.lowlevel.checkpoint()
        for number, mark in marks.items():
            ids = [entry.id for entry in self.entries[number]]
            del self.entries[number][: ids.index(mark.last_id) + 1]
            self.heads.update(mark.heads)

    async def release(self) -> None:
        await trio.lowlevel.checkpoint()
        self.released = True


@asynccontextmanager
async def archiver() -> AsyncIterator[tuple[Archiver, MemoryOutbox, PostgresArchive]]:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        outbox, store = MemoryOutbox(), PostgresArchive(dsn)
        yield Archiver(outbox, store, wall_ms=lambda: NOW_MS + 1500), outbox, store
        await store.aclose()


async def test_changes_of_all_partitions_are_moved_in_order_and_dropped() -> None:
    async with archiver() as (moving, outbox, store):
        for n in range(10):
            outbox.append(f"event:{n}", record(1), record(2))
            outbox.append(f"event:{n}", record(3))
        while await moving.step():
            pass
        assert outbox.waiting == 0
        assert outbox.heads == {f"event:{n}": (1, 3) for n in range(10)}
        for n in range(10):
            assert await store.read(f"event:{n}", 0, 9) == [record(1), record(2), record(3)]
        assert (moving.numbers.changes, moving.numbers.gaps, moving.numbers.waiting) == (30, 0, 0)


async def test_snapshots_epochs_and_purges_are_moved() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.append(ROOM, record(1), record(2))
        outbox.documents[ROOM, 1, 2] = b'{"title": "x"}'
        outbox.add("snapshot", Announcement(ROOM, 1, 2, "", ()))
        outbox.add("snapshot", Announcement(ROOM, 1, 1, "", ()))  # the log has dropped this one
        outbox.add("epoch", Announcement(ROOM, 5, 2, "", ()))
        outbox.append(ROOM, record(3), epoch=5)
        outbox.append("event:7", record(1))
        outbox.add("purge", Announcement("event:7", 8, 0, "", ()))
        await moving.step()
        assert await store.snapshot(ROOM, 9) == Snapshot(2, b'{"title": "x"}')
        assert await store.heads([ROOM, "event:7"]) == {ROOM: (5, 3), "event:7": (8, 0)}
        assert outbox.heads == {ROOM: (5, 3), "event:7": (8, 0)}


async def test_what_the_outbox_never_had_is_filled_from_the_log() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.records[ROOM] = [record(n) for n in range(1, 8)]
        outbox.append(ROOM, record(6), record(7))
        await moving.step()
        assert await store.read(ROOM, 0, 99) == outbox.records[ROOM]
        assert moving.numbers.gaps == 0


async def test_what_nobody_has_any_more_is_counted_and_the_rest_is_archived() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.records[ROOM] = [record(5), record(6)]
        outbox.append(ROOM, record(6))
        await moving.step()
        assert [found.version for found in await store.read(ROOM, 5, 99)] == [6]
        with pytest.raises(LogTrimmed, match="changes up to version 5 aren't kept"):
            await store.read(ROOM, 0, 99)
        assert moving.numbers.gaps == 1
        assert outbox.waiting == 0


async def test_what_the_log_keeps_after_its_oldest_document_is_archived_with_that() -> None:
    async with archiver() as (moving, outbox, store):
        base = Snapshot(700, b'{"at":700}')
        outbox.records[ROOM] = [record(n) for n in range(701, 721)]
        outbox.bases[ROOM] = SavedSnapshot(ROOM, 1, base)
        outbox.append(ROOM, record(721))
        await moving.step()
        assert await store.open(ROOM) == Opening(1, base, [record(n) for n in range(701, 722)])
        assert moving.numbers.gaps == 1


async def test_a_document_beyond_what_is_archived_is_not_taken_for_its_beginning() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.records[ROOM] = [record(9)]
        outbox.bases[ROOM] = SavedSnapshot(ROOM, 1, Snapshot(8, b"{}"))
        outbox.append(ROOM, record(6))
        await moving.step()
        assert await store.snapshot(ROOM, 99) == Snapshot(0, b"null")
        with pytest.raises(LogDamaged, match=f"archived history of {ROOM} after version 0"):
            await store.open(ROOM)


async def test_what_came_before_another_epoch_is_filled_from_the_log_too() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.records[ROOM] = [record(n) for n in range(1, 8)]
        outbox.add("epoch", Announcement(ROOM, 5, 7, "", ()))
        outbox.append(ROOM, record(8), epoch=5)
        await moving.step()
        assert await store.read(ROOM, 0, 99) == [record(n) for n in range(1, 9)]


async def test_a_mismatch_stops_its_partition_and_no_other() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.append("event:1", record(1), nonce="mine")
        await moving.step()
        outbox.append("event:1", record(1, value="other"), nonce="theirs")
        outbox.append("event:2", record(1))
        await moving.step()
        assert moving.numbers.blocked == {1}
        assert outbox.waiting == len(outbox.entries[1]) == 1
        outbox.append("event:1", record(2))
        outbox.append("event:2", record(2))
        await moving.step()
        assert outbox.taken_without == {1}
        assert outbox.waiting == len(outbox.entries[1]) == 2
        assert await store.heads(["event:1", "event:2"]) == {"event:1": (1, 1), "event:2": (1, 2)}
        assert (moving.lag_ms, moving.numbers.waiting) == (1500, 1), "of those that can be moved"


async def test_a_partition_that_stands_still_goes_on_when_what_is_in_the_way_was_removed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.log.archive.REST_S", 0)
    async with archiver() as (moving, outbox, store):
        outbox.append("event:1", record(1), nonce="mine")
        await moving.step()
        outbox.append("event:1", record(1, value="other"), nonce="theirs")
        for _ in range(3):
            await moving._turn()
            assert moving.numbers.blocked == {1}
            assert moving.numbers.trouble.startswith("partitions 1 stand still, for it holds other changes")
        assert moving.lag_ms == 0
        assert caplog.text.count("partition 1 isn't archived nor trimmed") == 1
        await store.run(lambda connection: connection.execute("DELETE FROM gateway.change"), "none")
        await moving._turn()
        assert (moving.numbers.blocked, moving.numbers.trouble, outbox.waiting) == (set(), "", 0)
        assert await store.read("event:1", 0, 9) == [record(1, value="other")]


async def test_a_gap_before_what_stands_still_is_told_once_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.log.archive.REST_S", 0)
    async with archiver() as (moving, outbox, store):
        outbox.append("event:1", record(1), nonce="mine")
        await moving.step()
        outbox.append("event:5", record(6))  # nobody has what came before
        outbox.append("event:1", record(1, value="other"), nonce="theirs")
        for _ in range(3):
            await moving.step()
        assert (moving.numbers.blocked, moving.numbers.gaps) == ({1}, 0)
        await store.run(lambda connection: connection.execute("DELETE FROM gateway.change"), "none")
        await moving.step()
        assert (moving.numbers.blocked, moving.numbers.gaps, outbox.waiting) == (set(), 1, 0)


async def test_a_purge_erases_what_the_archive_could_not_take_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.log.archive.REST_S", 0)
    async with archiver() as (moving, outbox, store):
        outbox.append("event:1", record(1), nonce="mine")
        await moving.step()
        outbox.append("event:1", record(1, value="other"), nonce="theirs")
        outbox.append("event:5", record(1))
        outbox.documents["event:1", 1, 1] = b"{}"
        outbox.add("snapshot", Announcement("event:1", 1, 1, "", ()))
        await moving.step()
        assert moving.numbers.blocked == {1}
        outbox.add("purge", Announcement("event:1", 8, 0, "", ()))
        outbox.append("event:1", record(1, value="new"), epoch=8)
        await moving.step()
        assert (moving.numbers.blocked, outbox.waiting) == (set(), 0)
        assert await store.read("event:1", 0, 9) == [record(1, value="new")]
        assert await store.snapshot("event:1", 9) == Snapshot(0, b"null")
        assert await store.read("event:5", 0, 9) == [record(1)]


async def test_what_is_damaged_in_the_log_has_its_partition_rest_and_no_other_until_it_is_purged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with archiver() as (moving, outbox, store):
        outbox.unreadable.add("event:1")
        outbox.append("event:1", record(2))  # what came before it is to be filled from the log
        outbox.append("event:2", record(1))
        await moving.step()
        assert outbox.waiting == len(outbox.entries[1]) == 1
        assert await store.heads(["event:1", "event:2"]) == {"event:2": (1, 1)}
        outbox.append("event:2", record(2))
        await moving._turn()
        assert outbox.taken_without == {1}
        assert (moving.numbers.blocked, moving.numbers.waiting) == (set(), 2)
        assert moving.numbers.trouble == "something damaged is in the way of partitions 1"
        assert moving.lag_ms >= 1500
        outbox.unreadable.clear()
        outbox.add("purge", Announcement("event:1", 5, 0, "", ()))
        monkeypatch.setattr("trio.current_time", lambda: math.inf)  # it has rested
        await moving._turn()
        assert outbox.waiting == 0
        assert await store.heads(["event:1", "event:2"]) == {"event:1": (5, 0), "event:2": (1, 2)}
        assert (moving.numbers.waiting, moving.numbers.trouble) == (2, "")


async def test_documents_of_one_step_are_bounded_and_the_rest_comes_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.log.archive.DOCUMENTS_BYTES_MAX", 2500)
    names = [f"event:{4 * number}" for number in range(4)] + [
        f"event:{4 * number + 1}" for number in range(2)
    ]
    async with archiver() as (moving, outbox, store):
        for name in names:
            outbox.append(name, record(1))
            outbox.documents[name, 1, 1] = b'"%s"' % (b"x" * 998)
            outbox.add("snapshot", Announcement(name, 1, 1, "", ()))
        left = []
        while outbox.waiting:
            await moving.step()
            left.append(outbox.waiting)
        assert left == [6, 0], "three documents at a time, and the changes before them"
        assert [(await store.snapshot(name, 1)).version for name in names] == [1] * 6


async def test_what_was_stored_but_not_dropped_is_moved_again_without_harm() -> None:
    async with archiver() as (moving, outbox, store):
        outbox.append(ROOM, record(1))
        entries = list(outbox.entries[2])
        await moving.step()
        outbox.entries[2][:0] = entries
        outbox.append(ROOM, record(2))
        await Archiver(outbox, store).step()
        assert outbox.waiting == 0
        assert await store.heads([ROOM]) == {ROOM: (1, 2)}


async def test_lag_is_the_age_of_the_oldest_entry() -> None:
    async with archiver() as (moving, outbox, _):
        outbox.append(ROOM, record(1))
        await moving.step()
        assert (moving.lag_ms, moving.numbers.waiting) == (1500, 1)
        await moving.step()
        assert (moving.lag_ms, moving.numbers.waiting) == (0, 0)


@pytest.mark.parametrize("failure", [LogUnavailable("down", "none"), ValueError("bytes that nobody made")])
async def test_it_waits_while_an_end_fails_and_lets_go_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr("gateway.log.archive.RETRY_INTERVAL_S", 0.01)
    async with archiver() as (moving, outbox, _), unawaited() as nursery:
        outbox.failure = failure
        outbox.append(ROOM, record(1))
        await nursery.start(moving.run)
        await until(lambda: moving.numbers.failures >= 2)
        outbox.failure = None
        await until(lambda: not outbox.waiting)
    assert outbox.released


async def test_a_part_of_the_log_that_is_away_is_told_and_lags_while_the_rest_is_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.log.archive.IDLE_INTERVAL_S", 0.01)
    async with archiver() as (_, outbox, store), unawaited() as nursery:
        now_ms = NOW_MS
        moving = Archiver(outbox, store, wall_ms=lambda: now_ms)
        outbox.trouble = "redis: away"
        outbox.append(ROOM, record(1))
        await nursery.start(moving.run)
        await until(lambda: not outbox.waiting and moving.numbers.trouble == "redis: away")
        now_ms += 5000
        assert moving.lag_ms >= 5000
        assert (moving.numbers.failures, moving.numbers.store_away) == (0, False)
        outbox.trouble = ""
        await until(lambda: not moving.numbers.trouble)
        assert moving.lag_ms == 0


async def test_an_archive_that_is_away_is_told_apart_from_the_log() -> None:
    with postgres_server("fsync=off") as server, server.database() as dsn:
        migrate(dsn)
        outbox, store = MemoryOutbox(), PostgresArchive(dsn)
        moving = Archiver(outbox, store)
        outbox.append(ROOM, record(1))
        async with unawaited() as nursery:
            server.kill()
            await nursery.start(moving.run)
            await until(lambda: moving.numbers.store_away)
            server.start()
            await until(lambda: not moving.numbers.store_away)
        assert await store.heads([ROOM]) == {ROOM: (1, 1)}
        await store.aclose()


async def test_an_archive_that_is_away_is_logged_once_and_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("gateway.log.archive.RETRY_INTERVAL_S", 0.01)
    monkeypatch.setattr("gateway.log.archive.IDLE_INTERVAL_S", 0.01)
    async with archiver() as (moving, outbox, _), unawaited() as nursery:
        outbox.failure = LogUnavailable("redis: away")
        await nursery.start(moving.run)
        await until(lambda: moving.numbers.failures > 3)
        outbox.failure = None
        await until(lambda: not moving.numbers.trouble)
    told = [line for line in caplog.messages if line.startswith("the archive waits")]
    assert told == ["the archive waits: redis: away", "the archive waits no longer"]
