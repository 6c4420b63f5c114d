"""The embedded index: the contract, both with little that may be read and with much."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.search import embedded as search_embedded
from gateway.log.search.embedded import SearchWriter, SqliteSearch, connect
from gateway.ports.search import EVERYTHING, Erasure, IndexEntry, Wanted
from tests.search.contract import SearchContract, change, document


class TestSqliteSearch(SearchContract):
    @pytest.fixture(autouse=True, params=["walked", "matched"])
    def _directory(
        self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.path = tmp_path
        if request.param == "matched":
            monkeypatch.setattr(search_embedded, "WALKED_MAX", -1)

    @asynccontextmanager
    async def index(self) -> AsyncIterator[SqliteSearch]:
        index = SqliteSearch(self.path / "search.sqlite3")
        yield index
        await index.aclose()


async def test_a_directory_that_is_not_there_is_told_and_written_to_once_it_is(tmp_path: Path):
    index = SqliteSearch(tmp_path / "data" / "search.sqlite3")
    with pytest.raises(LogUnavailable, match=r"data/search.sqlite3: .*No such file"):
        await index.store([change(1, "lunch")])
    (tmp_path / "data").mkdir()
    await index.store([change(1, "lunch")])
    assert await index.count(Wanted(EVERYTHING, ["lunch"]), 9) == 1
    await index.aclose()


def test_what_was_erased_leaves_the_disk_a_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_embedded, "TIDIED_PAGES", 1)
    path = tmp_path / "search.sqlite3"
    connection = connect(path)
    writer = SearchWriter(connection)
    secret = "\u946b" * 3
    for version in range(1, 3):  # the document's older texts are in the index's older segments
        # Random words, so that one page doesn't hold the index.
        others = [change(100 * version + n, f"{random.Random(n * version).random()}" * 9) for n in range(50)]
        own = document(1, f"{secret} {version}", version)
        writer.store([*others, own, change(version, f"{secret} {version}", id="1", version=version)])

    def on_disk() -> bool:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return secret[0].encode() in path.read_bytes()  # trigrams share their beginnings

    assert not writer.tidy()  # nothing was erased
    assert on_disk()
    writer.erase([Erasure("event:1", 2)])
    assert on_disk()
    connection.close()
    connection = connect(path)  # what is left to do is remembered
    writer, steps = SearchWriter(connection), 0
    while writer.tidy():
        writer.store([change(5000, "meanwhile")])
        steps += 1
    assert steps > 1
    assert not on_disk()
    (left,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    assert left == 2 * 50 + 1
    connection.close()


def test_a_step_is_written_in_the_order_of_time_whatever_order_it_came_in(tmp_path: Path):
    """FTS5 ends a segment wherever a row comes before the last one, and merges what it made of them."""
    connection = connect(tmp_path / "search.sqlite3")
    writer = SearchWriter(connection)

    def step(version: int) -> list[IndexEntry]:
        made = []
        for number in range(6):
            stamp_ms = 1000 * version - number
            for kind in ("change", "document"):
                told = (kind, "event", str(number), 1, version, "ann", stamp_ms)
                made.append(IndexEntry(*told, f"lunch {version}"))
        return made

    for version, most in ((1, 1), (2, 3)):
        writer.store(step(version))
        (segments,) = connection.execute("SELECT count(DISTINCT segid) FROM entry_text_idx").fetchone()
        assert segments <= most
    numbers = [number for (number,) in connection.execute("SELECT number FROM entry ORDER BY timestamp")]
    assert numbers == sorted(numbers)
    assert len(numbers) == 18  # twelve changes, six documents
    connection.close()
