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
    """The pace of one lane."""

    __slots__ = ("_again", "_began_s", "_more", "_pacing", "_rooms")

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._began_s = 0.0
        self._rooms = self._again = 0.0  # of late
        self._more = False

    def carried(self, rooms: int, again: int, more: bool = False) -> None:
        """An append of so many rooms was prepared; whether more than it could take are waiting.

        So many of them had changed less than `INTERVAL_MAX_S` before.
        """
        self._rooms += rooms
        self._again += again
        self._more = more

    async def wait(self, append_s: float, full: trio.Event) -> None:
        """Until the next append may be prepared, where one usually takes so long, or until it is `full`."""
        interval_s, appends = self._pacing.interval_s, self._pacing.appends
        if not interval_s:
            return
        now_s = trio.current_time()
        coming = self._rooms / MEMORY_S * interval_s
        busy = min(1.0, max(0.0, (coming - 1) / ROOMS_BUSY))
        merging = self._again / self._rooms if self._rooms else 0.0
        slow_s = merging * min(appends * append_s, INTERVAL_MAX_S)
        due_s = self._began_s + busy * max(interval_s, slow_s)
        if not self._more and due_s - now_s > WAIT_MIN_SHARE * interval_s:
            with trio.move_on_at(due_s):
                await full.wait()
            await trio.lowlevel.checkpoint()  # what the bus brought by now is heard first
            now_s = trio.current_time()
        kept = math.exp((self._began_s - now_s) / MEMORY_S)
        self._rooms *= kept
        self._again *= kept
        self._began_s = now_s
