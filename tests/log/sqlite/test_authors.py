"""Authors of the embedded log: their newest changes, found as if the whole history were looked through."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.log.sqlite import remembered as sqlite_remembered
from gateway.log.sqlite import store as sqlite_store
from gateway.log.sqlite import writer
from gateway.log.sqlite.authors import BLOCK
from gateway.log.sqlite.log import DATABASE, SqliteLog
from gateway.ports import Batch, ClientKey, Committed, Duplicates, Failed, Outcome, Record, Stale
from gateway.ports.retention import Excess, RetentionRule
from tests.contracts.log_contract import ROOM, batch, committed, filled, nonce, record
from tests.doubles.log import MemoryLog
from tests.log.formats import BACK_TO_3, BACK_TO_4
from tests.log.sqlite.parts import opened

ROOMS = (ROOM, "event:7")
# Who edits how often: one all the time, one hardly ever, one never with a seq.
AUTHORS = {("ann", "tab-1"): 60, ("ann", "tab-2"): 30, ("bob", "tab-1"): 9, ("cat", "old"): 1}


class Twins:
    """The embedded log and the one in memory, which get the same."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.model = MemoryLog()
        self._heads: dict[str, Batch] = {}
        self._seqs: dict[tuple[str, str, str], int] = defaultdict(int)

    async def append(self, resource: str, *records: Record) -> Outcome:
        found: list[Outcome] = []
        for log in (self.log, self.model):
            before = self._heads.get(resource)
            base = 0 if before is None else before.base + len(before.records)
            epoch = (await log.open(resource)).epoch
            given = Batch(resource, epoch, base, "nonce", records)._replace(nonce=nonce())
            [outcome] = await log.append([given])
            found.append(outcome)
        assert found[0] == found[1]
        if found[0] == Committed():
            self._heads[resource] = given
        return found[0]

    async def edit(self, rng: random.Random, resource: str) -> None:
        """Some changes of random authors."""
        before = self._heads.get(resource)
        head = 0 if before is None else before.base + len(before.records)
        records = []
        for version in range(head + 1, head + 1 + rng.choice((1, 1, 2, 7))):
            [(user, client)] = rng.choices(list(AUTHORS), list(AUTHORS.values()))
            with_seq = user != "bob" and rng.random() < 0.8
            self._seqs[resource, user, client] += with_seq
            seq = self._seqs[resource, user, client] if with_seq else None
            undoes = rng.choice((None, 1))
            records.append(record(version, user=user, client=client, seq=seq, value=version, undoes=undoes))
        assert await self.append(resource, *records) == Committed()

    async def compare(self) -> None:
        """What both know of each author, and that a resend is none the less one."""
        keys = [ClientKey(resource, *author) for resource in ROOMS for author in (*AUTHORS, ("dan", "x"))]
        found = await self.log.recent(keys, 0)
        assert [list(recent) for recent in found] == [list(r) for r in await self.model.recent(keys, 0)]
        for key, recent in zip(keys, found, strict=True):
            for limit in (1, 5, 100):
                own = list(await self.log.own_changes(key, limit))
                assert own == list(await self.model.own_changes(key, limit))
            for again in recent:
                version = self._version(key.resource) + 1
                resend = record(version, user=key.user_id, client=key.client_id, seq=again.seq)
                expected = Duplicates({0: (again.version, again.digest)})
                assert await self.append(key.resource, resend) == expected

    def _version(self, resource: str) -> int:
        head = self._heads[resource]
        return head.base + len(head.records)


@pytest.mark.parametrize(("remembered", "tail"), [(2, 2000), (8192, 2000), (8192, 5)])
async def test_authors_newest_are_those_of_the_whole_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: int, tail: int
) -> None:
    """With all authors remembered, and with few; in the tail or not; and after a start, where none is."""
    monkeypatch.setattr(writer, "TAIL_MAX", tail)
    monkeypatch.setattr(sqlite_remembered, "REMEMBERED_MAX", remembered)
    rng = random.Random(7)
    async with opened(tmp_path) as log:
        twins = Twins(log)
        for _ in range(12):
            for _ in range(20):
                await twins.edit(rng, rng.choice(ROOMS))
            await twins.compare()
    async with opened(tmp_path) as log:
        twins.log = log
        await twins.compare()
        await twins.edit(rng, ROOM)
        await twins.compare()


