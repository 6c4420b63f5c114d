"""For how long a lane of a node's own log gathers changes: not at all where few come, a few ms where many do.

An append to the embedded log is a transaction and a wake-up of two threads, for one change as for ten. At
full load appends take so long that changes gather by themselves; between that and a few a second appends
would be many and small.
"""

from __future__ import annotations

import math

import trio

# A lane gathers as long as it may when so many rooms more than one come meanwhile.
ROOMS_BUSY = 4
# What came is forgotten after about so long.
MEMORY_S = 0.2
# A shorter wait isn't worth its own wake-up, and in a busy loop it would be longer than it says.
WAIT_MIN_SHARE = 0.25


class Gathering:
    """`interval_s` at the most from the beginning of one append to the next; 0: none is held back."""

    __slots__ = ("_began_s", "_interval_s", "_rooms")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._began_s = 0.0
        self._rooms = 0.0  # of late

    def carried(self, rooms: int) -> None:
        """An append of so many rooms was prepared."""
        self._rooms += rooms

    async def wait(self, append_s: float) -> None:
        """Until the next append may be prepared."""
        if not self._interval_s:
            return
        now_s = trio.current_time()
        coming = self._rooms / MEMORY_S * self._interval_s
        due_s = self._began_s + self._interval_s * min(1.0, max(0.0, (coming - 1) / ROOMS_BUSY))
        if due_s - now_s > WAIT_MIN_SHARE * self._interval_s:
            await trio.sleep_until(due_s)
            now_s = trio.current_time()
        self._rooms *= math.exp((self._began_s - now_s) / MEMORY_S)
        self._began_s = now_s
