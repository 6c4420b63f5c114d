"""Places of the embedded log's changes: they come later, and nobody notices."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log import backup_file
from gateway.log.backup_file import BackupReader
from gateway.log.sqlite import store as sqlite_store
from gateway.log.sqlite import writer as sqlite_writer
from gateway.log.sqlite.backup import backup
from gateway.log.sqlite.check import check
from gateway.log.sqlite.log import DATABASE, WATERMARK, SqliteLog
from gateway.log.sqlite.store import Reader, connect
from gateway.log.sqlite.watermark import Watermark
from gateway.ports import Batch, Committed, Duplicates, Opening, Stale
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.log.formats import BACK_TO_4
from tests.log.sqlite.parts import file_size, file_size_max, opened

OTHER = "event:7"


def placed(directory: Path) -> tuple[int, int]:
    """How many changes have places, and how many there are."""
    with closing(connect(directory / DATABASE, writing=False)) as connection:
        (places,) = connection.execute("SELECT count(*) FROM place").fetchone()
        (changes,) = connection.execute("SELECT count(*) FROM change").fetchone()
    return places, changes


async def edited(log: SqliteLog, last: Batch | Opening, number: int) -> Batch:
    """Appends of one change each; the last of them."""
    for _ in range(number):
        head = last.base + len(last.records) if isinstance(last, Batch) else len(last.records)
        last = batch(last, record(head + 1))
        await committed(log, last)
    assert isinstance(last, Batch)
    return last


async def versions(log: SqliteLog, resource: str = ROOM, after: int = 0) -> list[int]:
    return [change.version for change in await log.read(resource, after, 1000)]


@pytest.fixture(autouse=True)
def _short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "TAIL_MAX", 10)


async def test_many_changes_get_their_places_together(tmp_path: Path) -> None:
    """And each is read meanwhile, from wherever, by another program too."""
    async with opened(tmp_path) as log:
        last: Batch | Opening = await log.open(ROOM)
        for number in range(1, 26):
            last = await edited(log, last, 1)
            assert placed(tmp_path) == ((number - 1) // 10 * 10, number)
            for after in (0, number - 2, number - 1, number):
                expected = list(range(max(after, 0) + 1, number + 1))
                assert await versions(log, after=max(after, 0)) == expected
            with closing(connect(tmp_path / DATABASE, writing=False)) as connection:
                assert Reader(connection).head(ROOM).version == number
            assert [len(await log.read(ROOM, 0, limit)) for limit in (1, 12)] == [1, min(12, number)]


async def test_a_start_gives_places_to_what_a_crash_left_without(tmp_path: Path) -> None:
    live, crashed = tmp_path / "live", tmp_path / "crashed"
    async with opened(live) as log:
        await edited(log, await log.open(ROOM), 14)
        assert placed(live) == (10, 14)
        shutil.copytree(live, crashed)
    (crashed / WATERMARK).unlink()  # it names a file that the copy isn't
    async with opened(crashed) as log:
        assert placed(crashed) == (14, 14)
        assert await versions(log) == list(range(1, 15))


async def test_ids_that_are_used_again_get_places_too(tmp_path: Path) -> None:
    """The newest changes were purged, and with them the highest ids."""
    async with opened(tmp_path) as log:
        first = await edited(log, await log.open(ROOM), 3)
        other = Batch(OTHER, first.epoch, 0, "nonce", [record(number) for number in range(1, 30)])
        await committed(log, other)
        await log.purge(OTHER)
        assert placed(tmp_path) == (3, 3)
        with closing(connect(tmp_path / DATABASE, writing=False)) as connection:
            assert connection.execute("SELECT placed FROM log").fetchone() == (3,)
        await edited(log, first, 25)
        assert placed(tmp_path) == (23, 28)
        assert await versions(log) == list(range(1, 29))
        assert await versions(log, OTHER) == []
    assert not check(tmp_path / DATABASE).damaged


async def test_a_batch_of_a_history_twice_in_one_append_is_stored_once(tmp_path: Path) -> None:
    """Nothing but what is remembered keeps a version from being there twice until it has its place."""
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 2)
        one, same = batch(last, record(3)), batch(last, record(3, value="other"))
        next_one = batch(one, record(4))
        outcomes = await log.append([one, same, next_one])
        assert [outcomes[0], outcomes[2]] == [Committed(), Committed()]
        assert outcomes[1] != Committed()
        assert await versions(log) == [1, 2, 3, 4]


async def test_a_backup_of_a_log_in_use_has_all_places(tmp_path: Path) -> None:
    """And of a file that was copied by hand, what has none is read all the same."""
    data, target, by_hand = tmp_path / "data", tmp_path / "backup.sqlite3", tmp_path / "copy.sqlite3"
    async with opened(data) as log:
        await edited(log, await log.open(ROOM), 14)
        assert backup(data, target).changes == 14
    shutil.copy(target, by_hand)
    with closing(sqlite3.connect(by_hand)) as connection:
        connection.executescript("DELETE FROM place WHERE version > 10; UPDATE log SET placed = 10;")
    for path in (target, by_hand):
        with backup_file.readable(path) as readable, BackupReader(readable) as reader:
            assert [(head.name, head.first, head.version) for head in reader.heads()] == [(ROOM, 0, 14)]
            assert [len(page) for page in reader.records(ROOM, 0)] == [14]


async def test_a_log_with_an_index_of_versions_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 14)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.executescript(BACK_TO_4)
    assert not check(tmp_path / DATABASE).damaged
    unread = pytest.raises(LogUnavailable, match=r"format 4, not 5: start the gateway")
    with closing(connect(tmp_path / DATABASE, writing=False)) as connection, unread:
        Reader(connection)
    async with opened(tmp_path) as log:
        assert placed(tmp_path) == (14, 14)
        await edited(log, last, 12)
        assert await versions(log) == list(range(1, 27))
    assert not check(tmp_path / DATABASE).damaged


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("DELETE FROM place WHERE version = 4", ["the place of change 4"]),
        ("UPDATE place SET id = 5 WHERE version = 4", ["the place of change 4"]),
        ("UPDATE place SET version = 40 WHERE version = 4", ["the place of change 4", "change 40"]),
        ("DELETE FROM change WHERE version = 14", ["change 14"]),
    ],
)
async def test_a_change_in_another_place_than_its_own_is_damage(
    tmp_path: Path, damage: str, named: Sequence[str]
) -> None:
    async with opened(tmp_path) as log:
        await edited(log, await log.open(ROOM), 14)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute(damage)
    assert check(tmp_path / DATABASE).named == [f"{what} of {ROOM}" for what in named]


@pytest.mark.parametrize("version", [4, 14])
async def test_places_are_made_anew_as_the_runbook_says(tmp_path: Path, version: int) -> None:
    """And until then no change is given for another one, nor the newest left out."""
    async with opened(tmp_path) as log:
        await edited(log, await log.open(ROOM), 14)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("UPDATE place SET id = 5 WHERE version = ?", (version,))
    async with opened(tmp_path) as log:
        with pytest.raises(LogUnavailable, match=f"change {version} of {ROOM} isn't what was written"):
            await versions(log)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.executescript("DELETE FROM place; UPDATE log SET placed = 0")
    async with opened(tmp_path) as log:
        assert await versions(log) == list(range(1, 15))
    assert not check(tmp_path / DATABASE).damaged


async def test_a_full_disk_that_leaves_no_room_for_places_refuses_edits_and_is_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 20)  # the next append finds a whole tail
        size = max(file_size(tmp_path / DATABASE), file_size(tmp_path / f"{DATABASE}-wal"))
        with file_size_max(size):
            [refused] = await log.append([batch(last, record(21, user="somebody new", seq=1))])
            assert refused != Committed()
            assert await versions(log) == list(range(1, 21))
        assert await log.append([batch(last, record(21, user="somebody new", seq=1))]) == [Committed()]
        assert await versions(log) == list(range(1, 22))


async def test_a_log_that_was_closed_has_all_places(tmp_path: Path) -> None:
    """A backup by hand of it is read where it lies."""
    async with opened(tmp_path) as log:
        await edited(log, await log.open(ROOM), 14)
    assert placed(tmp_path) == (14, 14)


async def test_what_fails_after_a_commit_leaves_no_version_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever that may be."""
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 3)
        with monkeypatch.context() as patched:
            patched.setattr(log._writer, "_note", Broken().set)
            with pytest.raises(OSError, match="descriptors"):
                await log.append([batch(last, record(4))])
        [stale] = await log.append([batch(last, record(4, value="other"))])
        assert isinstance(stale, Stale) and [one.version for one in stale.records] == [4]
        await edited(log, batch(last, record(4)), 12)
        assert await versions(log) == list(range(1, 17))
    assert not check(tmp_path / DATABASE).damaged


