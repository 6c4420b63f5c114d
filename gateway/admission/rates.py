"""How fast a user may edit, and who doesn't care (docs/reference/protocol.md#limits). Pure."""

from __future__ import annotations

import math
from collections import OrderedDict


class RateLimiter:
    """A token bucket a user: `per_minute` operations a minute, `burst` at once; 0 a minute is no limit.

    Kept as the generic cell rate algorithm (ITU-T I.371): one number a user, the time at which the bucket
    will be full again. A user whose bucket is full is forgotten, so memory follows who was active lately.
    """

    __slots__ = ("_full_at", "_tolerance_s", "interval_s")

    def __init__(self, per_minute: int, burst: int) -> None:
        self.set(per_minute, burst)
        self._full_at: OrderedDict[str, float] = OrderedDict()  # in order of the last operation

    def set(self, per_minute: int, burst: int) -> None:
        """Another rate from now on."""
        self.interval_s = 60.0 / per_minute if per_minute else 0.0
        self._tolerance_s = self.interval_s * (burst - 1)

    def take(self, user_id: str, now_s: float) -> int:
        """Count one operation; 0, or the milliseconds to wait before one would be allowed.

        `now_s` is any clock that runs forward. A refused operation isn't counted.
        """
        if not self.interval_s:
            return 0
        full_at = self._full_at.get(user_id, 0.0)
        # A bucket can't be emptier than empty: more than that says that the clock went back.
        if full_at < now_s or full_at - now_s > self._tolerance_s + 2 * self.interval_s:
            full_at = now_s
        wait_s = full_at - now_s - self._tolerance_s
        if wait_s > 1e-9:  # the sums of many intervals are off by less
            return math.ceil(wait_s * 1000)
        self._full_at[user_id] = full_at + self.interval_s
        self._full_at.move_to_end(user_id)
        self._forget(now_s)
        return 0

    def watch(self, abuse_s: float) -> AbuseTracker:
        """A tracker for one connection under this limit."""
        return AbuseTracker(abuse_s, self.interval_s)

    def __len__(self) -> int:
        """Users that are remembered."""
        return len(self._full_at)

    def _forget(self, now_s: float) -> None:
        """Drop up to two users with full buckets: one more than an operation can add."""
        for _ in range(2):
            user_id = next(iter(self._full_at))
            if self._full_at[user_id] > now_s:
                return
            del self._full_at[user_id]


class AbuseTracker:
    """Whether one connection has been over its rate for `abuse_s` without heeding what it was told.

    A refusal opens a window that ends when the next operation would be allowed. A message within it shows
    that the client doesn't wait. The streak of abuse goes on until a window passes in silence, or until no
    refusal comes for an interval after a window.
    """

    __slots__ = ("_abuse_s", "_heeded", "_interval_s", "_since_s", "_until_s")

    def __init__(self, abuse_s: float, interval_s: float) -> None:
        """`interval_s` is the limiter's: the time in which one operation becomes allowed."""
        self._abuse_s = abuse_s
        self._interval_s = interval_s
        self._since_s = -math.inf
        self._until_s = -math.inf
        self._heeded = True

    def refused(self, now_s: float, retry_after_ms: int) -> bool:
        """Note a RATE_LIMITED answer; True when the connection must be closed with 4429."""
        if now_s < self._until_s:
            self._heeded = False
        else:
            if self._heeded or now_s - self._until_s > self._interval_s:
                self._since_s = now_s
            self._heeded = True
            self._until_s = now_s + retry_after_ms / 1000
        return now_s - self._since_s >= self._abuse_s
