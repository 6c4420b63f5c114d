"""The indexer of a lone node keeps documents, so that after a restart it needn't replay their histories."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from gateway.log.database_files import discard
from gateway.log.search.embedded import INDEX, STANDS, SqliteSearch
from gateway.log.search.follower import (
    DAMAGED_RETRY_MAX_S,
    FRESH,
    RETRY_S,
    LeftAlone,
    LogSource,
    Teller,
    build,
    follow,
)
from gateway.log.search.indexer import Indexer, LoggedDocument, Taken
from gateway.log.sqlite.log import DATABASE, SqliteLog
from gateway.ports import Batch, Committed, Record
from gateway.ports.search import EVERYTHING, Wanted
from gateway.runtime import timeslice
from tests.steps import steps_of_ours
from tests.waiting import unawaited

NAME = "event:1"
# Of a database; the first one says what it is.
PAGE = 4096


class Edits:
    """Edits of one event, straight into the log."""

    def __init__(self, log: SqliteLog, epoch: int) -> None:
        self._log = log
        self._epoch = epoch
        self.version = 0

    async def append(self, count: int) -> None:
        for _ in range(count):
            before, self.version = self.version, self.version + 1
            title: Any = f"title {self.version}"
            operation = {
                "op": "add",
                "path": "/title" if before else "",
                "value": title if before else {"title": title},
            }
            body = orjson.dumps({"version": self.version, "operations": [operation]})
            record = Record(self.version, body, "ann", "c", None, "", self.version, None)
            batch = Batch(NAME, self._epoch, before, f"n{self.version}", [record])
            assert await self._log.append([batch]) == [Committed()]


async def newest(data: Path, indexed: bool) -> LoggedDocument | None:
    """What a follower that has just begun finds; `indexed`: after it indexed what waits."""
    index = SqliteSearch(data / INDEX)
    source = LogSource(data, index)
    try:
        while indexed and await Indexer(source, index).step():
            pass
        return await source.document(NAME)
    finally:
        await source.release()
        await index.aclose()


def without_beginning(data: Path, upto: int) -> None:
    """As if what came before couldn't be replayed any more."""
    with sqlite3.connect(data / DATABASE) as connection:
        connection.execute("DELETE FROM change WHERE version <= ?", (upto,))
        connection.execute("DELETE FROM snapshot")
    connection.close()


async def test_a_follower_that_begins_again_goes_on_from_the_document_that_it_kept(tmp_path: Path):
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    await edits.append(50)
    found = await newest(tmp_path, indexed=True)
    assert found is not None and (found.version, found.document) == (50, {"title": "title 50"})
    await edits.append(3)
    without_beginning(tmp_path, 50)
    found = await newest(tmp_path, indexed=False)
    assert found is not None and (found.version, found.document) == (53, {"title": "title 53"})
    await log.aclose()


@pytest.mark.parametrize("damaged", [b'{"title"!"title 5"}', b"7"])
async def test_a_kept_document_that_is_damaged_is_made_from_the_log(tmp_path: Path, damaged: bytes):
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    await edits.append(5)
    assert await newest(tmp_path, indexed=True) is not None
    with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as connection:
        assert connection.execute("UPDATE kept SET document = ?", (damaged,)).rowcount == 1
    await edits.append(2)
    found = await newest(tmp_path, indexed=True)
    assert found is not None and (found.version, found.document) == (7, {"title": "title 7"})
    with closing(sqlite3.connect(tmp_path / INDEX)) as connection:
        assert connection.execute("SELECT document FROM kept").fetchall() == [(b'{"title":"title 7"}',)]
    await log.aclose()


async def test_a_step_ends_at_its_bytes_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.log.search.follower.BYTES_A_STEP", 1000)
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    await edits.append(50)
    steps: list[Taken] = []

    class Noted(LogSource):
        async def take(self, count: int) -> Taken:
            steps.append(await super().take(count))
            return steps[-1]

    index = SqliteSearch(tmp_path / INDEX)
    source = Noted(tmp_path, index)
    indexer = Indexer(source, index)
    while await indexer.step():
        pass
    assert [change.version for step in steps for change in step.changes] == list(range(1, 51))
    assert all(sum(len(change.body) for change in step.changes[:-1]) < 1000 for step in steps)
    assert len(await index.find(Wanted(EVERYTHING, ["title"], 100))) == 51
    await source.release()
    await index.aclose()
    await log.aclose()


async def test_others_run_between_the_changes_of_a_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timeslice, "SLICE_S", 0.0)
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    index = SqliteSearch(tmp_path / INDEX)
    source = LogSource(tmp_path, index)
    indexer = Indexer(source, index)
    await edits.append(1)
    await indexer.step()
    await edits.append(100)
    with steps_of_ours() as steps:
        await indexer.step()
    assert steps.count > 200  # they are read, and made on the document that it remembers
    await source.release()
    await index.aclose()
    await log.aclose()


async def test_a_purge_leaves_nothing_of_what_was_kept(tmp_path: Path):
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    await edits.append(5)
    assert await newest(tmp_path, indexed=True) is not None
    await log.purge(NAME)
    assert await newest(tmp_path, indexed=True) is None
    with sqlite3.connect(tmp_path / INDEX) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    connection.close()
    await log.aclose()


