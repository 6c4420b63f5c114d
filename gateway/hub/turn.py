"""Whose turn it is to append to one room: how often others change it, and until when it is left to them."""

from __future__ import annotations

# The others change a room often enough when they usually do so within so many times what it is left to them.
INTERVAL_YIELDS = 4.0
# An interval counts as this much at most, so that a few short ones outweigh a pause.
INTERVAL_MAX_S = 0.5
# How much the newest interval counts in what is usual.
_NEWEST = 0.3


class Turn:
    """`until_s`: a worker leaves the room to others until then (monotonic clock, s); 0 where it doesn't."""

    __slots__ = ("_heard_s", "_interval_s", "until_s")

    def __init__(self) -> None:
        self.until_s = 0.0
        self._heard_s = float("-inf")
        self._interval_s = INTERVAL_MAX_S

    def heard(self, now_s: float) -> None:
        """Others have changed the room."""
        interval_s = min(now_s - self._heard_s, INTERVAL_MAX_S)
        self._interval_s += _NEWEST * (interval_s - self._interval_s)
        self._heard_s = now_s
        self.until_s = 0.0

    def leave(self, until_s: float) -> None:
        """Leave the room to others until then, however often they change it."""
        self.until_s = until_s

    def give(self, now_s: float, yield_s: float) -> None:
        """Leave the room to others for so long, if they change it often enough."""
        if max(self._interval_s, now_s - self._heard_s) < INTERVAL_YIELDS * yield_s:
            self.until_s = now_s + yield_s
