"""Rooms with something to append, and whose turn it is.

Two workers that append to one room are in each other's way: whoever comes second is refused (`Stale`), stages
its changes again and tries once more, while the other one may be faster again. So they take turns. A worker
that has appended to a room which others change too leaves it to them, until it hears a change of theirs or
has waited a few times as long as an append takes. Nobody has to agree on that: what the log refuses is
refused with or without turns.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from gateway.hub.pace import Pace
from gateway.hub.turn import Turn
from gateway.ports import OpLog, Pacing
from gateway.rooms.room import Room

# For how long a room is left to others, in appends' usual durations; waiting longer costs more than it saves.
YIELD_APPENDS = 6.0
YIELD_MAX_S = 0.1
# How much the newest append counts in what is usual.
_NEWEST = 0.2


class Lane:
    """See the module; rooms are in the order in which they asked. `append_s`: an append's usual duration.

    Who prepares the lane's next append holds `next`.
    """

    __slots__ = (
        "_asleep", "_full", "_full_rooms", "_pace", "_ready", "_turns", "_yielded", "append_s", "next",
    )  # fmt: skip

    def __init__(self, pacing: Pacing) -> None:
        self.next = trio.Lock()
        self._pace = Pace(pacing)
        self._full_rooms = pacing.full
        self._full = trio.Event()  # so many rooms are ready
        self._ready: dict[Room, None] = {}
        self._yielded: dict[Room, Turn] = {}
        self._turns: dict[Room, Turn] = {}  # of the rooms that others change too
        self.append_s = 0.0
        self._asleep: trio.Event | None = None  # of who waits for some room's turn

    def add(self, room: Room) -> None:
        """The room has something to append; adding it again changes nothing."""
        if room in self._yielded:
            return
        turn = self._turns.get(room)
        if turn is not None and turn.until_s > trio.current_time():
            self._yielded[room] = turn
        else:
            self._is_ready(room)
        self._wake()

    def _wake(self) -> None:
        if self._asleep is not None:
            self._asleep.set()
            self._asleep = None

    def _is_ready(self, room: Room) -> None:
        self._ready[room] = None
        if len(self._ready) >= self._full_rooms:
            self._full.set()

    def forget(self, room: Room) -> None:
        """The room is no more."""
        self._turns.pop(room, None)

    def heard(self, room: Room) -> None:
        """Others have changed the room: they have had their turn, if it was theirs."""
        self._turn(room).heard(trio.current_time())
        self._take_back(room)

    def _turn(self, room: Room) -> Turn:
        turn = self._turns.get(room)
        if turn is None:
            turn = self._turns[room] = Turn()
        return turn

    def _take_back(self, room: Room) -> None:
        if self._yielded.pop(room, None) is not None:
            self._is_ready(room)
            self._wake()

    def appended(self, took_s: float) -> None:
        """An append of the lane took so long."""
        self.append_s += _NEWEST * (took_s - self.append_s)

    def committed(self, room: Room) -> None:
        """A batch of the room was committed: it's the others' turn, if there are any."""
        turn = self._turns.get(room)
        if turn is None:
            return
        now_s = trio.current_time()
        turn.give(now_s, min(YIELD_APPENDS * self.append_s, YIELD_MAX_S))
        if turn.until_s > now_s:
            self._yield(room, turn)

    def _yield(self, room: Room, turn: Turn) -> None:
        if room in self._ready:  # it has got more to append meanwhile
            del self._ready[room]
            self._yielded[room] = turn

    def reserved(self, room: Room, seconds: float) -> None:
        """For so long the log takes nothing of the room, unless others change it before."""
        turn = self._turn(room)
        turn.leave(trio.current_time() + seconds)
        self._yield(room, turn)

    def postpone(self, room: Room, seconds: float) -> None:
        """A room that was popped can be popped again after so long."""
        turn = self._turn(room)
        turn.leave(trio.current_time() + seconds)
        self._yielded[room] = turn

    def carried(self, rooms: int, again: int) -> None:
        """An append of so many rooms was prepared, so many of which had changed just before."""
        self._pace.carried(rooms, again, self.append_s, more=bool(self._ready))
        self._full = trio.Event()

    def wait_s(self) -> float:
        """For how long the lane begins no append, whatever comes."""
        return 0.0 if self._pace.fills else self._pace.wait_s()

    async def wait(self) -> None:
        """Until it is some room's turn, and the lane's pace allows of an append."""
        await self._some_turn()
        await self._pace.wait(self._full)

    async def _some_turn(self) -> None:
        self.take_due_back()
        while not self._ready:
            due_s = min((turn.until_s for turn in self._yielded.values()), default=float("inf"))
            self._asleep = asleep = trio.Event()
            with trio.move_on_at(due_s):
                await asleep.wait()
            self.take_due_back()

    def pop(self) -> Room | None:
        """The room that has waited longest of those whose turn it is."""
        if not self._ready:
            return None
        room = next(iter(self._ready))
        del self._ready[room]
        return room

    def take_due_back(self) -> None:
        """Rooms that were left to others for long enough can be popped."""
        now_s = trio.current_time()
        for room in [room for room, turn in self._yielded.items() if turn.until_s <= now_s]:
            self._take_back(room)


class Lanes:
    """The lanes of a log, each begun when a room of it first has something to append.

    `begin` makes one, and has it served.
    """

    __slots__ = ("_begin", "_by_number", "_log")

    def __init__(self, log: OpLog, begin: Callable[[], Lane]) -> None:
        self._log = log
        self._begin = begin
        self._by_number: dict[int, Lane] = {}

    def add(self, room: Room) -> None:
        """The room has something to append."""
        self.of(room).add(room)

    def of(self, room: Room) -> Lane:
        """A room's lane; that may be another one later."""
        number = self._log.lane(room.resource)
        lane = self._by_number.get(number)
        if lane is None:
            lane = self._by_number[number] = self._begin()
        return lane

    def forget(self, room: Room) -> None:
        """The room is no more."""
        for lane in self._by_number.values():
            lane.forget(room)

    def wait_s(self) -> float:
        """For how long no lane begins an append, whatever comes."""
        return min([lane.wait_s() for lane in self._by_number.values()], default=0.0)
