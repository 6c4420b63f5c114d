"""A resource's history from the log: as it is now, and older states, from the nearest snapshot on.

Long replays let other tasks run between changes; none of them holds the whole history in memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import trio

from gateway.errors import LogEnds, LogTrimmed, PatchError
from gateway.ports import Opening, OpLog, Record, Snapshot
from gateway.rooms.history import History
from gateway.rooms.window import Entry, entry_of
from gateway.runtime.timeslice import Slices, turns
from gateway.wire.checksum import damage

T = TypeVar("T")

PAGE_RECORDS = 500
# A page is read whole. How many changes are about so many bytes is told by those before.
PAGE_BYTES = 1 << 20
FIRST_PAGE_RECORDS = 16


class Pages:
    """How many `records` the next page may have, by the size of those before; the first has so many."""

    def __init__(self, first: int = FIRST_PAGE_RECORDS) -> None:
        self.records = first

    def read(self, count: int, size: int) -> None:
        """A page of `count` changes had so many bytes."""
        self.records = max(1, min(PAGE_RECORDS, 4 * self.records, PAGE_BYTES * count // max(1, size)))


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
        entries.append(replayed(resource, document, record))
        document = entries[-1].after
        await slices.pause()
    version, changed_ms = opening.snapshot.version, 0
    if entries:
        version = entries[-1].record.version
        changed_ms = entries[-1].record.timestamp
    elif version:
        changed_ms = await _made_ms(log, resource, version)
    history = History(opening.epoch, version, document, changed_ms, seq_kept)
    history.snapshot_version = opening.snapshot.version
    for entry in entries:
        history.window.append(entry)
    return Loaded(opening, history)


async def _made_ms(log: OpLog, resource: str, version: int) -> int:
    """When a version was made; 0 where its change isn't kept: a backup may have had its document alone."""
    try:
        records = await log.read(resource, version - 1, 1)
    except LogTrimmed:
        return 0
    return records[0].timestamp if records else 0


async def records_after(log: OpLog, resource: str, after: int, upto: int) -> AsyncGenerator[Record, None]:
    """The changes `after + 1 ... upto`, as far as the log has them; raises LogUnavailable."""
    pages = Pages()
    while after < upto:
        records = await log.read(resource, after, min(pages.records, upto - after))
        size = 0
        for record in records:
            size += len(record.body)
            yield record
        if not records:
            return
        after = records[-1].version
        pages.read(len(records), size)


def replayed(resource: str, document: Any, record: Record) -> Entry:
    """The entry of a logged change; raises LogDamaged where the document doesn't take it."""
    try:
        return entry_of(document, record)
    except PatchError as error:
        raise damage.found(f"version {record.version} of {resource}") from error


async def document_at(log: OpLog, resource: str, version: int) -> Any:
    """The document right after `version` (None: there was none); raises LogUnavailable."""
    return await from_snapshot(log, resource, version, partial(_document_from, log, resource, version))


async def from_snapshot(
    log: OpLog, resource: str, version: int, read: Callable[[Snapshot], Awaitable[T]]
) -> T:
    """What `read` makes of the newest snapshot up to a version, and of what it reads after that."""
    snapshot = await log.snapshot(resource, version)
    while True:
        try:
            return await read(snapshot)
        except LogTrimmed:  # where old history went meanwhile, there is a newer document to begin from
            newer = await log.snapshot(resource, version)
            if newer.version <= snapshot.version:
                raise
            snapshot = newer


async def _document_from(log: OpLog, resource: str, version: int, snapshot: Snapshot) -> Any:
    document, reached = orjson.loads(snapshot.document), snapshot.version
    slices = Slices(trio.current_time, turns())
    async with aclosing(records_after(log, resource, reached, version)) as records:
        async for record in records:
            document, reached = replayed(resource, document, record).after, record.version
            await slices.pause()
    if reached < version:
        raise LogEnds(resource, version)
    return document


async def entries_after(log: OpLog, resource: str, after: int, upto: int) -> AsyncGenerator[Entry, None]:
    """The changes `after + 1 ... upto`, as far as the log has them, with the documents before them."""
    try:
        document = await document_at(log, resource, after)
    except LogEnds:
        return
    slices = Slices(trio.current_time, turns())
    async with aclosing(records_after(log, resource, after, upto)) as records:
        async for record in records:
            entry = replayed(resource, document, record)
            document = entry.after
            yield entry
            await slices.pause()
