"""Whether more edits come than can be committed: then those that come are refused, while that costs little.

Otherwise all of them would wait ever longer, at last in the kernel's buffers, and what has waited for long is
more work. An edit is refused when by the number of those that wait, and by how fast they went of late, it
would wait longer than it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.runtime.metrics import Counters

# It is judged so often, by the edit that waited least: a burst, or a room that is slow alone, is no overload.
WINDOW_S = 0.1
WINDOW_MAX_S = 1.0
# It begins when everything has waited for this part of what it may.
BEGUN = 0.5
# So few are never too many.
PENDING_MIN = 250


class Overload:
    """`wait_max_s`: for how long an edit may wait for its commit; 0: for ever."""

    __slots__ = ("_counters", "_least_s", "_now_s", "_pending_max", "_released", "_since_s", "_wait_max_s")

    def __init__(self, counters: Counters, now_s: Callable[[], float], wait_max_s: float) -> None:
        self._counters = counters
        self._now_s = now_s
        self._wait_max_s = wait_max_s
        self._pending_max = math.inf
        self._since_s = 0.0  # of the window
        self._released = 0  # in it
        self._least_s = math.inf

    def is_on(self) -> bool:
        """Whether an edit that comes now is refused."""
        return self._counters.pending_changes >= self._pending_max

    def has_begun(self) -> bool:
        """Whether more come than can be committed: then some are refused."""
        return self._pending_max < math.inf

    def _are_few(self) -> bool:
        return self._counters.pending_changes < PENDING_MIN

    def released(self, changes: int) -> None:
        """So many were committed, or refused."""
        self._released += changes

    def look(self) -> None:
        """Called now and then: where nobody comes after an overload, no batch says that it is over."""
        if self._are_few() and self._now_s() - self._since_s >= WINDOW_MAX_S:
            self._bound(math.inf)

    def _bound(self, pending_max: float) -> None:
        self._pending_max = pending_max
        self._counters.overloaded = int(self.has_begun())

    def staged(self, waited_s: float) -> None:
        """A batch was staged whose oldest edit had come so long ago."""
        self._least_s = min(self._least_s, waited_s)
        now_s = self._now_s()
        elapsed_s = now_s - self._since_s
        if elapsed_s < WINDOW_S:
            return
        if not self._wait_max_s or self._least_s < BEGUN * self._wait_max_s or self._are_few():
            self._bound(math.inf)
        elif elapsed_s < WINDOW_MAX_S:  # else it was idle meanwhile
            found = max(PENDING_MIN, self._released / elapsed_s * self._wait_max_s)
            before = self._pending_max if self._pending_max < math.inf else found
            self._bound((before + found) / 2)
        self._since_s, self._released, self._least_s = now_s, 0, math.inf