async def test_a_change_is_committed_though_it_cannot_be_noted_beside_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 3)
        monkeypatch.setattr(log._writer, "_watermark", Broken())
        await edited(log, last, 6)
        assert await versions(log) == list(range(1, 10))
    assert caplog.text.count("what is newest can't be noted beside the log, which goes on: out of") == 1
    assert placed(tmp_path) == (9, 9)


class Broken:
    """A watermark that can't be set."""

    def set(self, number: int, named: bool = False) -> None:
        raise OSError("out of descriptors")

    def close(self) -> None:
        pass


async def test_a_start_that_cannot_write_reads_what_has_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk."""
    live, crashed = tmp_path / "live", tmp_path / "crashed"
    async with opened(live) as log:
        await edited(log, await log.open(ROOM), 14)
        shutil.copytree(live, crashed)
    full = sqlite3.OperationalError("database or disk is full")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_store, "place", raising(full))
        with closing(sqlite_store.prepare(crashed / DATABASE, 1)) as connection:
            writer = sqlite_writer.Writer(connection, Watermark(crashed / WATERMARK, crashed / DATABASE))
            assert [one.version for one in writer.read(ROOM, 0, 100)] == list(range(1, 15))
    assert placed(crashed) == (10, 14)
    assert "wait for their places: database or disk is full" in caplog.text


def raising(error: Exception) -> Callable[[object], None]:
    """What fails so."""

    def fail(_: object) -> None:
        raise error

    return fail


async def test_who_is_not_remembered_is_looked_for_in_a_short_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a long one, or where many are, all get their places before."""
    async with opened(tmp_path) as log:
        last = await edited(log, await log.open(ROOM), 5)
        for user, places in (("bob", 0), ("cat", 6)):
            if places:
                monkeypatch.setattr(sqlite_writer, "LOOKED_THROUGH_MAX", 5)
            last = batch(last, record(len(await versions(log)) + 1, user=user, seq=1))
            await committed(log, last)
            assert placed(tmp_path)[0] == places
            [again] = await log.append([batch(last, record(len(await versions(log)) + 1, user=user, seq=1))])
            assert isinstance(again, Duplicates)