async def test_a_log_with_an_index_of_submissions_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And a start says why it takes longer."""
    caplog.set_level(logging.INFO, "gateway.log")
    async with opened(tmp_path) as log:
        twins = Twins(log)
        rng = random.Random(8)
        for _ in range(200):
            await twins.edit(rng, rng.choice(ROOMS))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.executescript(f"{BACK_TO_4} {BACK_TO_3}")
    assert "older gateway" not in caplog.text
    async with opened(tmp_path) as log:
        twins.log = log
        await twins.compare()
    assert "is of an older gateway (format 3)" in caplog.text
    assert "is of format 5 now" in caplog.text
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        [(indices,)] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'change_%'")
        assert indices == 0


async def test_whoever_edits_seldom_has_few_rows_looked_through(tmp_path: Path) -> None:
    """And who never sends a seq none: a history of any length is asked for what an author can have there."""
    looked = 0

    def look() -> int:
        nonlocal looked
        looked += 1
        return 0

    async with opened(tmp_path) as log:
        before = batch(await log.open(ROOM), *(record(n, client="often") for n in range(1, 20_001)))
        await committed(log, before)
        last = batch(before, record(20_001, client="seldom", seq=1))
        await committed(log, last)
    with closing(sqlite_store.connect(tmp_path / DATABASE, writing=False)) as connection:
        connection.set_progress_handler(look, 100)
        reader = sqlite_store.Reader(connection)
        keys = [ClientKey(ROOM, "ann", "often"), ClientKey(ROOM, "ann", "seldom")]
        assert [len(found) for found in reader.recent(keys, 0)] == [0, 1]
        assert [change.version for change in reader.own_changes(keys[1], 100)] == [20_001]
        assert [change.version for change in reader.own_changes(keys[0], 2)] == [20_000, 19_999]
        assert looked < 20


async def test_retention_forgets_authors_with_their_changes(tmp_path: Path) -> None:
    """Of a block that is kept in part those who have none in it any more, too; and a purge all of them."""
    async with opened(tmp_path) as log:
        epoch = (await log.open(ROOM)).epoch
        users = ["bob", *["ann"] * 20, "cat", *["ann"] * (2 * BLOCK), "dan"]
        await log.append([Batch(ROOM, epoch, 0, "n", [record(n, user=u) for n, u in enumerate(users, 1)])])

        def authors() -> list[tuple[str, int]]:
            with closing(sqlite3.connect(f"file:{tmp_path / DATABASE}?mode=ro", uri=True)) as connection:
                return connection.execute(
                    "SELECT user_id, block FROM author ORDER BY block, user_id"
                ).fetchall()

        assert await log.excess(RetentionRule("event", None, 1000), "", 1) == []  # places all changes
        everybody = [("ann", 0), ("bob", 0), ("cat", 0), ("ann", 1), ("ann", 2), ("dan", 2)]
        assert authors() == everybody
        for upto, left in ((1, ["ann", "cat"]), (21, ["ann", "cat"]), (22, ["ann"]), (BLOCK, [])):
            assert await log.retain(Excess(ROOM, epoch, upto), b"{}", [], 0) > 0
            assert authors() == [*((user, 0) for user in left), *everybody[3:]]
        assert await log.retain(Excess(ROOM, epoch, len(users) - 1), b"{}", [], 0) > 0
        assert authors() == [("dan", 2)]
        await log.purge(ROOM)
        assert authors() == []


async def test_what_was_stored_beside_a_refused_batch_is_recognised(tmp_path: Path) -> None:
    """Each batch is settled by itself then."""
    async with opened(tmp_path) as log:
        first, other = [batch(await log.open(room), record(1, seq=1), resource=room) for room in ROOMS]
        await committed(log, first, other)
        second = batch(first, record(2, seq=2))
        stale = batch(await log.open(ROOMS[1]), record(1, seq=7), base=0, resource=ROOMS[1])
        outcomes = await log.append([second, stale])
        assert outcomes[0] == Committed() and isinstance(outcomes[1], Stale)
        [again] = await log.append([batch(second, record(3, seq=2))])
        assert again == Duplicates({0: (2, second.records[0].digest)})


async def test_many_new_authors_beside_a_resend_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are remembered."""
    monkeypatch.setattr(sqlite_remembered, "REMEMBERED_MAX", 4)
    async with opened(tmp_path) as log:
        rooms = [f"event:{number}" for number in range(9)]
        first = batch(await log.open(ROOM), record(1, seq=1))
        await committed(log, first)
        for turn in (1, 2, 3):
            news = [
                batch(await log.open(room), record(turn, user=room, seq=turn), resource=room)
                for room in rooms
            ]
            resend = batch(first, record(2, seq=1))
            outcomes = await log.append([*news[:4], resend, *news[4:]])
            assert outcomes.count(Committed()) == len(rooms)
            assert isinstance(outcomes[4], Duplicates)


