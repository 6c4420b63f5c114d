"""The embedded log tells what is damaged, lost or can't be written; it serves none of it silently."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.errors import LogDamaged, LogUnavailable
from gateway.log.sqlite.check import check
from gateway.log.sqlite.log import DATABASE, WATERMARK
from gateway.log.sqlite.summaries import SqliteSummaries
from gateway.log.sqlite.watermark import Acknowledged, Watermark
from gateway.ports import ClientKey, Committed, Failed, Stale, Submitted
from gateway.ports.retention import RetentionRule
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.log.damaged import LETTER, become_format_1, changed, filled_log
from tests.log.sqlite.parts import file_size, file_size_max, opened

AUTHORS = ("user_id", "client_id", "digest")


WITHOUT_CHECKSUM = "UPDATE change SET checksum = NULL, body = CAST(%s AS BLOB) WHERE version = 2"


@pytest.mark.parametrize(
    "statement",
    [
        *(f"UPDATE change SET {column} = CAST(x'61ff' AS TEXT) WHERE version = 2" for column in AUTHORS),
        WITHOUT_CHECKSUM % "replace(CAST(body AS TEXT), 'operations', 'operationz')",
        WITHOUT_CHECKSUM % "replace(CAST(body AS TEXT), 'op_id', 'op_ie')",
        WITHOUT_CHECKSUM % "substr(body, 1, 9) || x'ff' || substr(body, 11)",
        WITHOUT_CHECKSUM % "'[]'",
    ],
)
async def test_a_change_that_cannot_be_read_is_damaged(tmp_path: Path, statement: str) -> None:
    """What has a checksum has it for the body, not for who made it; older changes have none."""
    await filled_log(tmp_path)
    async with opened(tmp_path) as log:
        sound = batch(await log.open("event:9"), record(1), resource="event:9")
        await committed(log, sound)
    changed(tmp_path, statement)
    async with opened(tmp_path) as log:
        for reading in (log.open(ROOM), log.read(ROOM, 0, 10)):
            with pytest.raises(LogDamaged, match=f"change.* of {ROOM}.* isn't what was written.*doctor"):
                await reading
        assert len(await log.read(ROOM, 2, 10)) == 1
        assert len((await log.open("event:9")).records) == 1
    assert check(tmp_path / DATABASE).named == [f"change 2 of {ROOM}"]


@pytest.mark.parametrize(
    "beside",
    ["version = 4", "user_id = 'anm'", "client_id = 'tab-3'", "seq = 8", "timestamp = 7", "undoes = 1"],
)
async def test_a_doctor_finds_what_is_beside_a_change_and_is_not_what_that_says(
    tmp_path: Path, beside: str
) -> None:
    await filled_log(tmp_path)
    assert not check(tmp_path / DATABASE).damaged
    changed(tmp_path, f"UPDATE change SET {beside} WHERE version = 3")
    number = 4 if "version" in beside else 3
    assert f"change {number} of {ROOM}" in check(tmp_path / DATABASE).named


async def test_a_batch_that_meets_damage_fails_alone(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    async with opened(tmp_path) as log:
        late = batch(await log.open(ROOM), record(2), base=1)
        again = batch(await log.open("event:9"), record(1), resource="event:9")
        await committed(log, again._replace(nonce="of another"))
    changed(tmp_path, WITHOUT_CHECKSUM % "'[]'")
    async with opened(tmp_path) as log:
        failed, stale, done = await log.append([late, again, batch(again, record(2))])
        assert isinstance(failed, Failed) and f"change 2 of {ROOM}" in failed.message and failed.is_damage
        assert isinstance(stale, Stale)
        assert done == Committed()
        [failed] = await log.append([late])
        assert isinstance(failed, Failed) and failed.is_damage
        assert not log.trouble, "the disk is well"


async def test_a_digest_that_is_damaged_is_nobodys(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM), record(1, seq=1)))
    changed(tmp_path, "UPDATE change SET digest = CAST(x'61ff' AS TEXT)")
    async with opened(tmp_path) as log:
        assert await log.recent([ClientKey(ROOM, "ann", "tab-1")], 0) == [[Submitted(1, 1, "a\ufffd")]]


async def test_a_name_that_is_damaged_keeps_no_other_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for name in ("event:a", "event:b", "event:c"):
            await committed(log, batch(await log.open(name), record(1), record(2), resource=name))
    changed(tmp_path, "UPDATE resource SET name = CAST(x'6576656e743a62ff' AS TEXT) WHERE name = 'event:b'")
    async with opened(tmp_path) as log:
        summaries = SqliteSummaries(tmp_path)
        assert (await summaries.behind(10)).names == ["event:a", "event:c"]
        await summaries.aclose()
        excess = await log.excess(RetentionRule("event", None, 1), "", 10)
        assert [one.name for one in excess] == ["event:a", "event:c"]
    assert check(tmp_path / DATABASE).named == ["the name 'event:b\ufffd'"]


async def test_a_snapshot_without_a_checksum_is_served_if_it_is_json(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    changed(tmp_path, "UPDATE snapshot SET checksum = NULL")
    async with opened(tmp_path) as log:
        assert (await log.open(ROOM)).snapshot.version == 1
    changed(tmp_path, 'UPDATE snapshot SET document = CAST(\'{"title":title y"}\' AS BLOB)')
    async with opened(tmp_path) as log:
        for reading in (log.open(ROOM), log.snapshot(ROOM, 2)):
            with pytest.raises(LogDamaged, match=f"the snapshot of {ROOM} at 1 isn't what was written"):
                await reading
    assert check(tmp_path / DATABASE).named == [f"the snapshot of {ROOM} at 1"]


async def test_a_letter_changed_in_a_stored_change_is_not_served(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    assert check(tmp_path / DATABASE).damaged == 0
    changed(tmp_path, LETTER)
    async with opened(tmp_path) as log:
        with pytest.raises(LogUnavailable, match=rf"change 2 of {ROOM} isn't what was written.*doctor"):
            await log.read(ROOM, 0, 10)
        assert len(await log.read(ROOM, 2, 10)) == 1  # what is sound is served
    found = check(tmp_path / DATABASE)
    assert (found.changes, found.damaged, found.named) == (3, 1, [f"change 2 of {ROOM}"])


async def test_a_changed_snapshot_is_not_served(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    changed(tmp_path, 'UPDATE snapshot SET document = CAST(\'{"title": "y"}\' AS BLOB)')
    async with opened(tmp_path) as log:
        with pytest.raises(LogUnavailable, match=f"the snapshot of {ROOM} at 1 isn't what was written"):
            await log.open(ROOM)
    assert check(tmp_path / DATABASE).named == [f"the snapshot of {ROOM} at 1"]


async def test_a_change_that_is_gone_is_found(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    changed(tmp_path, "DELETE FROM change WHERE version = 2")
    named = check(tmp_path / DATABASE).named
    assert named == [f"{ROOM} has 2 of its 3 changes", f"the place of change 2 of {ROOM}"]


async def test_a_log_from_before_checksums_gets_them_for_what_is_new(tmp_path: Path) -> None:
    await filled_log(tmp_path)
    become_format_1(tmp_path)
    assert check(tmp_path / DATABASE).without_checksum == 3
    async with opened(tmp_path) as log:
        opening = await log.open(ROOM)
        assert len(opening.records) == 2
        await committed(log, batch(opening, record(4)))
        assert len(await log.read(ROOM, 0, 10)) == 4
    found = check(tmp_path / DATABASE)
    assert (found.changes, found.without_checksum, found.damaged) == (4, 3, 0)


async def test_what_a_recovered_wal_lost_is_said_at_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await filled_log(tmp_path, 2)
    kept = (tmp_path / DATABASE).read_bytes()
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM), record(3), record(4), record(5)))
    (tmp_path / DATABASE).write_bytes(kept)  # as if the write-ahead log had lost its end
    with caplog.at_level(logging.ERROR):
        async with opened(tmp_path):
            pass
    assert "ends at its change 2, but 5 was acknowledged: up to 3 changes are lost" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        async with opened(tmp_path):
            pass
    assert "lost" not in caplog.text  # it is said once


async def test_a_purge_is_no_loss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM), record(1), record(2)))
        await log.purge(ROOM)
    with caplog.at_level(logging.ERROR):
        async with opened(tmp_path):
            pass
    assert "lost" not in caplog.text


def test_a_watermark_that_is_torn_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / WATERMARK
    database = tmp_path / DATABASE
    database.touch()
    mark = Watermark(path, database)
    assert mark.get() is None
    mark.set(7)
    assert mark.get() == Acknowledged(7, mark.file)
    mark.set(8)  # too soon for another name
    assert mark.get() == Acknowledged(8, mark.file)
    path.write_bytes(b"\xff" * 4 + path.read_bytes()[4:])
    assert mark.get() == Acknowledged(7, 0)
    path.write_bytes(b"abc")
    assert mark.get() == Acknowledged(7, 0)
    path.with_name(f"{WATERMARK}.7").unlink()
    assert mark.get() is None
    mark.set(3, named=True)
    mark.set(4, named=True)
    assert [found.name for found in tmp_path.glob(f"{WATERMARK}.*")] == [f"{WATERMARK}.4"]
    mark.close()


async def test_a_log_that_cannot_be_written_says_so_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as log:
        await committed(log, batch(await log.open(ROOM), record(1)))
        await log.check()
        full = file_size_max(file_size(tmp_path / f"{DATABASE}-wal"))
        with full, caplog.at_level(logging.WARNING):
            [outcome] = await log.append([batch(await log.open(ROOM), record(2, value="x" * 200_000))])
            assert isinstance(outcome, Failed)
            assert "can't be written" in caplog.text and log.trouble
            with pytest.raises(LogUnavailable, match="can't be written"):
                await log.check()
        await log.check()
        assert not log.trouble
        assert "can be written again" in caplog.text
        await committed(log, batch(await log.open(ROOM), record(2)))
