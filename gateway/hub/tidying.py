"""What is done for all rooms of a worker once a second: idle ones go, what the others keep is bounded.

Evicting a room saves its snapshot: it is done beside the rest, which waits for no log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from gateway.config import Config
from gateway.hub.pasts import Pasts
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices

# All rooms are tidied once in so long, so many at a time, and more where that would be too many times: there
# is little to do for most of them, but tens of thousands take many ms.
TIDY_INTERVAL_S = 1.0
TIDY_ROOMS = 250
TIDY_PARTS_MAX = 50


class Windows:
    """What rooms keep: the bytes of all windows, and of the largest one."""

    __slots__ = ("bytes", "largest")

    def __init__(self) -> None:
        self.bytes = 0
        self.largest = 0

    def add(self, size: int) -> None:
        """One more."""
        self.bytes += size
        self.largest = max(self.largest, size)


class Tidying:
    """See the module. `rooms` are the open ones; `evict` closes one, unless it is wanted meanwhile."""

    def __init__(
        self,
        config: Config,
        rooms: Mapping[str, Room],
        pasts: Pasts,
        counters: Counters,
        evict: Callable[[Room], Awaitable[None]],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._rooms = rooms
        self._pasts = pasts
        self._counters = counters
        self._evict = evict
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._share = config.limits.window_bytes_max  # of each window, while all are over their budget
        self._leaving: dict[Room, None] = {}
        self._some_leave = trio.Event()

    async def run(self) -> None:
        """Tidy up, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy_up)
            nursery.start_soon(self._evict_leaving)

    async def _tidy_up(self) -> None:
        """Many rooms in parts. What their windows have in all is as of a second ago."""
        while True:
            parts = min(TIDY_PARTS_MAX, 1 + len(self._rooms) // TIDY_ROOMS)
            await trio.sleep(TIDY_INTERVAL_S / parts)
            rooms = list(self._rooms.values())
            windows = Windows()
            for part in range(parts):
                if part:
                    await trio.sleep(TIDY_INTERVAL_S / parts)
                await self._tidy_part(rooms[part::parts], windows)
            self._share_out(windows)
            self._pasts.bound()

    async def _tidy_part(self, rooms: Sequence[Room], windows: Windows) -> None:
        """Some rooms, whose windows are added up."""
        slices = Slices(self._now_s)
        versions_max = self._config.limits.window_versions_max
        for room in rooms:
            room.roster.end_typing(self._wall_ms())
            if self._is_idle(room):
                self._tidy_idle(room)
            room.trim(versions_max, self._share)
            windows.add(room.history.window.bytes)
            if slices.over:
                await slices.pause()

    def _is_idle(self, room: Room) -> bool:
        idle_before_s = self._now_s() - self._config.timeouts.room_idle_s
        return room.idle_since_s <= idle_before_s and not room.busy

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
                if self._rooms.get(room.resource) is room and self._is_idle(room):
                    await self._evict(room)
                if slices.over:
                    await slices.pause()
            self._some_leave = trio.Event()

    def _share_out(self, windows: Windows) -> None:
        """Keep all windows within their budget: each may have as much as any other, so the largest give."""
        limits = self._config.limits
        share = self._share
        if windows.bytes > limits.windows_bytes_max:
            share = min(share, windows.largest)
        share = (share + 1) * limits.windows_bytes_max // max(1, windows.bytes)
        self._share = min(share, limits.window_bytes_max)
        self._counters.window_bytes = windows.bytes
