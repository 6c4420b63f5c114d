"""Appends what rooms have pending, lane by lane of the log: one round trip for many rooms.

This is the group commit: while a lane's appends are under way, submissions gather in their rooms, and become
the next batches. An idle lane commits one change at once, a busy one gathers for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from gateway.errors import LogUnavailable, retry_after_ms
from gateway.hub.catch_up import CatchUp
from gateway.hub.heavy import HeavyRooms
from gateway.hub.lane import Lane
from gateway.hub.overload import Overload
from gateway.hub.pace import INTERVAL_MAX_S
from gateway.hub.sanitising import Sanitising
from gateway.ports import Batch, Failed, OpLog, Outcome, Reserved
from gateway.ports.tracing import Tracer
from gateway.rooms.room import CATCH_UP, DONE, REOPEN, Room
from gateway.runtime.histogram import Histogram
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices
from gateway.wire.announcement import Announcement

logger = logging.getLogger(__name__)

# Where a room changed less long ago, a lane that waited for as long would have had both changes in one batch.
GATHERED_MS = int(1000 * INTERVAL_MAX_S)


def _observe(histogram: Histogram, seconds: float, changes: int) -> None:
    """Share a time among the changes that took it."""
    histogram.observe(seconds / changes, changes)


class Committer:
    """Brings rooms' batches to the log and its answers back. `after` is called for each room answered.

    `cpu_s` is what the loop's thread used, where that is known: time in which it didn't run isn't work.
    """

    def __init__(
        self,
        log: OpLog,
        counters: Counters,
        now_s: Callable[[], float],
        catch_up: CatchUp,
        sanitising: Sanitising,
        overload: Overload,
        after: Callable[[Room], None],
        tracer: Tracer | None = None,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        self._log = log
        self._counters = counters
        self._now_s = now_s
        self._cpu_s = cpu_s or now_s
        self._catch_up = catch_up
        self._after = after
        self._tracer = tracer
        self._sanitising = sanitising
        self._being_sanitised: set[Room] = set()
        self._overload = overload
        self._heavy = HeavyRooms(now_s)
        self._lanes: dict[int, Lane] = {}
        self._nursery: trio.Nursery | None = None
        self._round: trio.Event | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def add(self, room: Room) -> None:
        """The room has something to append."""
        self._lane(room).add(room)

    def forget(self, room: Room) -> None:
        """The room is evicted."""
        self._heavy.forget(room)
        self._lane(room).forget(room)

    def _lane(self, room: Room) -> Lane:
        number = self._log.lane(room.resource)
        lane = self._lanes.get(number)
        if lane is None:
            assert self._nursery is not None, "the committer isn't running"
            lane = self._lanes[number] = Lane(self._log.pacing)
            for _ in range(self._log.pacing.at_once):
                self._nursery.start_soon(self._serve, lane)
        return lane

    def heard(self, room: Room, announced: Announcement) -> None:
        """Others have had their turn, if what they announce is news to the room."""
        if announced.records and announced.records[-1].version > room.history.version:
            self._lane(room).heard(room)

    async def next_round(self) -> None:
        """Wait until a lane has served its rooms once more."""
        if self._round is None:
            self._round = trio.Event()
        await self._round.wait()

    async def _serve(self, lane: Lane) -> None:
        """One append after the other. Several may serve a lane; one at a time prepares."""
        while True:
            async with lane.next:
                await lane.wait()
                prepared = await self._prepared(lane)
            if prepared:
                await self._commit(lane, prepared)
            if self._round is not None:
                self._round.set()
                self._round = None

    async def _prepared(self, lane: Lane) -> Sequence[tuple[Room, Batch]]:
        """The batches of the next round trip: of the rooms that waited longest, up to a bound."""
        lane.take_due_back()
        slices = Slices(self._now_s)
        prepared: list[tuple[Room, Batch]] = []
        changes = again = 0
        while changes < self._log.pacing.changes and (room := lane.pop()) is not None:
            wait_s = self._heavy.wait_s(room)
            if wait_s:
                lane.postpone(room, wait_s)
                continue
            changed_ms = room.history.timestamp_ms
            batch = self._staged(room)
            if batch is not None:
                prepared.append((room, batch))
                changes += len(batch.records)
                again += batch.records[0].timestamp < changed_ms + GATHERED_MS
            if room.unsanitised:
                self._sanitise_for(room)
            if slices.over:
                await slices.pause()
        if changes:
            _observe(self._counters.step_seconds["transform"], slices.worked_s, changes)
        lane.carried(len(prepared), again)
        return prepared

    def _staged(self, room: Room) -> Batch | None:
        began_s, pending = self._cpu_s(), self._counters.pending_changes
        batch = room.prepare()
        self._heavy.staged(room, self._cpu_s() - began_s, 0 if batch is None else len(batch.records))
        self._overload.released(pending - self._counters.pending_changes)
        if batch is not None and not self._heavy.has(room):  # who is heavy waits for others on purpose
            self._overload.staged(room.waited_s())
        return batch

    def _sanitise_for(self, room: Room) -> None:
        if room not in self._being_sanitised:
            assert self._nursery is not None, "the committer isn't running"
            self._being_sanitised.add(room)
            self._nursery.start_soon(self._sanitise, room)

    async def _sanitise(self, room: Room) -> None:
        """Have the HTML cleaned that a room waits for, and go on with the room."""
        try:
            await self._sanitising.clean(room.unsanitised)
        finally:
            self._being_sanitised.discard(room)
        room.unsanitised = ()
        self.add(room)

    async def _commit(self, lane: Lane, prepared: Sequence[tuple[Room, Batch]]) -> None:
        outcomes = await self._append(lane, [batch for _, batch in prepared])
        slices = Slices(self._now_s)
        changes = 0
        for (room, batch), outcome in zip(prepared, outcomes, strict=True):
            changes += len(batch.records)
            self._counters.batches += 1
            self._counters.batch_changes.observe(len(batch.records))
            await self._settle(lane, room, batch, outcome)
            if slices.over:
                await slices.pause()
        _observe(self._counters.step_seconds["fan_out"], slices.worked_s, changes)

    async def _settle(self, lane: Lane, room: Room, batch: Batch, outcome: Outcome) -> None:
        """Bring the log's answer to its room, and do what that leaves to do."""
        pending = self._counters.pending_changes
        following = room.settle(outcome)
        self._overload.released(pending - self._counters.pending_changes)
        if self._tracer is not None:
            self._tracer.settled(batch)
        if following is DONE:
            lane.committed(room)
        elif isinstance(outcome, Reserved):
            lane.reserved(room, outcome.seconds)
        self._catch_up.landed(room)
        self._after(room)
        if following is REOPEN:
            await self._catch_up.reopen(room)
        elif following is CATCH_UP:
            self._catch_up.soon(room.resource)

    async def _append(self, lane: Lane, batches: Sequence[Batch]) -> Sequence[Outcome]:
        started_s = self._now_s()
        if self._tracer is not None:
            self._tracer.appending(batches)
        try:
            outcomes = await self._log.append(batches)
        except LogUnavailable as error:
            outcomes = [Failed(str(error), error.outcome, retry_after_ms())] * len(batches)
        except Exception as error:
            logger.exception("bug in the log while appending")
            self._counters.internal_errors += 1
            text = f"a bug, logged: {type(error).__name__}"
            outcomes = [Failed(text, "unknown", retry_after_ms())] * len(batches)
        if self._tracer is not None:
            self._tracer.answered(batches, outcomes)
        took_s = self._now_s() - started_s
        lane.appended(took_s)
        self._counters.commit_seconds.observe(took_s)
        changes = sum(len(batch.records) for batch in batches)
        self._counters.step_seconds["commit"].observe(took_s, changes)
        return outcomes
