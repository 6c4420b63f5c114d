"""Older states of a resource, rebuilt from the log: the nearest snapshot and what came after it.

Long replays let other tasks run every so often; none of them holds the whole history in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import trio

from gateway.ports import OpLog, Record
from gateway.rooms.room import Room
from gateway.rooms.window import Entry, entry_of

PAGE_RECORDS = 500
REPLAYED_BETWEEN_CHECKPOINTS = 64


def agrees(room: Room, records: Sequence[Record]) -> bool:
    """Whether those of consecutive changes that the room has already are the same as its own."""
    before = records[0].version - 1 if records else room.version
    if before >= room.version:
        return True
    if not room.window.covers(before, room.version):
        return False
    own = room.window.since(before, room.version)
    return all(kept.body == record.body for kept, record in zip(own, records, strict=False))


async def records_after(log: OpLog, resource: str, after: int, upto: int) -> AsyncIterator[Record]:
    """The changes `after + 1 ... upto`, as far as the log has them; raises LogUnavailable."""
    while after < upto:
        records = await log.read(resource, after, min(PAGE_RECORDS, upto - after))
        for record in records:
            yield record
        if not records:
            return
        after = records[-1].version


async def document_at(log: OpLog, resource: str, version: int) -> Any:
    """The document right after `version` (None: there was none); raises LogUnavailable."""
    snapshot = await log.snapshot(resource, version)
    document = orjson.loads(snapshot.document)
    replayed = 0
    async for record in records_after(log, resource, snapshot.version, version):
        document = entry_of(document, record).after
        replayed += 1
        if replayed % REPLAYED_BETWEEN_CHECKPOINTS == 0:
            await trio.lowlevel.checkpoint()
    return document


async def entries_after(log: OpLog, resource: str, after: int, upto: int) -> AsyncIterator[Entry]:
    """The changes `after + 1 ... upto` with the documents that they were made on."""
    document = await document_at(log, resource, after)
    async for record in records_after(log, resource, after, upto):
        entry = entry_of(document, record)
        document = entry.after
        yield entry
        if record.version % REPLAYED_BETWEEN_CHECKPOINTS == 0:
            await trio.lowlevel.checkpoint()
