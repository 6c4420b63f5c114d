"""A resource's history from the log: as it is now, and older states, from the nearest snapshot on.

Long replays let other tasks run between changes; none of them holds the whole history in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
import trio

from gateway.ports import Opening, OpLog, Record
from gateway.rooms.history import History
from gateway.rooms.window import Entry, entry_of
from gateway.runtime.timeslice import Slices

PAGE_RECORDS = 500


class Loaded(NamedTuple):
    """What the log has now: its answer, and the history that this makes."""

    opening: Opening
    history: History


async def load(log: OpLog, resource: str, seq_kept: int) -> Loaded:
    """The history up to the log's head; raises LogUnavailable."""
    opening = await log.open(resource)
    document = orjson.loads(opening.snapshot.document)
    entries: list[Entry] = []
    slices = Slices(trio.current_time)
    for record in opening.records:
        entries.append(entry_of(document, record))
        document = entries[-1].after
        await slices.pause()
    version, timestamp_ms = opening.snapshot.version, 0
    if entries:
        version = entries[-1].record.version
        timestamp_ms = entries[-1].record.timestamp
    elif version:
        newest = await log.read(resource, version - 1, 1)
        timestamp_ms = newest[0].timestamp if newest else 0
    history = History(opening.epoch, version, document, timestamp_ms, seq_kept)
    history.snapshot_version = opening.snapshot.version
    for entry in entries:
        history.window.append(entry)
    return Loaded(opening, history)


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
    slices = Slices(trio.current_time)
    async for record in records_after(log, resource, snapshot.version, version):
        document = entry_of(document, record).after
        await slices.pause()
    return document


async def entries_after(log: OpLog, resource: str, after: int, upto: int) -> AsyncIterator[Entry]:
    """The changes `after + 1 ... upto` with the documents that they were made on."""
    document = await document_at(log, resource, after)
    slices = Slices(trio.current_time)
    async for record in records_after(log, resource, after, upto):
        entry = entry_of(document, record)
        document = entry.after
        yield entry
        await slices.pause()
