"""When a lane may begin its next append: the more rooms append and the longer it takes, the later.

A round trip costs both ends about as much as an append that it carries, and several changes of one room cost
little more than one. A lane whose appends carry a single room waits for nothing. Where the machine is full
appends take longer, and what gathers meanwhile makes them fewer.
"""

from __future__ import annotations

import trio

# A lane is busy when its appends carry so many rooms more than one.
ROOMS_BUSY = 8
# A busy lane begins its next append after so many times as long as one takes, up to a bound.
APPENDS = 4.0
INTERVAL_MAX_S = 0.060
# How much the newest append counts in the average.
_NEWEST = 0.2


class Pace:
    """The pace of one lane: `interval_s` or more from one append to the next when it is busy; 0: none."""

    __slots__ = ("_began_s", "_interval_s", "_rooms")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._began_s = 0.0
        self._rooms = 1.0

    def carried(self, rooms: int) -> None:
        """An append of so many rooms was prepared."""
        self._rooms += _NEWEST * (rooms - self._rooms)

    async def wait(self, append_s: float) -> None:
        """Until the next append may be prepared, where one usually takes so long."""
        if not self._interval_s:
            return
        busy = min(1.0, (self._rooms - 1) / ROOMS_BUSY)
        due_s = self._began_s + busy * max(self._interval_s, min(APPENDS * append_s, INTERVAL_MAX_S))
        if trio.current_time() < due_s:
            await trio.sleep_until(due_s)
            await trio.lowlevel.checkpoint()  # what the bus brought by now is heard first
        self._began_s = trio.current_time()
