"""The index of summaries in a real PostgreSQL: the contract, who makes up for what is missing, its plans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from gateway.log.archive import Transfer
from gateway.log.postgres import summaries as postgres_summaries
from gateway.log.postgres.archive import PostgresArchive, migrate, migrations
from gateway.log.postgres.summaries import PostgresSummaries, query, values_of
from gateway.ports import Record
from gateway.ports.search import Scope
from gateway.ports.summaries import Behind, Listing, Summary
from gateway.wire.announcement import Announcement
from tests.contracts.log_contract import record
from tests.contracts.summaries_contract import DAY_MS, SummariesContract, event, ids
from tests.servers import shared_postgres


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[PostgresArchive, PostgresSummaries]]:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        yield archive, PostgresSummaries(archive, grace_s=0)
        await archive.aclose()


class TestPostgresSummaries(SummariesContract):
    module = postgres_summaries

    @asynccontextmanager
    async def summaries(self) -> AsyncIterator[PostgresSummaries]:
        async with opened() as (_, summaries):
            yield summaries


def changed(name: str, *records: Record, epoch: int = 1) -> Transfer:
    return Transfer(changes=[Announcement(name, epoch, records[0].version - 1, "n", records)])


NOTHING_DUE = Behind([], True)


async def test_what_is_archived_and_not_listed_is_due_to_one_worker() -> None:
    async with opened() as (archive, summaries):
        for number in range(5):
            await archive.store(changed(f"event:{number}", record(1), record(2)))
        first, second = await summaries.behind(3), await summaries.behind(3)
        assert (len(first.names), first.is_all) == (3, False)
        assert (len(second.names), second.is_all) == (2, False)  # somebody has the others
        assert {*first.names, *second.names} == {f"event:{number}" for number in range(5)}
        await summaries.store([Summary("event", str(number), 1, 2, False) for number in range(5)])
        assert await summaries.behind(3) == NOTHING_DUE


async def test_what_is_passed_over_is_neither_due_nor_waited_for() -> None:
    async with opened() as (archive, summaries):
        for number in range(3):
            await archive.store(changed(f"event:{number}", record(1)))
        passed = ["event:0", "event:1"]
        assert await summaries.behind(1, passed) == Behind(["event:2"], True)
        assert await summaries.behind(9, [*passed, "event:2"]) == NOTHING_DUE
        assert sorted((await summaries.behind(9)).names) == passed


async def test_what_was_listed_before_it_was_archived_is_not_due() -> None:
    async with opened() as (archive, summaries):
        await summaries.store([Summary("event", "1", 1, 2, False), Summary("event", "2", 1, 1, False)])
        await archive.store(changed("event:1", record(1), record(2)))
        await archive.store(changed("event:2", record(1), record(2)))
        assert await summaries.behind(9) == Behind(["event:2"], True)


async def test_an_older_summary_leaves_it_due_and_a_new_epoch_makes_it_due_again() -> None:
    async with opened() as (archive, summaries):
        await archive.store(changed("event:1", record(1), record(2)))
        await summaries.store([Summary("event", "1", 1, 1, False)])
        assert (await summaries.behind(9)).names == ["event:1"]
        await summaries.store([Summary("event", "1", 1, 2, False)])
        await archive.store(Transfer(purges=[Announcement("event:1", 2, 0, "", ())]))
        assert (await summaries.behind(9)).names == ["event:1"]
        await summaries.store([Summary("event", "1", 2, 0, True)])
        assert await summaries.behind(9) == NOTHING_DUE
        assert await ids(summaries) == []


async def test_a_worker_that_has_just_committed_is_given_time() -> None:
    async with opened() as (archive, _):
        patient = PostgresSummaries(archive, grace_s=60)
        await archive.store(changed("event:1", record(1)))
        assert await patient.behind(9) == NOTHING_DUE


async def test_what_a_crashed_worker_took_on_is_taken_on_by_another() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        summaries = PostgresSummaries(archive, grace_s=0)
        await archive.store(changed("event:1", record(1)))
        assert (await summaries.behind(9)).names == ["event:1"]
        assert await summaries.behind(9) == Behind([], False)
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE gateway.summary_due SET claimed_until = now() - interval '1 s'")
        assert (await summaries.behind(9)).names == ["event:1"]
        await archive.aclose()


async def test_an_archive_from_before_the_index_is_due_as_a_whole() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        for number in range(3):
            await archive.store(changed(f"event:{number}", record(1)))
        with psycopg.connect(dsn) as connection:
            connection.execute("DROP TABLE gateway.summary, gateway.summary_due")
            connection.execute("DELETE FROM gateway.migration WHERE version = 2")
        assert migrate(dsn) == [migrations()[1].name]
        found = await PostgresSummaries(archive).behind(9)
        assert (sorted(found.names), found.is_all) == (["event:0", "event:1", "event:2"], True)
        await archive.aclose()


async def test_a_month_of_many_events_is_read_from_an_index() -> None:
    async with opened() as (archive, summaries):
        for begin in range(0, 20_000, 1000):
            await summaries.store(
                [event(n, (n % 700) * DAY_MS, calendar_id=str(n % 20)) for n in range(begin, begin + 1000)]
            )
        await archive.run(lambda connection: connection.execute("ANALYZE gateway.summary"), "none")
        some = Scope(frozenset({"event:019999"}), frozenset({"event:01234"}))
        for wanted, by_name, by in (
            (Listing("event", 100, "3", 30 * DAY_MS, 60 * DAY_MS), False, "summary_by_calendar"),
            (Listing("event", 100, None, 30 * DAY_MS, 60 * DAY_MS), False, "summary_by_start"),
            (Listing("event", 100, None, 0, 1000 * DAY_MS, scope=some), True, "summary_pkey"),
        ):
            told = await planned(archive, wanted, by_name)
            assert by in told
            assert "Seq Scan" not in told
            found = await summaries.listed(wanted)
            assert by_name or all(29 * DAY_MS <= each.start_ms < 60 * DAY_MS for each in found)
            assert len(found) == 11 if by_name else len(found) > 20


async def test_names_are_looked_up_in_a_calendar_that_was_never_analysed() -> None:
    """By calendar each of its events would be sought in the array of names: a second for 5,000 of each."""
    async with opened() as (archive, summaries):
        await archive.run(lambda c: c.execute(_NEVER_ANALYSED), "none")
        await summaries.store([event(n, n * DAY_MS, calendar_id="3") for n in range(1000)])
        named = Scope(frozenset(f"event:{n:06}" for n in range(990, 2000)), frozenset())
        for window in ((None, None), (30 * DAY_MS, 60 * DAY_MS)):
            wanted = Listing("event", 100, "3", *window, scope=named)
            assert "summary_by_calendar" not in await planned(archive, wanted, by_name=True)
        assert len(await summaries.listed(Listing("event", 100, "3", scope=named))) == 10


async def planned(archive: PostgresArchive, wanted: Listing, by_name: bool) -> str:
    """PostgreSQL's plan of a page."""
    explain = f"EXPLAIN {query(wanted, by_name)}".encode()
    lines = await archive.run(lambda c: c.execute(explain, values_of(wanted)).fetchall(), "none")
    return " ".join(line for (line,) in lines)


