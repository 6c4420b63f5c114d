"""What every adapter of `Summaries` does. A test module subclasses `SummariesContract` and makes one."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from types import ModuleType

import pytest

from gateway.ports.search import EVERYTHING, Scope
from gateway.ports.summaries import Cursor, Listing, Summaries, Summary

DAY_MS = 86_400_000


def event(number: int, start_ms: int | None = None, hours: int = 1, **further: object) -> Summary:
    end_ms = None if start_ms is None else start_ms + hours * 3_600_000
    fields = {"calendar_id": "7", "title": f"Event {number}", "start_ms": start_ms, "end_ms": end_ms}
    return Summary("event", f"{number:06}", 1, 1, False)._replace(**(fields | further))


async def ids(summaries: Summaries, **wanted: object) -> list[str]:
    return [found.id for found in await summaries.listed(Listing("event", 1000)._replace(**wanted))]


class SummariesContract:
    """See the module's docstring. `summaries` gives an empty index; `module` is the adapter's."""

    module: ModuleType

    def summaries(self) -> AbstractAsyncContextManager[Summaries]:
        raise NotImplementedError

    async def test_a_window_takes_what_overlaps_it_and_keeps_the_order(self) -> None:
        async with self.summaries() as summaries:
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

    async def test_pages_meet_without_gap_or_repetition(self) -> None:
        async with self.summaries() as summaries:
            rng = random.Random(1)
            await summaries.store(
                [event(n, rng.choice((None, rng.randrange(10) * DAY_MS))) for n in range(200)]
            )
            whole = await summaries.listed(Listing("event", 1000))
            pages: list[Summary] = []
            while page := await summaries.listed(
                Listing("event", 7, after=Cursor(pages[-1].start_ms, pages[-1].id) if pages else None)
            ):
                pages += page
            assert pages == list(whole)
            assert len(whole) == 200

    async def test_older_news_change_nothing_and_a_new_epoch_does(self) -> None:
        async with self.summaries() as summaries:
            await summaries.store([event(1, 0, version=5, title="new")])
            await summaries.store([event(1, 0, version=4, title="old")])
            assert [found.title for found in await summaries.listed(Listing("event", 10))] == ["new"]
            await summaries.store([event(1, 0, epoch=2, version=0, deleted=True)])
            assert await ids(summaries) == []

    async def test_what_is_stored_is_given_back(self) -> None:
        async with self.summaries() as summaries:
            text = "Ol\u00e9 \U0001f600 \u2028 \" \\ ' %s \n"
            times = {"start_time": "2030-07-01T09:00:00+02:00", "end_time": "9999-12-31T23:59:59Z"}
            given = [
                event(1, -62_135_596_800_000, title=text, **times),
                event(2, 0, title=None),
                Summary("event", "3", 7, 9_007_199_254_740_991, False),
            ]
            await summaries.store(given)
            assert list(await summaries.listed(Listing("event", 10))) == given
            assert await summaries.listed(Listing("other", 10)) == []
            assert await ids(summaries, calendar_id="7' OR true --") == []

    async def test_a_calendar_lists_no_other_type(self) -> None:
        async with self.summaries() as summaries:
            await summaries.store([event(1, 0), event(2, 0)._replace(type="task")])
            assert await ids(summaries, calendar_id="7") == ["000001"]

    @pytest.mark.parametrize("walked_max", [20_000, -1])
    async def test_only_what_is_in_scope_is_listed_and_pages_are_full(
        self, monkeypatch: pytest.MonkeyPatch, walked_max: int
    ) -> None:
        monkeypatch.setattr(self.module, "WALKED_MAX", walked_max)
        async with self.summaries() as summaries:
            hours = 3_600_000
            await summaries.store([event(number, number * hours) for number in range(1, 31)])
            some = Scope(frozenset({"event:000003", "event:000025"}), frozenset({"event:00002"}))
            less = some._replace(
                without=frozenset({"event:000021"}), without_prefixes=frozenset({"event:000029"})
            )
            twenties = [f"{number:06}" for number in range(20, 30)]
            assert await ids(summaries, scope=some) == ["000003", *twenties]
            assert await ids(summaries, scope=less) == ["000003", "000020", *twenties[2:9]]
            assert await ids(summaries, scope=less, limit=3) == ["000003", "000020", "000022"]
            window = {"from_ms": 22 * hours, "to_ms": 30 * hours, "calendar_id": "7"}
            assert await ids(summaries, scope=less, **window, limit=5) == twenties[2:7]
            after = Cursor(22 * hours, "000022")
            assert await ids(summaries, scope=less, after=after, limit=2) == ["000023", "000024"]
            for nothing in (Scope(), EVERYTHING._replace(without_prefixes=frozenset({"", "x"}))):
                assert await ids(summaries, scope=nothing) == []
            for odd in ("%", "_", "event:0000_", "'", "event:00002\\"):
                assert await ids(summaries, scope=Scope(frozenset({odd}), frozenset({odd}))) == [], odd
