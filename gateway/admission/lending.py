"""What a worker gives of its users' rates before it asks the others (docs/explanation/decisions/0032). Pure.

A worker gives away no more than its lease: a part of what was left, or of the burst of a user whom it doesn't
know. Where several workers serve a user and a part of what is left is less than an edit, nothing is given
unasked: the edit waits for one round trip, and is granted to one of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from gateway.ports import RateLeft, Spent

# The least number of parts of what is left to a user: a worker gives one before it asks again.
LEASE_PARTS = 4
# What is known of a user holds for so long; then others may have spent his allowance.
KNOWN_S = 5.0
_EPSILON_S = 1e-9  # the sums of many intervals are off by less


class _Lease(NamedTuple):
    """How much of its rate a user may spend at this worker before others are asked; `is_scarce`: nothing."""

    seconds: float
    is_scarce: bool
    learned_at_s: float


class _Grant(NamedTuple):
    """What was counted for this worker alone, until it is used or forgotten."""

    seconds: float
    until_s: float


class Lending:
    """All amounts are seconds of a user's rate; `on_due`: `spent` should be called soon."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self.on_due = on_due
        self._leases: OrderedDict[str, _Lease] = OrderedDict()  # in order of being learned
        self._grants: OrderedDict[str, _Grant] = OrderedDict()
        self._untold_s: dict[str, float] = {}
        self._telling_s: dict[str, float] = {}
        self._wanted_s: dict[str, float] = {}
        self._alone: dict[str, float] = {}  # of whom nobody answered, and when what is untold was worked out

    def uses_grant(self, user_id: str, now_s: float, cost_s: float) -> bool:
        """Whether this was granted, and counted, before."""
        grant = self._grants.get(user_id)
        if grant is None or grant.until_s < now_s or grant.seconds + _EPSILON_S < cost_s:
            return False
        self._grants[user_id] = grant._replace(seconds=grant.seconds - cost_s)
        return True

    def lends(self, user_id: str, now_s: float, cost_s: float, interval_s: float, burst_s: float) -> bool:
        """Whether this may be spent before others are asked, who are if need be; nobody would answer of some
        users."""
        if user_id in self._alone:
            self._work_out(user_id, now_s)
            self._untold_s[user_id] += cost_s
            return True
        lease = self._leases.get(user_id)
        known = lease is not None and lease.learned_at_s >= now_s - KNOWN_S
        if lease is None or not known:
            lease = _Lease(max(burst_s / LEASE_PARTS, interval_s), False, now_s)
        if lease.is_scarce:
            self._wanted_s[user_id] = cost_s
            self.on_due()
            return False
        spent_s = self._untold_s.get(user_id, 0.0) + self._telling_s.get(user_id, 0.0)
        allowed = spent_s + cost_s <= lease.seconds + _EPSILON_S or (known and not spent_s)
        self._untold_s[user_id] = self._untold_s.get(user_id, 0.0) + (cost_s if allowed else 0.0)
        if not known or not allowed or spent_s + cost_s >= lease.seconds / 2:
            self.on_due()
        return allowed

    def untold_s(self, user_id: str) -> float:
        """What the user spent that others don't know."""
        return self._untold_s.get(user_id, 0.0)

    def spent(self) -> dict[str, Spent]:
        """What users spent since the last time, and want. Until `learn` or `retell` is told of them they are
        left out.

        So are those who are alone: what is told to a server that hangs is counted when it goes on.
        """
        due = (self._untold_s.keys() | self._wanted_s.keys()) - self._telling_s.keys() - self._alone.keys()
        found = {
            user_id: Spent(self._untold_s.pop(user_id, 0.0), self._wanted_s.pop(user_id, 0.0))
            for user_id in due
        }
        self._telling_s.update({user_id: spent.seconds for user_id, spent in found.items()})
        return found

    def retell(self, user_ids: Iterable[str]) -> None:
        """What `spent` gave of these reached nobody: it's told with the next."""
        for user_id in user_ids:
            self._untold_s[user_id] = self._untold_s.get(user_id, 0.0) + self._telling_s.pop(user_id)

    @property
    def alone(self) -> Collection[str]:
        """Users of whom nobody answered: they are this worker's own, until `rejoin`."""
        return self._alone.keys()

    def rejoin(self, user_ids: Iterable[str], now_s: float) -> None:
        """Somebody answers of them again. What they spent meanwhile is told with the next, but for what the
        time has paid off."""
        for user_id in user_ids:
            self._work_out(user_id, now_s)
            del self._alone[user_id]
            if not self._untold_s[user_id]:
                del self._untold_s[user_id]

    def _work_out(self, user_id: str, now_s: float) -> None:
        """The time pays off what a user who is alone spent, as it does where others know of it."""
        passed_s = max(0.0, now_s - self._alone[user_id])
        self._untold_s[user_id] = max(0.0, self._untold_s.get(user_id, 0.0) - passed_s)
        self._alone[user_id] = now_s

    def leave(self, user_ids: Iterable[str], now_s: float) -> None:
        """Nobody answered of these: they are alone. What was told of them may have been counted, and isn't
        told again."""
        for user_id in user_ids:
            self._alone[user_id] = now_s
            self._telling_s.pop(user_id, None)
            self._wanted_s.pop(user_id, None)

    def learn(self, found: Mapping[str, RateLeft], now_s: float, interval_s: float, burst_s: float) -> None:
        """What is left to users, by what was spent everywhere."""
        for user_id, (full_in_s, others, granted_s) in found.items():
            self._telling_s.pop(user_id, None)
            part_s = (burst_s - full_in_s) / max(LEASE_PARTS, others + 1)
            is_scarce = others > 0 and part_s < interval_s
            self._leases[user_id] = _Lease(max(part_s, interval_s), is_scarce, now_s)
            self._leases.move_to_end(user_id)
            if granted_s:
                self._grants[user_id] = _Grant(granted_s, now_s + KNOWN_S)
                self._grants.move_to_end(user_id)
        while self._leases and next(iter(self._leases.values())).learned_at_s < now_s - KNOWN_S:
            self._leases.popitem(last=False)
        while self._grants and next(iter(self._grants.values())).until_s < now_s:
            self._grants.popitem(last=False)

    def __len__(self) -> int:
        """Users that something is known of."""
        return len(self._leases.keys() | self._grants.keys())
