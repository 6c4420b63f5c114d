"""The queue of users who used more CPU than their share: together they get a small part of the loop.

One message of the dearest kind holds the loop for some 20 ms. Ten users may send such messages one after the
other, each within a share of his own; whoever comes meanwhile waits. So who went over his share takes turns
with the others who did, until he has paid: then one message in sixty meets one of theirs. A large document
that comes over HTTP takes a turn, whoever sends it.
"""

from __future__ import annotations

import trio

from gateway.hub.heavy import BEYOND_PAUSES, PAUSE_MAX_S

# A turn is so much work at least: many small messages are handled in one. Then the loop is everybody else's
# for so many times as long: who comes meanwhile hardly notices.
TURN_S = 0.001
TURN_PAUSES = 8.0


class CpuQueue:
    """Turns are by Trio's clock, first come, first served; they may overlap where one waits for something."""

    __slots__ = ("_entry", "_free_s")

    def __init__(self) -> None:
        self._entry = trio.Lock()
        self._free_s = 0.0  # when the next may go on

    async def enter(self, work_s: float = TURN_S) -> None:
        """Wait for a turn of so much work; who works for longer says so by `spent`."""
        async with self._entry:
            await trio.sleep_until(self._free_s)
            self._free_s = trio.current_time() + TURN_S * TURN_PAUSES
            self.spent(work_s - TURN_S)

    def spent(self, beyond_s: float) -> None:
        """Somebody's turn took so much longer, or takes it."""
        pause_s = min(max(0.0, beyond_s) * BEYOND_PAUSES, PAUSE_MAX_S)
        self._free_s = max(self._free_s, trio.current_time()) + pause_s
