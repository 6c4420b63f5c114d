"""Rooms whose edits are much work to stage: together they get a part of the loop, the others the rest.

An edit may cost little to receive and much to stage: it is carried past what others did since, and checked.
Its author is charged, and waits with his next message; but what he sent to many rooms before that is here.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.rooms.room import Room

# A batch is heavy that took so long to stage, and so long for each of its changes.
BATCH_S = 0.005
CHANGE_S = 0.001
# After a heavy batch the loop is the others' for so many times as long. What is more holds others up, so they
# come first for far longer: for so many times what is beyond, and so long at most.
PAUSES = 4.0
BEYOND_PAUSES = 64.0
PAUSE_MAX_S = 2.0


def _pause_s(cpu_s: float) -> float:
    return min(PAUSES * BATCH_S + BEYOND_PAUSES * (cpu_s - BATCH_S), PAUSE_MAX_S)


class HeavyRooms:
    """Whose last batch was heavy: each gets a time of its own, in the order in which they ask."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._pauses_s: dict[Room, float] = {}  # what the last batch of a heavy room leaves to the others
        self._due_s: dict[Room, float] = {}  # of those that asked
        self._free_s = 0.0  # when the next that asks may be staged

    def wait_s(self, room: Room) -> float:
        """For how long the room has to wait until its next batch is staged."""
        pause_s = self._pauses_s.get(room)
        if pause_s is None:
            return 0.0
        now_s = self._now_s()
        due_s = self._due_s.get(room)
        if due_s is None:
            due_s = self._due_s[room] = max(now_s, self._free_s)
            self._free_s = due_s + pause_s
        return max(0.0, due_s - now_s)

    def staged(self, room: Room, cpu_s: float, changes: int) -> None:
        """A batch of so many changes (0: all of them were refused) was so much work to stage."""
        if cpu_s < BATCH_S or cpu_s < CHANGE_S * changes:
            if self._pauses_s:
                self.forget(room)
            return
        self._due_s.pop(room, None)
        pause_s = self._pauses_s[room] = _pause_s(cpu_s)
        self._free_s = max(self._free_s, self._now_s() + pause_s)

    def has(self, room: Room) -> bool:
        """Whether the room's last batch was heavy."""
        return room in self._pauses_s

    def forget(self, room: Room) -> None:
        """The room is no more, or not heavy any more."""
        self._pauses_s.pop(room, None)
        self._due_s.pop(room, None)
