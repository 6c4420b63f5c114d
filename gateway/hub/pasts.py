"""What edits far behind their rooms need, read from the log once, shared by all of them, and bounded.

Who finds what he needs doesn't wait. Building is done by one at a time, in slices, so that nobody else waits
for it either; the user whose edit asked for it pays for the CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import orjson
import trio

from gateway.config import LimitsSettings
from gateway.errors import LogEnds, LogTrimmed, Refusal
from gateway.hub import replay
from gateway.ports import OpLog, Snapshot
from gateway.rooms.history import History
from gateway.rooms.past import Past
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices, turns


class Pasts:
    """See the module. Of `limits`, `pasts_bytes_max` is of one, and of all that are kept; `catch_up` brings a
    room to the log's head."""

    def __init__(
        self,
        log: OpLog,
        counters: Counters,
        limits: LimitsSettings,
        catch_up: Callable[[Room], Awaitable[None]],
    ) -> None:
        self._log = log
        self._counters = counters
        self._limits = limits
        self._catch_up = catch_up
        self._kept: OrderedDict[Room, Past] = OrderedDict()  # in order of their last use
        self._building = trio.Lock()

    async def after(self, room: Room, version: int) -> Past:
        """What came after a version, up to the head as it is when this returns.

        Raises LogUnavailable; LogTrimmed where the log has it no more; Refusal VERSION_TOO_OLD where that is
        too much.
        """
        while True:
            past = self._usable(room)
            if past is None or not past.covers(version):
                history, upto = room.history, room.history.start
                async with self._building:
                    past = await self._built(room, version)
                if room.history is history and past.end < upto:
                    raise LogEnds(room.resource, room.version)
            if past.history is not room.history:
                continue
            self._kept[room] = past  # also where the window moved on: it is read on from there
            self._kept.move_to_end(room)
            if past.covers(version):
                past.take_window()
                return past

    def _usable(self, room: Room) -> Past | None:
        past = self._kept.get(room)
        return past if past is not None and past.history is room.history else None

    async def _built(self, room: Room, version: int) -> Past:
        past = self._usable(room)  # somebody else may have built it while this one waited
        if past is not None and past.start <= version:
            try:
                await self._read(room, past, version, room.history.start)
                return past
            except LogTrimmed:  # what follows it went: what is kept may be all that this needs
                past = None
        self.bound()
        self._counters.bases_rebuilt += 1
        begin = partial(self._begun, room, room.history, version, past)
        return await replay.from_snapshot(self._log, room.resource, version, begin)

    async def _begun(
        self, room: Room, history: History, version: int, later: Past | None, snapshot: Snapshot
    ) -> Past:
        """From a snapshot of this history up to its window, but for what a `later` one has."""
        past = Past(history, snapshot.version, orjson.loads(snapshot.document))
        if later is not None:
            await self._read(room, past, version, later.start)
            if past.end == later.start:
                past.join(later)
        await self._read(room, past, version, room.history.start)
        return past

    async def _read(self, room: Room, past: Past, version: int, upto: int) -> None:
        """Add the changes up to one, for an edit on a version."""
        slices = Slices(trio.current_time, turns())
        before = past.end
        async with aclosing(replay.records_after(self._log, room.resource, before, upto)) as records:
            async for record in records:
                if past.history is not room.history:  # replaced meanwhile: these may be the other one's
                    return
                past.add(replay.replayed(room.resource, past.last, record))
                if past.bytes > self._limits.pasts_bytes_max:
                    past.drop_before(version)
                if past.bytes > self._limits.pasts_bytes_max:
                    text = "the changes since this base are too much to merge: resume, merge and resubmit."
                    raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name())
                await slices.pause()
        if past.end == before < upto:  # the log doesn't have what the room is said to continue
            await self._catch_up(room)

    def forget(self, room: Room) -> None:
        """The room is evicted, or was idle for long."""
        self._kept.pop(room, None)

    def bound(self) -> None:
        """Drop what nobody can use any more, and what was used least lately until the rest fits."""
        for room, past in list(self._kept.items()):
            if past.history is room.history:
                past.drop_before(room.version - self._limits.rebase_versions_max)
            else:
                del self._kept[room]
        total = sum(past.bytes for past in self._kept.values())
        while total > self._limits.pasts_bytes_max:
            total -= self._kept.popitem(last=False)[1].bytes
        self._counters.past_bytes = total
