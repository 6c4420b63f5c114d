"""How many connections a second a worker takes: by the CPU that each cost, measured as they came."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.runtime.metrics import Counters

# Before anything was measured.
UNMEASURED_PER_S = 500.0
PER_S_MIN = 50.0
PER_S_MAX = 5000.0
# Fewer at a time say nothing: other work would be taken for theirs.
TELLING = 50
# What accepting may take of a core; those who are there have the rest.
CPU_SHARE = 0.5


class AcceptPace:
    """`measure` is called a few times a second; `per_s` is what was found in the busiest of late."""

    def __init__(self, counters: Counters, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._counters = counters
        self._cpu_s = cpu_s
        self._seen = counters.connections_accepted, cpu_s()
        self.per_s = UNMEASURED_PER_S

    def measure(self) -> None:
        """Learn from what was accepted since the last time, if that was enough."""
        (accepted, used_s), now = self._seen, (self._counters.connections_accepted, self._cpu_s())
        self._seen = now
        count, spent_s = now[0] - accepted, now[1] - used_s
        if count >= TELLING and spent_s > 0:
            found = min(PER_S_MAX, max(PER_S_MIN, CPU_SHARE * count / spent_s))
            self.per_s += 0.5 * (found - self.per_s)

    def delay_ms(self, place: int) -> int:
        """When the client at this place of a queue should come, at such a node as this."""
        return 100 + int(place * 1000 / self.per_s)