async def test_a_damaged_resource_keeps_no_other_out_of_the_index(tmp_path: Path):
    """A change that its document doesn't take, one that is no JSON, and one whose checksum is wrong."""
    log = SqliteLog(tmp_path)
    epoch = (await log.open(NAME)).epoch
    good = b'{"version":1,"operations":[{"op":"add","path":"","value":{"title":"sound"}}]}'
    odd = b'{"version":1,"operations":[{"op":"replace","path":"/none/here","value":"sound"}]}'
    bodies = {"event:odd": odd, "event:text": b"sound", "event:wrong": good, "event:z": good}
    for name, body in bodies.items():
        record = Record(1, body, "ann", "c", None, "", 1, None)
        await log.append([Batch(name, epoch, 0, name, [record])])
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        wrong = "(SELECT id FROM resource WHERE name = 'event:wrong')"
        assert database.execute(f"UPDATE change SET checksum = 1 WHERE resource = {wrong}").rowcount == 1
    numbers = await build(tmp_path)
    assert numbers.changes == 3
    index = SqliteSearch(tmp_path / INDEX)
    found = await index.find(Wanted(EVERYTHING, ["sound"]))
    assert [(one.kind, one.id) for one in found if one.id == "z"] == [("document", "z"), ("change", "z")]
    assert {(one.kind, one.id) for one in found if one.id == "odd"} == {("change", "odd")}
    assert not [one for one in found if one.id in ("text", "wrong")]
    await index.aclose()
    await log.aclose()


class Impatient(Teller):
    """Notes when the follower had to wait; `enough` is set once it had to so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.waited_s: list[float] = []
        self.troubles: list[str] = []
        self.enough = trio.Event()
        self._times = times

    def __call__(self, indexer: Indexer) -> None:
        self.troubles.append(indexer.numbers.trouble)

    def waits(self, trouble: str) -> None:
        self.waited_s.append(trio.current_time())
        if len(self.waited_s) == self._times:
            self.enough.set()


async def test_an_index_that_stays_damaged_is_looked_at_ever_more_seldom(
    tmp_path: Path, autojump_clock: MockClock
):
    log = SqliteLog(tmp_path)
    await log.aclose()
    await build(tmp_path)
    sound = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(sound[:PAGE] + b"\x55" * (len(sound) - PAGE))
    teller = Impatient(10)
    async with unawaited() as nursery:
        nursery.start_soon(follow, tmp_path, teller)
        await teller.enough.wait()
    pauses = [round(after - before) for before, after in pairwise(teller.waited_s)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def indexed_version(data: Path) -> int:
    with closing(sqlite3.connect(data / INDEX)) as index:
        (version,) = index.execute("SELECT max(version) FROM entry").fetchone()
        return int(version)


async def test_an_index_that_only_tidying_finds_damaged_still_takes_what_is_new(
    tmp_path: Path, autojump_clock: MockClock
):
    log = SqliteLog(tmp_path)
    edits = Edits(log, (await log.open(NAME)).epoch)
    for _ in range(3):
        await edits.append(1)
        await newest(tmp_path, indexed=True)
    with closing(sqlite3.connect(tmp_path / INDEX)) as index, index:
        segments = index.execute("UPDATE entry_text_data SET block = randomblob(9) WHERE id > 10")
        assert segments.rowcount > 2
        index.execute("INSERT INTO untidy VALUES (?, '')", (STANDS,))
    teller = Impatient(1)
    async with unawaited() as nursery:
        nursery.start_soon(follow, tmp_path, teller)
        for _ in range(3):
            await edits.append(1)
            while indexed_version(tmp_path) < edits.version:  # noqa: ASYNC110  (a file tells nobody)
                await trio.sleep(RETRY_S)
    assert teller.waited_s == []
    assert teller.troubles
    assert all("malformed" in trouble for trouble in teller.troubles)
    await log.aclose()


async def test_a_damaged_index_that_was_gone_on_with_is_looked_at_often_again(
    tmp_path: Path, autojump_clock: MockClock
):
    (tmp_path / INDEX).touch()
    damage = LeftAlone(tmp_path / INDEX)
    began_s = trio.current_time()
    for _ in range(8):
        await damage.pause()
    assert trio.current_time() - began_s > DAMAGED_RETRY_MAX_S
    damage.over()
    began_s = trio.current_time()
    await damage.pause()
    assert trio.current_time() - began_s == pytest.approx(RETRY_S)


def test_a_database_keeps_its_name_as_long_as_its_log_of_writes_is_there(tmp_path: Path):
    """Else it would be left, with texts in it, and nobody would look for it: only for the database."""
    database = tmp_path / FRESH
    database.touch()
    stuck = tmp_path / f"{FRESH}-wal"
    stuck.mkdir()
    with pytest.raises(OSError):
        discard(database)
    assert database.exists()
    stuck.rmdir()
    discard(database)
    assert list(tmp_path.iterdir()) == []


async def test_what_is_told_goes_on_from_one_indexer_to_the_next(
    tmp_path: Path, autojump_clock: MockClock, capfd: pytest.CaptureFixture[str]
):
    index = SqliteSearch(tmp_path / INDEX)
    source = LogSource(tmp_path, index)
    now_ms = 1_000_000
    teller = Teller(lambda: now_ms)

    async def told(changes: int, trouble: str = "") -> None:
        indexer = Indexer(source, index)
        indexer.numbers.changes, indexer.numbers.trouble = changes, trouble
        await trio.sleep(1)
        teller(indexer)

    await told(5)
    teller.waits("away")
    now_ms += 4000
    await told(2, "away")
    teller.waits("away")
    now_ms += 3000
    teller.waits("away")
    await told(1)
    said = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [one["changes"] for one in said] == [5, 5, 7, 7, 7, 8]
    assert [one["failures"] for one in said] == [0, 1, 1, 2, 3, 3]
    assert [one["lag_ms"] for one in said] == [0, 0, 4000, 4000, 7000, 0]
    await source.release()
    await index.aclose()
