"""How many connections a second a worker takes, by the CPU that each cost; who comes beyond that comes later.

In a storm, when another worker or node died, everyone would be let in at once, and those who are here would
wait for their changes meanwhile. Who resumes comes first, who is new after them. Where others use the machine
too, a worker counts on the part of a core that it gets: who is let in and not served comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil, exp, inf
from typing import NamedTuple

from gateway.runtime.interpreter import waited_for_core_s
from gateway.runtime.metrics import Counters

# What accepting may take of a core together with all other work; this much of it even where others need more.
BUSY_MAX = 0.95
SHARE_MIN = 0.25
# Before anything was measured.
UNMEASURED_PER_S = 500.0
PER_S_MIN = 100.0
PER_S_MAX = 5000.0
# Fewer in so long say nothing: other work would be taken for theirs.
TELLING = 50
TELLING_S = 1.0
# So much of what other work takes is remembered, each time that few came.
BASELINE_WEIGHT = 0.5
# ... and fades while many come, for then nothing tells it from what they cost.
BASELINE_S = 30.0
# So many seconds' worth of a crowd come in at once, and the others wait for it; new ones leave half of it to
# those who resume.
BURST_S = 0.5
NEW_SHARE = 0.5
# Nobody is given a turn that is further away: by then the pace is another one. Who would have one asks again.
TURN_MAX_S = 15.0
GOLDEN = 0.618034  # multiples of it, less whole numbers, are spread evenly
# Turns are given to the millisecond.
ROUNDING = 0.01


class _Look(NamedTuple):
    """What a look found: accepted in all, CPU in all, the time without a core that was wanted, and when."""

    accepted: float
    spent_s: float
    waited_s: float
    at_s: float


class AcceptPace:
    """`measure` is called a few times a second; `per_s` is what was found in the busiest of late.

    `cpu_share`: what accepting may take of a core, and less where others need it. 1: nobody is put off.
    """

    def __init__(
        self,
        counters: Counters,
        now_s: Callable[[], float],
        cpu_share: float,
        cpu_s: Callable[[], float] = time.process_time,
        waited_s: Callable[[], float] = waited_for_core_s,
    ) -> None:
        self._counters = counters
        self._now_s = now_s
        self._cpu_s = cpu_s
        self._waited_s = waited_s
        self._seen: _Look | None = None
        self._other_share = 0.0
        self.cpu_share = cpu_share
        self.per_s = counters.accept_pace = UNMEASURED_PER_S
        self._left_s = BURST_S  # of the pace, so that it holds as many more as the pace rises
        self._filled_s = -inf
        self._promised_s = {True: 0.0, False: 0.0}  # by whether they resume
        self._spread = 0.0

    def measure(self) -> None:
        """Learn from what was accepted since the last time, if that was enough."""
        now = _Look(self._counters.connections_accepted, self._cpu_s(), self._waited_s(), self._now_s())
        before = self._seen
        if before is None:
            self._seen = now
            return
        count, spent_s, waited_s, elapsed_s = (new - old for new, old in zip(now, before, strict=True))
        if count < TELLING and elapsed_s < TELLING_S:
            return
        self._seen = now
        if count < TELLING:
            self._other_share += BASELINE_WEIGHT * (spent_s / elapsed_s - self._other_share)
            return
        self._other_share *= exp(-elapsed_s / BASELINE_S)
        each_s = max(spent_s - self._other_share * elapsed_s, 0.0) / count
        share = min(self.cpu_share, max(SHARE_MIN, BUSY_MAX - self._other_share))
        share *= spent_s / (spent_s + waited_s) if waited_s else 1.0
        found = PER_S_MAX if each_s <= 0 else min(PER_S_MAX, max(PER_S_MIN, share / each_s))
        self.per_s += 0.5 * (found - self.per_s)
        self._counters.accept_pace = self.per_s

    def delay_ms(self, place: int) -> int:
        """When the client at this place of a queue should come, at such a node as this."""
        return 100 + int(place * 1000 / self.per_s)

    def let_in(self, resumes: bool) -> bool:
        """Whether one more may come in now; who may not is given a turn by `turn_ms`."""
        if self.cpu_share >= 1:
            return True
        now_s = self._now_s()
        self._left_s = min(BURST_S, self._left_s + now_s - self._filled_s)
        self._filled_s = now_s
        if self._left_s < self._reserve_s(resumes) + (1 - ROUNDING) / self.per_s:
            return False
        self._left_s -= 1 / self.per_s
        return True

    def turn_ms(self, resumes: bool) -> int:
        """When one who was put off should come: after all who were before, those who resume first.

        That is a turn, which is kept for it; or, where too many were before, a time to ask again.
        """
        now_s, each_s = self._now_s(), 1 / self.per_s
        wanted_s = each_s + self._reserve_s(resumes)
        turn_s = max(
            now_s + wanted_s - self._left_s,
            self._promised_s[True] + wanted_s,
            self._promised_s[resumes] + each_s,
        )
        if turn_s - now_s > TURN_MAX_S:
            self._spread = (self._spread + GOLDEN) % 1.0
            return int(500 * TURN_MAX_S * (1 + self._spread))
        self._promised_s[resumes] = turn_s
        return max(1, ceil((turn_s - now_s) * 1000))

    def _reserve_s(self, resumes: bool) -> float:
        return 0.0 if resumes else NEW_SHARE * BURST_S
