"""Histories and older states from the log."""

from __future__ import annotations

import orjson
import pytest

from gateway.errors import LogEnds, LogTrimmed
from gateway.hub import replay
from gateway.log.sqlite.log import SqliteLog
from gateway.ports import Batch, Snapshot
from gateway.ports.retention import Excess
from tests.doubles.log import MemoryHistory, MemoryLog
from tests.rooms.parts import CREATE, EVENT, RESOURCE, START_MS, record, titled


def log(*titles: str) -> MemoryLog:
    """A log with an event, whose titles were these."""
    history = MemoryHistory(START_MS, lambda: START_MS)
    records = [record(1, CREATE), *(record(n, titled(title)) for n, title in enumerate(titles, 2))]
    history.append(Batch(RESOURCE, START_MS, 0, "nonce", records))
    return MemoryLog(history)


async def test_a_history_has_the_changes_since_the_newest_snapshot_in_its_window():
    made = log(*"abcd")
    await made.save_snapshot(RESOURCE, START_MS, Snapshot(3, orjson.dumps(EVENT | {"title": "b"})))
    history = (await replay.load(made, RESOURCE, 16)).history
    assert (history.version, history.document["title"], history.start) == (5, "d", 3)
    assert (history.snapshot_version, history.pristine) == (3, False)
    assert history.timestamp_ms == START_MS


async def test_a_history_that_ends_at_a_snapshot_knows_when_that_was_made():
    made = log("a")
    await made.save_snapshot(RESOURCE, START_MS, Snapshot(2, orjson.dumps(EVENT)))
    history = (await replay.load(made, RESOURCE, 16)).history
    assert (history.version, history.start, history.timestamp_ms) == (2, 2, START_MS)


async def test_what_was_never_written_is_pristine():
    history = (await replay.load(MemoryLog(), RESOURCE, 16)).history
    assert (history.version, history.document, history.pristine) == (0, None, True)


async def test_any_version_can_be_had_again():
    made = log(*"abcd")
    assert await replay.document_at(made, RESOURCE, 0) is None
    assert (await replay.document_at(made, RESOURCE, 3))["title"] == "b"
    await made.save_snapshot(RESOURCE, START_MS, Snapshot(3, orjson.dumps(EVENT | {"title": "b"})))
    assert (await replay.document_at(made, RESOURCE, 4))["title"] == "c"


async def test_a_version_that_the_log_lost_is_no_older_one():
    made = log(*"abcd")
    with pytest.raises(LogEnds, match=f"all of {RESOURCE} up to version 6"):
        await replay.document_at(made, RESOURCE, 6)
    assert [entry async for entry in replay.entries_after(made, RESOURCE, 6, 7)] == []


class Cutting(SqliteLog):
    """Old history goes, up to a version, right after a snapshot of before was read."""

    cut_at = 0

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        found = await super().snapshot(resource, version)
        if self.cut_at:
            upto, self.cut_at = self.cut_at, 0
            document = orjson.dumps(await replay.document_at(self, resource, upto))
            excess = Excess(resource, (await self.open(resource)).epoch, upto)
            assert await self.retain(excess, document, [], 0)
        return found


@pytest.mark.parametrize("version", [3, 4, 6])
async def test_a_version_that_is_kept_can_be_had_while_older_ones_go(tmp_path, version):
    made = Cutting(tmp_path)
    epoch = (await made.open(RESOURCE)).epoch
    records = [record(1, CREATE), *(record(n, titled(title)) for n, title in enumerate("abcdef", 2))]
    await made.append([Batch(RESOURCE, epoch, 0, "nonce", records)])
    made.cut_at = 3
    assert (await replay.document_at(made, RESOURCE, version))["title"] == "abcdef"[version - 2]
    made.cut_at = 5
    with pytest.raises(LogTrimmed):
        await replay.document_at(made, RESOURCE, 4)
    await made.aclose()


async def test_changes_come_page_by_page_up_to_a_version(monkeypatch):
    monkeypatch.setattr(replay, "PAGE_RECORDS", 2)
    made = log(*"abcdef")
    found = [record.version async for record in replay.records_after(made, RESOURCE, 1, 6)]
    assert found == [2, 3, 4, 5, 6]
    assert [r.version async for r in replay.records_after(made, RESOURCE, 5, 99)] == [6, 7]
    entries = [entry async for entry in replay.entries_after(made, RESOURCE, 2, 4)]
    assert [(entry.before["title"], entry.after["title"]) for entry in entries] == [("a", "b"), ("b", "c")]
