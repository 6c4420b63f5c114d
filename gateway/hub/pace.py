"""When a lane may begin its next append: at once where few changes come, later where many do.

An append costs about as much for one change as for ten: a transaction and the wake-up of two threads, or a
round trip that both ends pay for. At full load appends take so long that changes gather by themselves, or
leave some for the next one, which begins at once; between that and a few a second appends would be many and
small.

Slow appends wait for longer only as far as that makes them fewer changes: where a room's changes follow each
other so closely that those of one wait become one batch.
"""

from __future__ import annotations

import math

import trio

from gateway.ports import Pacing

# A lane waits as long as it may when so many rooms more than one come meanwhile.
ROOMS_BUSY = 4
# What came is forgotten after about so long.
MEMORY_S = 0.2
# Slow appends hold the next one back for so long at the most.
INTERVAL_MAX_S = 0.060
# A shorter wait isn't worth its own wake-up, and in a busy loop it would be longer than it says.
WAIT_MIN_SHARE = 0.25


class Pace:
    """The pace of one lane. `fills`: as many rooms come as make the next append full before its time."""

    __slots__ = ("_again", "_began_s", "_due_s", "_pacing", "_rooms", "fills")

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._began_s = self._due_s = 0.0
        self._rooms = self._again = 0.0  # of late
        self.fills = False

    def carried(self, rooms: int, again: int, append_s: float, more: bool = False) -> None:
        """An append of so many rooms was prepared; whether more than it could take are waiting.

        So many of them had changed less than `INTERVAL_MAX_S` before. An append usually takes `append_s`.
        """
        self._rooms += rooms
        self._again += again
        self.fills = self._coming() >= self._pacing.full
        self._due_s = self._began_s + (0.0 if more else self._interval_s(append_s))

    def _coming(self) -> float:
        """How many rooms come in an interval, by those of late."""
        return self._rooms / MEMORY_S * self._pacing.interval_s

    def _interval_s(self, append_s: float) -> float:
        """From the beginning of an append to that of the next one, while as many rooms come as of late."""
        interval_s, appends = self._pacing.interval_s, self._pacing.appends
        if not interval_s or not self._rooms:
            return 0.0
        busy = min(1.0, max(0.0, (self._coming() - 1) / ROOMS_BUSY))
        merging = self._again / self._rooms
        slow_s = merging * min(appends * append_s, INTERVAL_MAX_S)
        return busy * max(interval_s, slow_s)

    def wait_s(self) -> float:
        """For how long the next append is held back from now on."""
        wait_s = self._due_s - trio.current_time()
        return wait_s if wait_s > WAIT_MIN_SHARE * self._pacing.interval_s else 0.0

    async def wait(self, full: trio.Event) -> None:
        """Until the next append may be prepared, or until it is `full`."""
        wait_s = self.wait_s()
        if wait_s > 0:
            with trio.move_on_after(wait_s):
                await full.wait()
            await trio.lowlevel.checkpoint()  # what the bus brought by now is heard first
        now_s = trio.current_time()
        kept = math.exp((self._began_s - now_s) / MEMORY_S)
        self._rooms *= kept
        self._again *= kept
        self._began_s = now_s
