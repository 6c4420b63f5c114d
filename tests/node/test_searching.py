"""What a node logs of searches that fail: why, and that once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.errors import Refusal
from gateway.log.search_sqlite import INDEX, SqliteSearch
from gateway.node.searching import Searcher
from gateway.ports.search import EVERYTHING, Wanted
from gateway.runtime.metrics import Counters
from tests.search.contract import change


async def test_searches_while_there_is_no_index_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.node.searching")
    index, counters = SqliteSearch(tmp_path / INDEX), Counters()
    searcher = Searcher(index, counters, step_ms=0)

    async def refused(times: int) -> None:
        for _ in range(times):
            with pytest.raises(Refusal, match="can't answer"):
                await searcher.search(Wanted(EVERYTHING), None)

    await refused(3)
    assert [record.getMessage()[:15] for record in caplog.records] == ["searches fail: "]
    await index.store([change(1, "lunch")])
    await searcher.search(Wanted(EVERYTHING), None)
    assert (len(caplog.records), counters.searches_failed) == (1, 3)
    (tmp_path / INDEX).rename(tmp_path / "elsewhere")
    await refused(2)
    assert (len(caplog.records), counters.searches_failed) == (2, 5)
    await index.aclose()
