"""What is done for all rooms of a worker once a second: idle ones go, what the others keep is bounded.

Evicting a room saves its snapshot: it is done beside the rest, which waits for no log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter

import trio

from gateway.config import Config
from gateway.hub.overload import Overload
from gateway.hub.pasts import Pasts
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices

# All rooms are tidied once in so long, so many at a time, and more where that would be too many times: there
# is little to do for most of them, but tens of thousands take many ms.
TIDY_INTERVAL_S = 1.0
TIDY_ROOMS = 250
TIDY_PARTS_MAX = 50
# So many of them by one look at the clocks.
TIDY_A_LOOK = 50


class Tidying:
    """See the module. `rooms` are the open ones; `evict` closes one, unless it is wanted meanwhile."""

    def __init__(
        self,
        config: Config,
        rooms: Mapping[str, Room],
        pasts: Pasts,
        overload: Overload,
        counters: Counters,
        evict: Callable[[Room], Awaitable[None]],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._rooms = rooms
        self._pasts = pasts
        self._overload = overload
        self._counters = counters
        self._evict = evict
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._leaving: dict[Room, None] = {}
        self._some_leave = trio.Event()

    async def run(self) -> None:
        """Tidy up, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy_up)
            nursery.start_soon(self._evict_leaving)

    async def _tidy_up(self) -> None:
        """Many rooms in parts."""
        while True:
            parts = min(TIDY_PARTS_MAX, 1 + len(self._rooms) // TIDY_ROOMS)
            await trio.sleep(TIDY_INTERVAL_S / parts)
            rooms = list(self._rooms.values())
            for part in range(parts):
                if part:
                    await trio.sleep(TIDY_INTERVAL_S / parts)
                await self._tidy_part(rooms[part::parts])
            await self._bound_windows(rooms)
            self._pasts.bound()
            self._overload.look()

    async def _tidy_part(self, rooms: Sequence[Room]) -> None:
        slices = Slices(self._now_s)
        for first in range(0, len(rooms), TIDY_A_LOOK):
            wall_ms, idle_before_s = self._wall_ms(), self._idle_before_s()
            for room in rooms[first : first + TIDY_A_LOOK]:
                room.roster.end_typing(wall_ms)
                if _is_idle(room, idle_before_s):
                    self._tidy_idle(room)
            await slices.pause()

    def _idle_before_s(self) -> float:
        return self._now_s() - self._config.timeouts.room_idle_s

    def _tidy_idle(self, room: Room) -> None:
        self._pasts.forget(room)
        if room.subscriber_count:
            room.trim(0, 0)
        else:
            self._leaving[room] = None
            self._some_leave.set()

    async def _evict_leaving(self) -> None:
        """One after the other: where the log hangs each takes long."""
        while True:
            await self._some_leave.wait()
            slices = Slices(self._now_s)
            while self._leaving:
                room = next(iter(self._leaving))
                del self._leaving[room]
                if self._rooms.get(room.resource) is room and _is_idle(room, self._idle_before_s()):
                    await self._evict(room)
                if slices.over:
                    await slices.pause()
            self._some_leave = trio.Event()

    async def _bound_windows(self, rooms: Sequence[Room]) -> None:
        """Keep all windows within their budget: the rooms that were idle longest give theirs up first."""
        keeping = [room for room in rooms if room.history.window.bytes]
        total = sum(room.history.window.bytes for room in keeping)
        budget = self._config.limits.windows_bytes_max
        if total > budget:
            slices = Slices(self._now_s)
            keeping.sort(key=attrgetter("idle_since_s"))
            for room in keeping:
                total -= room.history.window.bytes
                room.trim(0, 0)
                total += room.history.window.bytes
                if total <= budget:
                    break
                if slices.over:
                    await slices.pause()
        self._counters.window_bytes = total


def _is_idle(room: Room, idle_before_s: float) -> bool:
    return room.idle_since_s <= idle_before_s and not room.busy
