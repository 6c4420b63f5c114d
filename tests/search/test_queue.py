"""What searches and lists lack, in a real PostgreSQL whose language sorts names otherwise than bytes do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import psycopg
import trio

from gateway.log.archive import Transfer
from gateway.log.postgres.archive import PostgresArchive, _Storing, migrate
from gateway.log.postgres.summaries import PostgresSummaries
from gateway.log.search.queue import Generation, SearchQueue, added, generations, refilled, switched
from gateway.ports import Record
from gateway.ports.search import Erasure
from gateway.ports.summaries import Summary
from gateway.runtime import timeslice
from gateway.wire.announcement import Announcement
from tests.servers import shared_postgres
from tests.steps import steps_of_ours
from tests.waiting import until

ENGLISH = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
NAMES = ["event:b", "event:C", "event:_", "event:a", "event:D"]
WAITING = """
SELECT 1 FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND NOT granted
AND relation = 'gateway.search_due'::regclass AND database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
)
"""
HOLD = "SELECT FROM gateway.search_due WHERE name = %s FOR UPDATE"


def changes(version: int, text: str = "") -> Transfer:
    """A change of each resource, the document to this text."""
    operations = [{"op": "add", "path": "", "value": text}] if text else []
    body = orjson.dumps({"version": version, "operations": operations})
    record = Record(version, body, "ann", "tab", None, "digest", 1, None)
    return Transfer(changes=[Announcement(name, 1, version - 1, f"{version}", [record]) for name in NAMES])


@asynccontextmanager
async def indexed() -> AsyncIterator[tuple[str, PostgresArchive]]:
    """An archive with a change of each resource, due for its first index."""
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        await added(archive, 1, first=True)
        await archive.store(changes(1))
        yield dsn, archive
        await archive.aclose()


async def someone_waits(dsn: str) -> None:
    """Until somebody waits for all who note what is due."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        await until(lambda: connection.execute(WAITING).fetchone())


async def test_the_archive_and_who_indexes_wait_for_each_other_in_one_order():
    with shared_postgres().database(ENGLISH) as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        try:
            await added(archive, 1, first=True)
            await archive.store(changes(1))
            for version, held in enumerate(NAMES, 2):
                queue = SearchQueue(archive, 1)
                taken = await queue.take(100)
                assert len(taken.changes) == len(NAMES)
                with psycopg.connect(dsn) as connection:
                    connection.execute(HOLD, (held,))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(queue.done, taken, {})
                        nursery.start_soon(archive.store, changes(version))
                        await trio.sleep(0.3)
                        connection.rollback()
        finally:
            await archive.aclose()


async def test_the_archive_and_who_writes_summaries_wait_for_each_other_in_one_order():
    with shared_postgres().database(ENGLISH) as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        summaries = PostgresSummaries(archive)
        try:
            await archive.store(changes(1))
            for version, held in enumerate(NAMES, 2):
                written = [Summary("event", name[6:], 1, version - 1, False) for name in NAMES]
                with psycopg.connect(dsn) as connection:
                    connection.execute(HOLD.replace("search_due", "summary_due"), (held,))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(summaries.store, written)
                        nursery.start_soon(archive.store, changes(version))
                        await trio.sleep(0.3)
                        connection.rollback()
        finally:
            await archive.aclose()


async def test_an_index_of_a_large_archive_is_begun_filled_and_switched_however_long_that_takes(monkeypatch):
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive, hurried = PostgresArchive(dsn), PostgresArchive(dsn)
        await archive.store(changes(1))
        for work in (added, refilled, switched):
            with psycopg.connect(dsn) as connection:
                connection.execute("LOCK TABLE gateway.search_due IN ACCESS EXCLUSIVE MODE")
                with monkeypatch.context() as patch:
                    patch.setattr("gateway.log.postgres.archive.STATEMENT_TIMEOUT_S", 1)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(work, hurried, 1)
                        await trio.sleep(1.5)
                        connection.rollback()
        assert await generations(archive) == [Generation(1, 1, True)]
        assert len((await SearchQueue(archive, 1).take(100)).changes) == len(NAMES)
        await hurried.aclose()
        await archive.aclose()


async def test_what_is_archived_for_the_first_time_while_an_index_is_begun_is_due_for_it():
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        with psycopg.connect(dsn) as connection:
            connection.execute("BEGIN")
            _Storing(connection).store(changes(1))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(added, archive, 1)
                await someone_waits(dsn)
                connection.commit()
        assert len((await SearchQueue(archive, 1).take(100)).changes) == len(NAMES)
        await archive.aclose()


async def test_what_was_due_already_stays_as_old_where_an_index_is_filled_again():
    """So `gateway reindex` goes on until all of it is there, be its index made anew by a worker meanwhile."""
    async with indexed() as (dsn, archive):
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE gateway.search_due SET since = clock_timestamp() - interval '1 hour'")
        queue = SearchQueue(archive, 1)
        await refilled(archive, 1)
        assert await queue.lag_s() > 1800
        await queue.done(await queue.take(100), {})
        assert await queue.lag_s() == 0
        await refilled(archive, 1)
        assert 0 < await queue.lag_s() < 1800


