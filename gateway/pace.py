"""When a lane may begin its next append: the more rooms append, the longer they gather.

A round trip costs both ends about as much as an append that it carries, and several changes of one room cost
little more than one. A lane whose appends carry a single room waits for nothing.
"""

from __future__ import annotations

import trio

# A lane is busy when its appends carry so many rooms more than one.
ROOMS_BUSY = 8
# How much the newest append counts in the average.
_NEWEST = 0.2


class Pace:
    """The pace of one lane: `interval_s` between the starts of two appends when it is busy."""

    __slots__ = ("_began_s", "_interval_s", "_rooms")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._began_s = 0.0
        self._rooms = 1.0

    def carried(self, rooms: int) -> None:
        """An append of so many rooms was prepared."""
        self._rooms += _NEWEST * (rooms - self._rooms)

    async def wait(self) -> None:
        """Until the next append may be prepared."""
        if not self._interval_s:
            return
        busy = min(1.0, (self._rooms - 1) / ROOMS_BUSY)
        due_s = self._began_s + busy * self._interval_s
        if trio.current_time() < due_s:
            await trio.sleep_until(due_s)
            await trio.lowlevel.checkpoint()  # what the bus brought by now is heard first
        self._began_s = trio.current_time()
