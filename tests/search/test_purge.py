"""What is purged leaves the embedded index to the last byte of its file and its write-ahead log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from gateway.log.search import embedded as search_embedded
from gateway.log.search.embedded import INDEX, SqliteSearch, connect_reading
from gateway.log.search.follower import LogSource, build
from gateway.log.search.indexer import CHANGES_A_STEP, Indexer
from gateway.log.sqlite.log import SqliteLog
from gateway.ports import Batch, Committed, Record
from tests.search.contract import ids

# Each character, four bytes of UTF-8, is nowhere else, nor is a part of a trigram.
RARE = "\U00020001\U00021042\U00022083\U000230c4\U00024105\U00025146"
AFTERWARDS = "\U00026187\U000271c8"


class Book:
    """Writes events straight into a log."""

    def __init__(self, log: SqliteLog, epoch: int) -> None:
        self._log = log
        self._epoch = epoch
        self._versions: dict[str, int] = {}

    async def write(self, name: str, operation: object) -> None:
        before = self._versions.get(name, 0)
        self._versions[name] = version = before + 1
        body = orjson.dumps({"version": version, "operations": [operation]})
        record = Record(version, body, "ann", "c", None, "", version, None)
        batch = Batch(name, self._epoch, before, f"{name} {version}", [record])
        assert await self._log.append([batch]) == [Committed()]

    async def create(self, name: str, title: str) -> None:
        await self.write(name, {"op": "add", "path": "", "value": {"title": title}})


def pieces(text: str) -> Iterator[bytes]:
    """Its trigrams, and what FTS5 has left of one when the term before begins the same."""
    for size in (1, 2, 3):
        yield from (text[at : at + size].encode() for at in range(len(text) - size + 1))


def left(data: Path, texts: Sequence[str]) -> list[str]:
    """What of these texts is on the disk."""
    files = [path.read_bytes() for path in data.glob(f"{INDEX}*")]
    found = {piece for text in texts for piece in pieces(text) if any(piece in held for held in files)}
    return sorted(piece.decode() for piece in found)


def files(data: Path) -> list[str]:
    """The index's files."""
    return sorted(path.name for path in data.glob(f"{INDEX}*"))


async def indexed(data: Path) -> None:
    """As the follower does it."""
    index = SqliteSearch(data / INDEX)
    source = LogSource(data, index)
    indexer = Indexer(source, index)
    while await indexer.step() or await index.tidy():
        pass
    await source.release()
    await index.aclose()


class Desk(NamedTuple):
    """A log, and what follows it into an index step by step."""

    log: SqliteLog
    book: Book
    index: SqliteSearch
    indexer: Indexer


@asynccontextmanager
async def logged(data: Path) -> AsyncIterator[tuple[SqliteLog, Book]]:
    """A log, and who writes it."""
    log = SqliteLog(data)
    yield log, Book(log, (await log.open("event:1")).epoch)
    await log.aclose()


@asynccontextmanager
async def followed(data: Path) -> AsyncIterator[Desk]:
    """A log with an event that is indexed."""
    async with logged(data) as (log, book):
        index = SqliteSearch(data / INDEX)
        source = LogSource(data, index)
        indexer = Indexer(source, index)
        await book.create("event:1", RARE)
        await indexer.step()
        yield Desk(log, book, index, indexer)
        await source.release()
        await index.aclose()


async def test_a_purge_leaves_no_trigram_of_a_text_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_embedded, "TIDIED_TRIGRAMS", 7)
    async with logged(tmp_path) as (log, book):
        for number in range(2, 30):
            await book.create(f"event:{number}", f"lunch {number}")
        await book.create("event:1", RARE)
        await indexed(tmp_path)
        # What was typed makes trigrams that no change has by itself, and a document had only for a while.
        typed = {"op": "text", "path": "/title", "value": [2, AFTERWARDS]}
        await book.write("event:1", typed)
        await indexed(tmp_path)
        await book.write("event:1", {"op": "add", "path": "/title", "value": "short"})
        await indexed(tmp_path)
        texts = [RARE, RARE[:2] + AFTERWARDS + RARE[2:]]
        assert len(left(tmp_path, texts)) > len(RARE)
        await log.purge("event:1")
        await indexed(tmp_path)
        assert left(tmp_path, texts) == []
        index = SqliteSearch(tmp_path / INDEX)
        assert await ids(index, RARE[0]) == []
        assert sorted(await ids(index, "2"), key=int) == sorted(
            2 * [str(number) for number in range(2, 30) if "2" in str(number)], key=int
        )
        await index.aclose()


async def test_a_trigram_that_went_comes_back_with_a_text(tmp_path: Path) -> None:
    async with followed(tmp_path) as desk:
        await desk.log.purge("event:1")
        while await desk.indexer.step() or await desk.index.tidy():
            pass
        await desk.book.create("event:2", RARE)
        await desk.indexer.step()
        assert await ids(desk.index, RARE[2]) == ["2", "2"]


async def test_what_somebody_reads_just_now_is_taken_away_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_embedded, "BUSY_TIMEOUT_S", 0.01)
    async with followed(tmp_path) as desk:
        reader = connect_reading(tmp_path / INDEX)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchone()
        await desk.log.purge("event:1")
        await desk.indexer.step()
        for _ in range(10):
            assert await desk.index.tidy()
        assert left(tmp_path, [RARE])
        reader.close()
        while await desk.index.tidy():
            pass
        assert left(tmp_path, [RARE]) == []


async def test_an_index_that_was_made_by_half_is_left_to_nobody(tmp_path: Path) -> None:
    """No purge would reach it."""

    class Stopped(Exception):
        pass

    def stop(indexer: Indexer) -> None:
        raise Stopped

    async with logged(tmp_path) as (_, book):
        for number in range(CHANGES_A_STEP + 1):
            await book.create(f"event:{number}", RARE)
        await build(tmp_path)
        before = (tmp_path / INDEX).stat().st_ino
        with pytest.raises(Stopped):
            await build(tmp_path, stop)
        assert files(tmp_path) == [INDEX]
        assert (tmp_path / INDEX).stat().st_ino == before
