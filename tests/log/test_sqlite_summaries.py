"""The embedded index of summaries: pages by calendar and time, old news, and what it is behind of."""

from __future__ import annotations

import random

from gateway.log.sqlite import SqliteLog
from gateway.log.sqlite_summaries import SqliteSummaries, query
from gateway.ports import Batch, Record
from gateway.ports.summaries import Cursor, Listing, Summary

DAY_MS = 86_400_000


def event(number: int, start_ms: int | None = None, hours: int = 1, **further: object) -> Summary:
    end_ms = None if start_ms is None else start_ms + hours * 3_600_000
    fields = {"calendar_id": "7", "title": f"Event {number}", "start_ms": start_ms, "end_ms": end_ms}
    return Summary("event", f"{number:06}", 1, 1, False)._replace(**(fields | further))


async def ids(summaries: SqliteSummaries, **wanted: object) -> list[str]:
    return [found.id for found in await summaries.listed(Listing("event", 1000)._replace(**wanted))]


async def made(tmp_path):
    return SqliteLog(tmp_path), SqliteSummaries(tmp_path)


async def test_a_window_takes_what_overlaps_it_and_keeps_the_order(tmp_path):
    log, summaries = await made(tmp_path)
    await summaries.store(
        [
            event(1, 0 * DAY_MS),
            event(2, 1 * DAY_MS, hours=48),  # until day 3
            event(3, 2 * DAY_MS),
            event(4, 2 * DAY_MS, hours=0),  # an instant
            event(5, 5 * DAY_MS),
            event(6),  # no time
            event(7, 2 * DAY_MS, calendar_id="8"),
            event(8, 2 * DAY_MS, deleted=True),
            event(9, -400 * DAY_MS, hours=401 * 24),  # over a year, until day 1
            event(10, -400 * DAY_MS, hours=500 * 24, calendar_id="9"),
        ]
    )
    assert await ids(summaries, from_ms=2 * DAY_MS, to_ms=3 * DAY_MS) == [
        "000010",
        "000002",
        "000003",
        "000004",
        "000007",
    ]
    window = {"calendar_id": "7", "from_ms": 2 * DAY_MS}
    assert await ids(summaries, **window, to_ms=3 * DAY_MS) == ["000002", "000003", "000004"]
    assert await ids(summaries, **window) == ["000002", "000003", "000004", "000005"]
    assert await ids(summaries, calendar_id="7", from_ms=3 * DAY_MS, to_ms=5 * DAY_MS) == []
    assert await ids(summaries, calendar_id="7") == [f"00000{n}" for n in (9, 1, 2, 3, 4, 5, 6)]
    assert await ids(summaries, from_ms=0, to_ms=DAY_MS) == ["000009", "000010", "000001"]
    assert await ids(summaries, calendar_id="9", from_ms=0, to_ms=DAY_MS) == ["000010"]
    await summaries.aclose()
    await log.aclose()


async def test_pages_meet_without_gap_or_repetition(tmp_path):
    log, summaries = await made(tmp_path)
    rng = random.Random(1)
    await summaries.store([event(n, rng.choice((None, rng.randrange(10) * DAY_MS))) for n in range(200)])
    whole = await summaries.listed(Listing("event", 1000))
    pages: list[Summary] = []
    while page := await summaries.listed(
        Listing("event", 7, after=Cursor(pages[-1].start_ms, pages[-1].id) if pages else None)
    ):
        pages += page
    assert pages == list(whole)
    assert len(whole) == 200
    await summaries.aclose()
    await log.aclose()


async def test_older_news_change_nothing_and_a_new_epoch_does(tmp_path):
    log, summaries = await made(tmp_path)
    await summaries.store([event(1, 0, version=5, title="new")])
    await summaries.store([event(1, 0, version=4, title="old")])
    assert [found.title for found in await summaries.listed(Listing("event", 10))] == ["new"]
    await summaries.store([event(1, 0, epoch=2, version=0, deleted=True)])
    assert await ids(summaries) == []
    await summaries.aclose()
    await log.aclose()


async def test_it_knows_what_it_is_behind_of(tmp_path):
    log, summaries = await made(tmp_path)
    for name in ("event:1", "event:2"):
        opening = await log.open(name)
        record = Record(1, b'{"version":1}', "ann", "c", None, "", 1, None)
        await log.append([Batch(name, opening.epoch, 0, name, [record])])
    assert sorted(await summaries.behind(10)) == ["event:1", "event:2"]
    epoch = (await log.open("event:1")).epoch
    await summaries.store([Summary("event", "1", epoch, 1, False)])
    assert await summaries.behind(10) == ["event:2"]
    assert len(await summaries.behind(1)) == 1
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
        assert summaries._connection is not None
        plan = summaries._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        told = " ".join(str(row[3]) for row in plan)
        assert by in told
        assert "TEMP B-TREE" not in told  # no sort
        found = await summaries.listed(wanted)
        assert all(29 * DAY_MS <= each.start_ms < 60 * DAY_MS for each in found)
        assert len(found) > 20
    await summaries.aclose()
    await log.aclose()
