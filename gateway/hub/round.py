"""One append of a lane: stages its rooms' batches, and brings the log's answers to them.

Nothing here waits. Where a slice of the loop's time is over, the committer goes on later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.hub.catch_up import CatchUp
from gateway.hub.heavy import HeavyRooms
from gateway.hub.lane import Lane
from gateway.hub.overload import Overload
from gateway.hub.pace import INTERVAL_MAX_S
from gateway.hub.portions import is_one_portion
from gateway.ports import Batch, Outcome, Reserved, Stale
from gateway.ports.tracing import Tracer
from gateway.rooms.room import CATCH_UP, DONE, REOPEN, Room
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices

# Where a room changed less long ago, a lane that waited for as long would have had both changes in one batch.
GATHERED_MS = int(1000 * INTERVAL_MAX_S)


class RoundContext:
    """What all rounds share. `cpu_s` is what the loop's thread used.

    `after` is called for each batch answered, and told whether it may be stored or not; `sanitise` for each
    that waits for HTML to be cleaned, and `far_behind` for each that the log's answer tells much of.
    """

    __slots__ = (
        "after", "catch_up", "changes_max", "counters", "cpu_s", "far_behind", "heavy", "overload",
        "sanitise", "tracer",
    )  # fmt: skip

    def __init__(
        self,
        counters: Counters,
        catch_up: CatchUp,
        heavy: HeavyRooms,
        overload: Overload,
        changes_max: int,
        cpu_s: Callable[[], float],
        after: Callable[[Room, Batch, bool], None],
        sanitise: Callable[[Room], None],
        far_behind: Callable[[Round, Room, Batch, Stale], None],
        tracer: Tracer | None,
    ) -> None:
        self.counters = counters
        self.catch_up = catch_up
        self.heavy = heavy
        self.overload = overload
        self.changes_max = changes_max
        self.cpu_s = cpu_s
        self.after = after
        self.sanitise = sanitise
        self.far_behind = far_behind
        self.tracer = tracer


class Round:
    """See the module. `batches` is what to append, `changes` how many changes that is, and `again` how many
    rooms had changed just before. `to_reopen`: a room whose history isn't the log's any more."""

    __slots__ = (
        "_context", "_lane", "_rooms", "_settled", "_used_s", "again", "batches", "changes", "to_reopen",
    )  # fmt: skip

    def __init__(self, lane: Lane, context: RoundContext) -> None:
        self._lane = lane
        self._context = context
        self._rooms: list[Room] = []
        self._settled = 0
        self._used_s = 0.0  # of the loop's thread, until the room that is staged
        self.batches: list[Batch] = []
        self.changes = 0
        self.again = 0
        self.to_reopen: Room | None = None

    def stage(self, slices: Slices) -> bool:
        """Stage the rooms that have waited longest, up to a bound; whether a pause is due before the next."""
        self._used_s = self._context.cpu_s()
        while self.changes < self._context.changes_max:
            room = self._lane.pop()
            if room is None:
                return False
            wait_s = self._context.heavy.wait_s(room)
            if wait_s:
                self._lane.postpone(room, wait_s)
            else:
                self._stage(room)
                if slices.over:
                    return True
        return False

    def _stage(self, room: Room) -> None:
        context = self._context
        changed_ms, pending = room.history.changed_ms, context.counters.pending_changes
        batch = room.prepare()
        changes = 0 if batch is None else len(batch.records)
        began_s, self._used_s = self._used_s, context.cpu_s()
        context.heavy.staged(room, self._used_s - began_s, changes)
        context.overload.released(pending - context.counters.pending_changes)
        if batch is not None:
            if not context.heavy.has(room):  # who is heavy waits for others on purpose
                context.overload.staged(room.waited_s())
            self._rooms.append(room)
            self.batches.append(batch)
            self.changes += changes
            self.again += batch.records[0].timestamp < changed_ms + GATHERED_MS
        if room.unsanitised:
            context.sanitise(room)

    def settle(self, outcomes: Sequence[Outcome], slices: Slices) -> bool:
        """Bring the log's answers to the rooms; whether to go on after a pause, or after reopening one.

        A room that is far behind isn't settled here: it takes the answer by portions, and others don't wait.
        """
        self.to_reopen = None
        while self._settled < len(self._rooms):
            place = self._settled
            self._settled += 1
            room, batch, outcome = self._rooms[place], self.batches[place], outcomes[place]
            if isinstance(outcome, Stale) and not is_one_portion(outcome.records):
                self._context.far_behind(self, room, batch, outcome)
            else:
                self.settle_one(room, batch, outcome)
            if self.to_reopen is not None or slices.over:
                return True
        return False

    def settle_one(self, room: Room, batch: Batch, outcome: Outcome) -> None:
        """Bring the log's answer to its room, and do what that leaves to do."""
        context, counters = self._context, self._context.counters
        counters.batches += 1
        counters.batch_changes.observe(len(batch.records))
        pending = counters.pending_changes
        following = room.settle(outcome)
        context.overload.released(pending - counters.pending_changes)
        if context.tracer is not None:
            context.tracer.settled(batch)
        if following is DONE:
            self._lane.committed(room)
        elif isinstance(outcome, Reserved):
            self._lane.reserved(room, outcome.seconds)
        context.catch_up.landed(room)
        context.after(room, batch, following is CATCH_UP)
        if following is REOPEN:
            self.to_reopen = room
        elif following is CATCH_UP:
            context.catch_up.soon(room.resource)
