"""How fast a user may edit, and who doesn't care (docs/reference/protocol.md#limits). Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from gateway.admission.lending import Lending
from gateway.ports import ASK, RateLeft, Spent

# What an operation after the first costs, and what typing costs of what it would.
FURTHER_COST = 1 / 50
TYPING_SHARE = 1 / 10
# Nobody can owe more than this: more says that the clock went back.
DEBT_MAX_S = 3600.0
# Who was over his share stays so while he goes on and on, be it paid, until he has paused for so long.
PAUSE_S = 1.0
_EPSILON_S = 1e-9  # the sums of many intervals are off by less


def cost_of(patch: Sequence[Mapping[str, Any]]) -> float:
    """What a patch costs of a user's rate: 1 for an operation, a fiftieth for each further one.

    A patch that only types (`text`) costs a tenth: ten keys a second are one edit a second.
    """
    if not patch:
        return 1.0
    cost = 1 + (len(patch) - 1) * FURTHER_COST
    for operation in patch:
        if operation.get("op") != "text":
            return cost
    return cost * TYPING_SHARE


class RateLimiter:
    """A token bucket a user: `per_minute` operations a minute, `burst` at once; 0 a minute is no limit.

    Kept as the generic cell rate algorithm (ITU-T I.371): one number a user, the time at which the bucket
    will be full again. A user whose bucket is full is forgotten, so memory follows who was active lately.

    Where buckets are shared with other workers (`share`), what was spent here is told to them now and then,
    and the bucket becomes what all have left of it: more than a bucket holds is a debt, which is waited off.
    Until then `lending` says what may be given; for more the others have to be asked (ASK).
    """

    def __init__(self, per_minute: int, burst: int) -> None:
        self.set(per_minute, burst)
        self._full_at: OrderedDict[str, float] = OrderedDict()  # in order of the last operation
        self.lending: Lending | None = None
        self._is_shared = False

    def set(self, per_minute: int, burst: int) -> None:
        """Another rate from now on."""
        self.interval_s = 60.0 / per_minute if per_minute else 0.0
        self._burst_s = self.interval_s * burst

    def take(self, user_id: str, now_s: float, cost: float = 1.0) -> int:
        """Count an edit of this cost; 0, or the milliseconds to wait before it would be allowed, or ASK.

        `now_s` is any clock that runs forward. A refused edit isn't counted. One that costs more than the
        whole burst is allowed when the bucket is full, and leaves a debt.
        """
        if not self.interval_s:
            return 0
        cost_s = cost * self.interval_s
        lending = self.lending if self._is_shared else None
        if lending is not None and lending.uses_grant(user_id, now_s, cost_s):
            return 0
        full_at = self._full_at.get(user_id, 0.0)
        if full_at < now_s or full_at - now_s > DEBT_MAX_S:
            full_at = now_s
        wait_s = full_at - now_s + min(cost_s, self._burst_s) - self._burst_s
        if wait_s > _EPSILON_S:
            return math.ceil(wait_s * 1000)
        if lending is not None and not lending.lends(user_id, now_s, cost_s, self.interval_s, self._burst_s):
            return ASK
        self._full_at[user_id] = full_at + cost_s
        self._full_at.move_to_end(user_id)
        self._forget(now_s)
        return 0

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

    # ------------------------------------------------------------------------------ other workers

    def share(self, on_due: Callable[[], None]) -> None:
        """Buckets are shared from now on; `on_due`: `spent` should be called soon."""
        if self.lending is None:
            self.lending = Lending(on_due)
        self.lending.on_due = on_due
        self._is_shared = True

    def unshare(self) -> None:
        """Others can't be reached: what is known here has to do, until `share`."""
        self._is_shared = False

    @property
    def burst_s(self) -> float:
        """What a bucket holds, in seconds of the rate."""
        return self._burst_s

    def spent(self) -> dict[str, Spent]:
        """What users spent here since the last time, and want; see `Lending.spent` for what follows."""
        return self.lending.spent() if self.lending is not None else {}

    def learn(self, found: Mapping[str, RateLeft], now_s: float) -> None:
        """What is left to users, by what was spent everywhere."""
        if self.lending is None:
            return
        self.lending.learn(found, now_s, self.interval_s, self._burst_s)
        for user_id, allowance in found.items():
            self._full_at[user_id] = now_s + allowance.full_in_s + self.lending.untold_s(user_id)


class Shares:
    """So much a second for each user, and `burst` at once, paid afterwards: who used more waits for it.

    0 a second is no limit. As in `RateLimiter` a user is one number, and forgotten when nothing is owed.
    A user is `over` his share from `much` beyond it until all of it is paid and he has paused for a moment.
    """

    __slots__ = ("_burst_s", "_full_at", "_much", "_over", "_per_s")

    def __init__(self, per_s: float, burst: float, much: float = math.inf) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()  # in order of the last use
        self._over: dict[str, float] = {}  # user -> when he last asked
        self.set(per_s, burst, much)

    def set(self, per_s: float, burst: float, much: float = math.inf) -> None:
        """Other shares from now on. Without a limit nobody owes anything."""
        if not per_s:
            self._full_at.clear()
            self._over.clear()
        self._per_s = per_s
        self._much = much
        self._burst_s = burst / per_s if per_s else 0.0

    def wait_s(self, user_id: str, now_s: float) -> float:
        """Seconds until the user may go on; 0: now."""
        full_at = self._full_at.get(user_id)
        return 0.0 if full_at is None else max(0.0, full_at - now_s - self._burst_s)

    def owed(self, user_id: str, now_s: float) -> float:
        """How much the user used beyond his share over time."""
        full_at = self._full_at.get(user_id)
        return 0.0 if full_at is None else max(0.0, full_at - now_s) * self._per_s

    def spend(self, user_id: str, amount: float, now_s: float) -> None:
        """The user used so much."""
        if not self._per_s:
            return
        full_at = max(self._full_at.get(user_id, now_s), now_s) + amount / self._per_s
        self._full_at[user_id] = full_at
        self._full_at.move_to_end(user_id)
        if (full_at - now_s) * self._per_s > self._much:
            self._over[user_id] = now_s
        for oldest in list(islice(self._full_at, 2)):
            if self._full_at[oldest] > now_s or self._lingers(oldest, now_s):
                return
            del self._full_at[oldest]
            self._over.pop(oldest, None)

    def over(self, user_id: str, now_s: float) -> bool:
        """Whether a user who asks used much beyond his share, and hasn't paid it and paused since."""
        if user_id not in self._over:
            return False
        if self._full_at[user_id] <= now_s and not self._lingers(user_id, now_s):
            del self._over[user_id]
            return False
        self._over[user_id] = now_s
        return True

    def linger(self, user_id: str, now_s: float) -> None:
        """The user is over his share still: what he asked for waited until now, so that was no pause."""
        self._over[user_id] = now_s
        self._full_at.setdefault(user_id, now_s)

    def _lingers(self, user_id: str, now_s: float) -> bool:
        return self._over.get(user_id, -math.inf) > now_s - PAUSE_S

    def __len__(self) -> int:
        """Users that are remembered."""
        return len(self._full_at)


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
