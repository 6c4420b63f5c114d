"""How many more connections this worker takes: by its limit, its descriptors, its memory and its CPU.

What one connection costs is measured as the worker runs, once there are enough of them to tell; before that,
memory is estimated and CPU holds nobody back.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from gateway.runtime import interpreter, memory
from gateway.runtime.metrics import Counters

# From so many connections on their cost can be told from that of everything else.
MEASURABLE = 100
# Before: an idle connection was measured at a few KiB, one that is subscribed at tens.
CONNECTION_BYTES = 32 * 1024
CONNECTION_BYTES_MIN = 4 * 1024
# What is never given to connections: peaks and other processes need it.
MEMORY_SHARE = 0.9
# Of a core; RFC-002 wants peaks below.
CPU_SHARE_MAX = 0.8
CPU_SHARE_TELLING = 0.02
# The share of CPU is smoothed over about this time.
CPU_WINDOW_S = 30.0
# Descriptors for what isn't a connection yet: files that are opened, requests of operators.
DESCRIPTORS_SPARE = 64


class Capacity:
    """One of `workers` workers of its node, which takes `connections_max` at most.

    `cpu_s` is the process's CPU time, `now_s` monotonic.
    """

    def __init__(
        self,
        counters: Counters,
        connections_max: int,
        workers: int,
        cpu_s: Callable[[], float] = time.process_time,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._connections_max = connections_max
        self._workers = workers
        self._cpu_s = cpu_s
        self._now_s = now_s
        self._seen = now_s(), cpu_s()
        self._resident_first = memory.resident_bytes()
        self.cpu_share = 0.0

    def measure(self) -> dict[str, int]:
        """How many more, by what bounds them; before Linux 6.2 it takes some ms where many are open."""
        self._measure_cpu()
        connections = self._counters.connections
        left = {
            "limit": self._connections_max - connections,
            "descriptors": self._by_descriptors(),
            "memory": self._by_memory(connections),
            "cpu": self._by_cpu(connections),
        }
        return {name: max(0, count) for name, count in left.items() if count is not None}

    def _measure_cpu(self) -> None:
        (seen_s, used_s), now = self._seen, (self._now_s(), self._cpu_s())
        elapsed_s = now[0] - seen_s
        if elapsed_s > 0:
            weight = min(1.0, elapsed_s / CPU_WINDOW_S)
            self.cpu_share += weight * ((now[1] - used_s) / elapsed_s - self.cpu_share)
            self._seen = now

    def _by_descriptors(self) -> int | None:
        try:
            used = interpreter.open_descriptors()
        except OSError as error:  # to count them takes one
            return 0 if error.errno in (errno.EMFILE, errno.ENFILE) else None
        return interpreter.descriptors().soft - used - DESCRIPTORS_SPARE

    def _by_memory(self, connections: int) -> int | None:
        available = memory.available_bytes()
        if available is None:
            return None
        each = CONNECTION_BYTES
        if connections >= MEASURABLE:
            grown = memory.resident_bytes() - self._resident_first
            each = max(CONNECTION_BYTES_MIN, grown // connections)
        return int(MEMORY_SHARE * available / self._workers) // each

    def _by_cpu(self, connections: int) -> int | None:
        if connections < MEASURABLE or self.cpu_share < CPU_SHARE_TELLING:
            return None
        return int((CPU_SHARE_MAX - self.cpu_share) / (self.cpu_share / connections))
