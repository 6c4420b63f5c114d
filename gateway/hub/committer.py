"""Appends what rooms have pending, lane by lane of the log: one round trip for many rooms.

This is the group commit: while a lane's appends are under way, submissions gather in their rooms, and become
the next batches. An idle lane commits one change at once, a busy one gathers for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from gateway.errors import LogUnavailable, Refusal, retry_after_ms
from gateway.hub.catch_up import CatchUp
from gateway.hub.heavy import HeavyRooms
from gateway.hub.lane import Lane, Lanes
from gateway.hub.overload import Overload
from gateway.hub.portions import portions
from gateway.hub.round import Round, RoundContext
from gateway.hub.sanitising import Sanitising
from gateway.ports import Batch, Failed, OpLog, Outcome, Stale, failed
from gateway.ports.tracing import Tracer
from gateway.rooms.room import Room
from gateway.runtime.background import Background
from gateway.runtime.histogram import Histogram
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices, turns
from gateway.wire.announcement import Announcement

logger = logging.getLogger(__name__)


def _observe(histogram: Histogram, seconds: float, changes: int) -> None:
    """Share a time among the changes that took it."""
    histogram.observe(seconds / changes, changes)


class Committer:
    """Brings rooms' batches to the log and its answers back. `after`: see `RoundContext`.

    `lanes` take the rooms that have something to append; they are served in the background.

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
        after: Callable[[Room, Batch, bool], None],
        background: Background,
        tracer: Tracer | None = None,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        self._log = log
        self._counters = counters
        self._now_s = now_s
        self._catch_up = catch_up
        self._background = background
        self._tracer = tracer
        self._sanitising = sanitising
        self._being_sanitised: set[Room] = set()
        self._heavy = HeavyRooms(now_s)
        self._rounds = RoundContext(
            counters,
            catch_up,
            self._heavy,
            overload,
            log.pacing.changes,
            cpu_s or now_s,
            after,
            self._sanitise_for,
            self._far_behind,
            tracer,
        )
        self.lanes = Lanes(log, self._begin)
        self._round: trio.Event | None = None

    def forget(self, room: Room) -> None:
        """The room is evicted."""
        self._heavy.forget(room)
        self.lanes.forget(room)

    def _begin(self) -> Lane:
        """Have a lane served."""
        lane = Lane(self._log.pacing)
        for _ in range(self._log.pacing.at_once):
            self._background.start(self._serve, lane)
        return lane

    def heard(self, room: Room, announced: Announcement) -> None:
        """Others have had their turn, if what they announce is news to the room."""
        if announced.records and announced.records[-1].version > room.history.version:
            self.lanes.of(room).heard(room)

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
                staged = await self._staged(lane)
            if staged.batches:
                await self._commit(lane, staged)
            if self._round is not None:
                self._round.set()
                self._round = None

    async def _staged(self, lane: Lane) -> Round:
        """The next round trip."""
        lane.take_due_back()
        slices = Slices(self._now_s)
        staged = Round(lane, self._rounds)
        while staged.stage(slices):
            await slices.pause()
        if staged.changes:
            _observe(self._counters.step_seconds["transform"], slices.worked_s, staged.changes)
        lane.carried(len(staged.batches), staged.again)
        return staged

    def _sanitise_for(self, room: Room) -> None:
        if room not in self._being_sanitised:
            self._being_sanitised.add(room)
            self._background.start(self._sanitise, room)

    async def _sanitise(self, room: Room) -> None:
        """Have the HTML cleaned that a room waits for, and go on with the room."""
        try:
            await self._sanitising.clean(room.unsanitised)
        finally:
            self._being_sanitised.discard(room)
        room.unsanitised = ()
        self.lanes.add(room)

    async def _commit(self, lane: Lane, staged: Round) -> None:
        outcomes = await self._append(lane, staged)
        assert len(outcomes) == len(staged.batches), "an outcome for each batch"
        slices = Slices(self._now_s)
        while staged.settle(outcomes, slices):
            if staged.to_reopen is not None:
                with suppress(Refusal):  # those who wait there are told
                    await self._catch_up.reopen(staged.to_reopen)
            await slices.pause()
        _observe(self._counters.step_seconds["fan_out"], slices.worked_s, staged.changes)

    def _far_behind(self, staged: Round, room: Room, batch: Batch, stale: Stale) -> None:
        self._background.start(self._settle_by_portions, staged, room, batch, stale)

    async def _settle_by_portions(self, staged: Round, room: Room, batch: Batch, stale: Stale) -> None:
        """Have a room take much that others appended first; its batch counts as under way until it has."""
        *earlier, last = portions(stale.records)
        for portion in earlier:
            await turns().next()  # of all rooms that are far behind, one portion at a time
            room.receive(portion)
        await turns().next()
        staged.settle_one(room, batch, Stale(last))

    async def _append(self, lane: Lane, staged: Round) -> Sequence[Outcome]:
        batches, started_s = staged.batches, self._now_s()
        if self._tracer is not None:
            self._tracer.appending(batches)
        try:
            outcomes = await self._log.append(batches)
        except LogUnavailable as error:
            outcomes = [failed(error)] * len(batches)
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
        self._counters.step_seconds["commit"].observe(took_s, staged.changes)
        return outcomes