async def test_no_plan_is_kept_that_was_made_while_a_queue_was_empty() -> None:
    """Such a plan reads the queue once for each row, and stays until a vacuum comes by."""
    async with opened() as (archive, summaries):
        for version in range(1, 12):
            await archive.store(changed("event:1", record(version)))
            await summaries.store([Summary("event", "1", 1, version, False)])
            await summaries.behind(3)
        kept = await archive.run(lambda connection: connection.execute(_KEPT).fetchall(), "none")
        assert kept == []


_NEVER_ANALYSED = b"ALTER TABLE gateway.summary SET (autovacuum_enabled = false)"
_KEPT = b"SELECT statement FROM pg_prepared_statements"
_ANALYSE = b"ANALYZE gateway.summary_due, gateway.summary"


@pytest.mark.parametrize("statement", ["_SETTLE", "_FORGET", "_CLAIM"])
async def test_a_queue_that_was_empty_when_it_was_analysed_is_read_once(statement: str) -> None:
    """PostgreSQL expects one row of it then: what is inside was done once for each that there is."""
    number = 1_000
    names = [f"event:{found}" for found in range(number)]
    listed = [Summary("event", str(found), 1, 1, False) for found in range(number)]
    asked = {"names": names, "grace": 0, "without": [], "limit": number}
    explain = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + getattr(postgres_summaries, statement).encode()
    async with opened() as (archive, summaries):
        for version in (1, 2):
            changes = [Announcement(name, 1, version - 1, "n", [record(version)]) for name in names]
            await archive.store(Transfer(changes=changes))
            if version == 1:
                await summaries.store(listed)
                await archive.run(lambda c: c.execute(_ANALYSE), "none")
        ((plan,),) = await archive.run(lambda c: c.execute(explain, asked).fetchall(), "none")
        assert looked_at(plan[0]["Plan"]) < 20 * number


def looked_at(node: dict[str, Any]) -> float:
    """How many rows the nodes of a plan gave, or threw away."""
    rows = sum(value for key, value in node.items() if key == "Actual Rows" or key.startswith("Rows Removed"))
    return float(node["Actual Loops"] * rows + sum(map(looked_at, node.get("Plans", ()))))
