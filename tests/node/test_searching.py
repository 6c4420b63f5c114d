"""What a node logs of searches that fail, and how it keeps the process that indexes."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.errors import Refusal
from gateway.log.search import embedded
from gateway.log.search.embedded import FORMAT_VERSION, INDEX, SqliteSearch, format_of
from gateway.log.search.follower import FRESH
from gateway.log.sqlite.log import SqliteLog
from gateway.node import searching
from gateway.node.searching import IndexProcess, Searcher
from gateway.ports.search import EVERYTHING, Wanted
from gateway.runtime.metrics import Counters
from tests.search.contract import change
from tests.waiting import PATIENCE_S, until, until_equal


async def test_searches_while_there_is_no_index_are_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.node.searching")
    monkeypatch.setattr(embedded, "MADE_WITHIN_S", 0.0)
    index, counters = SqliteSearch(tmp_path / INDEX), Counters()
    searcher = Searcher(index, counters, step_ms=0)

    async def refused(times: int) -> None:
        for _ in range(times):
            with pytest.raises(Refusal, match="can't answer"):
                await searcher.search(Wanted(EVERYTHING), None)

    await refused(3)
    told = "searches fail: the index of searches isn't made yet"
    assert [record.getMessage() for record in caplog.records] == [told]
    await index.store([change(1, "lunch")])
    await searcher.search(Wanted(EVERYTHING), None)
    assert (len(caplog.records), counters.searches_failed) == (1, 3)
    (tmp_path / INDEX).rename(tmp_path / "elsewhere")
    await refused(2)
    assert (len(caplog.records), counters.searches_failed) == (2, 5)
    await index.aclose()


async def test_a_search_of_a_node_that_begins_waits_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.node.searching")
    monkeypatch.setattr(embedded, "MADE_WITHIN_S", PATIENCE_S)
    monkeypatch.setattr(searching, "TIMEOUT_S", PATIENCE_S)
    index, fresh, counters = SqliteSearch(tmp_path / INDEX), SqliteSearch(tmp_path / FRESH), Counters()

    async def made() -> None:
        await fresh.store([change(1, "lunch")])
        await fresh.aclose()
        (tmp_path / FRESH).rename(tmp_path / INDEX)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made)
        page = await Searcher(index, counters, step_ms=0).search(Wanted(EVERYTHING), None)
    assert (len(page.entries), counters.searches_failed, caplog.text) == (1, 0, "")
    await index.aclose()


async def test_an_indexer_that_cannot_be_started_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(searching, "START_DELAY_S", 0.0)
    monkeypatch.setattr(searching, "RESTART_MIN_S", 0.01)
    log, process, counters = SqliteLog(tmp_path), IndexProcess(str(tmp_path)), Counters()
    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "missing"))
            nursery.start_soon(process.run)
            await until(lambda: "can't be started: " in caplog.text)
        await until_equal(partial(format_of, tmp_path / INDEX), FORMAT_VERSION)
        await process.stop()
    process.measure(counters)
    assert counters.search_failures > 0
    await log.aclose()


def test_a_wall_clock_that_is_set_forward_leaves_searches_as_up_to_date_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, counters = IndexProcess(str(tmp_path)), Counters()
    monkeypatch.setattr("gateway.runtime.clock.time_ns", lambda: time.time_ns() + 3600 * 10**9)
    process.measure(counters)
    assert counters.search_lag_seconds == 0
