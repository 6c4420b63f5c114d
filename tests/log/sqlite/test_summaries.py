"""The embedded index of summaries: the contract, what it is behind of, and that it walks along an index."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.errors import IndexLost
from gateway.log.sqlite import summaries as sqlite_summaries
from gateway.log.sqlite import writer
from gateway.log.sqlite.log import SqliteLog
from gateway.log.sqlite.summaries import INDEX, SqliteSummaries, query
from gateway.ports import Batch, Record
from gateway.ports.search import Scope
from gateway.ports.summaries import Behind, Listing, Summary
from tests.contracts.summaries_contract import DAY_MS, SummariesContract, event
from tests.log.sqlite.parts import garble


async def made(tmp_path):
    return SqliteLog(tmp_path), SqliteSummaries(tmp_path)


class TestSqliteSummaries(SummariesContract):
    module = sqlite_summaries

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path

    @asynccontextmanager
    async def summaries(self) -> AsyncIterator[SqliteSummaries]:
        log, summaries = await made(self.path)
        yield summaries
        await summaries.aclose()
        await log.aclose()


@pytest.mark.parametrize("tail", [1, 2000])
async def test_it_knows_what_it_is_behind_of(tmp_path, monkeypatch, tail):
    """Be it placed in the log, or not yet."""
    monkeypatch.setattr(writer, "TAIL_MAX", tail)
    log, summaries = await made(tmp_path)
    for name in ("event:1", "event:2"):
        opening = await log.open(name)
        record = Record(1, b'{"version":1}', "ann", "c", None, "", 1, None)
        await log.append([Batch(name, opening.epoch, 0, name, [record])])
    found = await summaries.behind(10)
    assert (sorted(found.names), found.is_all) == (["event:1", "event:2"], True)
    epoch = (await log.open("event:1")).epoch
    await summaries.store([Summary("event", "1", epoch, 1, False)])
    assert await summaries.behind(10) == Behind(["event:2"], True)
    assert await summaries.behind(1) == Behind(["event:2"], False)
    assert await summaries.behind(1, ["event:2", "event:7"]) == Behind([], True)
    for version in (2, 3):
        record = Record(version, b'{"version":1}', "ann", "c", None, "", 1, None)
        await log.append([Batch("event:1", epoch, version - 1, f"{version}", [record])])
        assert await summaries.behind(10, ["event:2"]) == Behind(["event:1"], True)
        await summaries.store([Summary("event", "1", epoch, version, False)])
        assert await summaries.behind(10, ["event:2"]) == Behind([], True)
    await summaries.aclose()
    await log.aclose()


async def test_a_month_of_many_events_is_read_from_an_index(tmp_path):
    log, summaries = await made(tmp_path)
    for begin in range(0, 20_000, 1000):
        await summaries.store(
            [event(n, (n % 700) * DAY_MS, calendar_id=str(n % 20)) for n in range(begin, begin + 1000)]
        )
    for wanted, by in (
        (Listing("event", 100, "3", 30 * DAY_MS, 60 * DAY_MS), "summary_by_calendar"),
        (Listing("event", 100, None, 30 * DAY_MS, 60 * DAY_MS), "summary_by_start"),
    ):
        statement, values = query(wanted)
        assert summaries._database._connection is not None
        plan = summaries._database._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        told = " ".join(str(row[3]) for row in plan)
        assert by in told
        assert "TEMP B-TREE" not in told  # no sort
        found = await summaries.listed(wanted)
        assert all(29 * DAY_MS <= each.start_ms < 60 * DAY_MS for each in found)
        assert len(found) > 20
    await summaries.aclose()
    await log.aclose()


async def test_who_may_read_little_never_has_it_look_at_the_rest(tmp_path):
    log, summaries = await made(tmp_path)
    for begin in range(0, 20_000, 1000):
        await summaries.store([event(n, n * DAY_MS) for n in range(begin, begin + 1000)])
    taken = []
    some = Scope(frozenset({"event:019999"}), frozenset({"event:01234"}))
    for scope in (some, some._replace(prefixes=frozenset({"calendar:"}))):
        steps = 0

        def step():
            nonlocal steps
            steps += 1

        summaries._database._connection.set_progress_handler(step, 10)
        await summaries.listed(Listing("event", 100, from_ms=0, scope=scope))
        taken.append(steps)
    assert max(taken) < 300, taken
    await summaries.aclose()
    await log.aclose()


# Where SQLite finds nothing wrong: no JSON, no text, no summary.
BODIES = {
    name: f"UPDATE summary SET body = {body} WHERE name = 'event:000007'"
    for name, body in {
        "a letter": "CAST(replace(CAST(body AS TEXT), '\"', '!') AS BLOB)",
        "a byte": "CAST(substr(body, 1, 2) || x'ff' || substr(body, 4) AS BLOB)",
        "a comma": "CAST('[\"event\",1]' AS BLOB)",
        "a bracket": "CAST('7' AS BLOB)",
    }.items()
}


async def made_anew(summaries: SqliteSummaries, wanted: Listing) -> None:
    """What it had is told as lost, once."""
    with pytest.raises(IndexLost, match="it is made again"):
        await summaries.listed(wanted)
    assert await summaries.listed(wanted) == []
    await summaries.store([event(1, DAY_MS)])
    assert len(await summaries.listed(wanted)) == 1


@pytest.mark.parametrize("at", [18, 47])  # of what is written, and of the schema
async def test_one_of_a_format_that_is_yet_to_come_is_made_anew(tmp_path, at):
    log, summaries = await made(tmp_path)
    await summaries.store([event(1, DAY_MS)])
    await summaries.aclose()
    with (tmp_path / INDEX).open("r+b") as file:
        file.seek(at)
        file.write(b"\x05")
    with pytest.raises(IndexLost, match="it is made again"):
        await summaries.store([event(2, DAY_MS)])
    await summaries.store([event(3, DAY_MS)])
    assert [found.id for found in await summaries.listed(Listing("event", 100))] == [event(3, DAY_MS).id]
    await summaries.aclose()
    await log.aclose()


@pytest.mark.parametrize("damage", ["in use", "garbled", "no database", "an older format", *BODIES])
async def test_what_is_damaged_is_made_anew(tmp_path, damage):
    log, summaries = await made(tmp_path)
    everything = Listing("event", 100)
    await summaries.store([event(n, n * DAY_MS) for n in range(2000)])
    if damage == "in use":
        connection = summaries._database._connection
        connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("PRAGMA shrink_memory")
        garble(tmp_path / INDEX)
    else:
        await summaries.aclose()
        if damage == "garbled":
            garble(tmp_path / INDEX)
        elif damage == "no database":
            (tmp_path / INDEX).write_bytes(b"no database at all" * 1000)
        else:
            with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as connection:
                connection.execute(BODIES.get(damage, "PRAGMA user_version = 1"))
    await made_anew(summaries, everything)
    await summaries.aclose()
    await log.aclose()
