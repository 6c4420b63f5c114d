"""The calendars that an event was ever in, by its history in the log: a purge takes it out of all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing, suppress
from typing import Any

import orjson

from gateway.errors import LogDamaged, LogTrimmed
from gateway.hub import replay
from gateway.hub.child_items import CHILD, parent_of, parents_in
from gateway.ports import OpLog, Record
from gateway.runtime.timeslice import Slices

# Of a history so many changes are looked at at once.
PAGE = 64
# Where so many in a row can't be read, what follows isn't looked for.
DAMAGED_MAX = 1000


class PastCalendars:
    """See the module. `now_s` is the loop's clock, in seconds."""

    def __init__(self, log: OpLog, now_s: Callable[[], float]) -> None:
        self._log = log
        self._now_s = now_s

    async def find(self, resource: str, document: Any, found: set[str], after: int = 0) -> int:
        """Have the calendars `found` that an event was ever in, as far as its history is kept and readable.

        That is looked through after a version; returns the one that it was looked through to. Raises
        LogUnavailable.
        """
        if not resource.startswith(f"{CHILD}:"):
            return after
        current = parent_of(document)
        found.update(() if current is None else (current,))
        slices = Slices(self._now_s)
        while records := await self._page(resource, after, found):
            parents = set[str | None]()
            for record in records:
                parents.update(parents_in(record.body))
                if slices.over:
                    await slices.pause()
            if None in parents:
                parents |= await self._parents_within(resource, records[0].version - 1, records[-1].version)
            found.update(parent for parent in parents if parent is not None)
            after = records[-1].version
        return after

    async def _parents_within(self, resource: str, after: int, upto: int) -> set[str | None]:
        """The calendars that an event was in between two versions, as far as its documents can be had."""
        parents = set[str | None]()
        with suppress(LogTrimmed, LogDamaged):
            async with aclosing(replay.entries_after(self._log, resource, after, upto)) as entries:
                async for entry in entries:
                    parents.add(parent_of(entry.after))
        return parents

    async def _page(self, resource: str, after: int, found: set[str]) -> Sequence[Record]:
        """The next changes after a version that are kept and can be read; none: there are no more of them.

        Of those that aren't kept, what the document after them names is found. Raises LogUnavailable.
        """
        damaged = 0
        while damaged <= DAMAGED_MAX:
            try:
                return await self._log.read(resource, after, 1 if damaged else PAGE)
            except LogTrimmed as trimmed:
                if trimmed.version <= after:
                    break
                after = trimmed.version
                found.update(await self._parents_at(resource, after))
            except LogDamaged:
                after += damaged > 0  # the first time it is one of a page
                damaged += 1
        return ()

    async def _parents_at(self, resource: str, version: int) -> Collection[str]:
        """The calendar that the newest document at or below a version is in, if it can be read."""
        try:
            parent = parent_of(orjson.loads((await self._log.snapshot(resource, version)).document))
        except LogDamaged:
            return ()
        return () if parent is None else (parent,)