async def test_what_may_have_come_into_an_index_before_a_purge_is_erased_after_it():
    """Who took it on stored it, and could tell nobody."""
    async with indexed() as (_, archive):
        queue, other = SearchQueue(archive, 1), SearchQueue(archive, 1)
        assert (await queue.take(100)).erasures == []
        await archive.store(Transfer(purges=[Announcement(name, 2, 0, "p", ()) for name in NAMES[:2]]))
        again = await queue.take(100)
        assert sorted(again.erasures) == sorted(Erasure(name, 2) for name in NAMES[:2])
        assert sorted(change.name for change in again.changes) == sorted(NAMES[2:])
        await queue.done(again, {})
        assert (await other.take(100)).token == []


async def test_what_is_written_all_the_time_lags_by_what_came_since_it_was_taken_on():
    async with indexed() as (dsn, archive):
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE gateway.search_due SET since = clock_timestamp() - interval '1 hour'")
        queue = SearchQueue(archive, 1)
        assert await queue.lag_s() > 1800
        taken = await queue.take(100)
        await archive.store(changes(2))
        await queue.done(taken, {})
        assert 0 < await queue.lag_s() < 1800
        assert len((await queue.take(100)).changes) == len(NAMES)


async def test_a_step_ends_at_its_bytes_and_what_it_has_no_room_for_is_left_to_others(monkeypatch):
    """The oldest resources have a change in it each, before any has two."""
    monkeypatch.setattr("gateway.log.search.queue.BYTES_A_STEP", 3000)
    monkeypatch.setattr("gateway.log.search.queue.ROWS_AT_ONCE", 2)
    async with indexed() as (_, archive):
        for version in range(2, 5):
            await archive.store(changes(version, "x" * 1000))
        queue, other = SearchQueue(archive, 1), SearchQueue(archive, 1)
        taken = await queue.take(100)
        assert [change.version for change in taken.changes] == [1] * 5 + [2] * 3
        await queue.done(taken, {})
        seen = [*taken.changes]
        taken, others = await queue.take(100), await other.take(100)
        assert [change.version for change in taken.changes] == [3, 3, 3]
        assert [change.version for change in others.changes] == [2, 2, 3]
        await other.done(others, {})
        seen += others.changes
        while taken.token:
            await queue.done(taken, {})
            seen += taken.changes
            taken = await queue.take(100)
            assert len(taken.changes) <= 3
        assert sorted((change.name, change.version) for change in seen) == sorted(
            (name, version) for name in NAMES for version in range(1, 5)
        )
        assert await queue.lag_s() == 0


async def test_of_what_is_large_no_resource_waits_for_all_of_another(monkeypatch):
    """A step has room for two changes: who had none in the one before comes first."""
    monkeypatch.setattr("gateway.log.search.queue.BYTES_A_STEP", 1500)
    monkeypatch.setattr("gateway.log.search.queue.ROWS_AT_ONCE", 2)
    async with indexed() as (_, archive):
        for version in range(2, 6):
            await archive.store(changes(version, "x" * 1000))
        queue = SearchQueue(archive, 1)
        newest: dict[str, int] = {}
        for _ in range(4):
            taken = await queue.take(100)
            newest |= {change.name: change.version for change in taken.changes}
            await queue.done(taken, {})
        assert sorted(newest) == sorted(NAMES)
        assert min(newest.values()) == 2


async def test_what_has_to_go_goes_though_the_step_has_no_room_for_what_came_in_its_place(monkeypatch):
    async with indexed() as (_, archive):
        queue = SearchQueue(archive, 1)
        await queue.done(await queue.take(100), {})
        await archive.store(changes(2))
        await archive.store(Transfer(purges=[Announcement(name, 2, 0, "p", ()) for name in NAMES[:2]]))
        again = [Announcement(name, 2, 0, "a", changes(1).changes[0].records) for name in NAMES[:2]]
        await archive.store(Transfer(changes=again))
        monkeypatch.setattr("gateway.log.search.queue.BYTES_A_STEP", 1)
        taken = await queue.take(100)
        assert len(taken.changes) == 1
        assert sorted(taken.erasures) == sorted(Erasure(name, 2) for name in NAMES[:2])


async def test_others_run_while_a_document_is_made_of_many_changes(monkeypatch):
    monkeypatch.setattr(timeslice, "SLICE_S", 0.0)
    async with indexed() as (_, archive):
        for version in range(2, 40):
            await archive.store(changes(version, f"text {version}"))
        with steps_of_ours() as steps:
            found = await SearchQueue(archive, 1).document(NAMES[0])
        assert found is not None
        assert (found.version, found.document) == (39, "text 39")
        assert steps.count > 38