async def test_an_upgrade_of_a_damaged_log_changes_nothing(tmp_path: Path) -> None:
    """It drops an index, and with that each page that the index names, be it another's by damage."""
    async with opened(tmp_path) as log:
        await committed(log, filled(await log.open(ROOM), 3000))
    path = tmp_path / DATABASE
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{BACK_TO_4} {BACK_TO_3}")
        pages = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        [(index,)] = connection.execute(pages, ("change_submission",))
        [(table,)] = connection.execute(pages, ("change",))
    content = bytearray(path.read_bytes())
    at = 4096 * (index - 1)
    assert content[at] == 2, "the root has children, the last of which its header names"
    content[at + 8 : at + 12] = content[4096 * (table - 1) + 8 : 4096 * (table - 1) + 12]
    path.write_bytes(content)
    with pytest.raises(LogUnavailable, match="is damaged"):
        SqliteLog(tmp_path)
    assert path.read_bytes() == content


class Unsure(sqlite3.Connection):
    """Stores what it says that it couldn't store."""

    fails = False

    def execute(self, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
        done = super().execute(*arguments)  # type: ignore[arg-type]
        if self.fails and str(arguments[0]).lstrip().startswith("INSERT INTO change"):
            self.fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return done


async def test_what_was_stored_though_the_disk_said_no_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    made: list[Unsure] = []

    def connected(*arguments: object, **named: object) -> Unsure:
        made.append(connect(*arguments, factory=Unsure, **named))  # type: ignore[call-overload]
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    async with opened(tmp_path) as log:
        first = batch(await log.open(ROOM), record(1, seq=1))
        await committed(log, first)
        made[0].fails = True
        second = batch(first, record(2, seq=2))
        [failed] = await log.append([second])
        assert isinstance(failed, Failed)
        [found] = await log.append([batch(second, record(3, seq=2))])
        assert found == Duplicates({0: (2, second.records[0].digest)})
        assert len(await log.read(ROOM, 0, 9)) == 2


def test_as_many_submissions_are_remembered_as_are_recognised(tmp_path: Path) -> None:
    """Not more, however long the node runs."""
    with closing(sqlite_store.prepare(tmp_path / DATABASE, 1)) as connection:
        memory = sqlite_remembered.Remembered(connection)
        for seq in range(1, 100):
            given = [Batch(ROOM, 1, seq - 1, "n", [record(seq, seq=seq)])]
            if memory.missing(given):
                memory.load(given)
            assert list(memory.following({5: given[0]})) == [5]
            memory.added(given, [1])
        [known] = memory._known.values()
        [seqs] = known.seqs.values()
        assert seqs == list(range(100 - SUBMISSIONS_KEPT, 100))


def test_authors_who_left_are_forgotten_though_others_edit_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_remembered, "REMEMBERED_MAX", 20)
    with closing(sqlite_store.prepare(tmp_path / DATABASE, 1)) as connection:
        memory = sqlite_remembered.Remembered(connection)
        for version in range(1, 200):
            given = [Batch(ROOM, 1, version - 1, "n", [record(version, user=f"{version}", seq=1)])]
            assert memory.missing(given) in (1, 2)
            memory.load(given)
            assert list(memory.following({0: given[0]})) == [0]
            memory.added(given, [1])
            known = [*memory._known.values(), *memory._older.values()]
            assert sum(len(one.seqs) for one in known) <= 40
