"""How a node treats its machine and its interpreter: descriptors, collector, thread switching, freed memory.

`runtime` is entered once by a node; `doctor` reads the same facts to tell the operator what to change.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from gateway.runtime.histogram import Histogram
from gateway.runtime.memory import give_back_large_blocks
from gateway.runtime.metrics import Counters

# Descriptors that aren't client sockets: log, listeners, admin connections, Redis, imports.
DESCRIPTORS_RESERVED = 256

# Only the youngest objects: what was sent lately is kept for minutes, and looking through it again took up to
# 190 ms each 17,000 edits. `collect_young` and `collect_old` choose the moment for the rest. A batch of edits
# makes some thousands of objects, and as many go elsewhere: only real growth should reach the threshold. What
# reached it is looked through once more, with the next as many, and is old then: half a microsecond each, so
# no pause is longer than about 10 ms.
GC_THRESHOLDS = (10_000, 0, 1 << 30)

# A worker thread (the log) waits this long for the GIL of a busy loop; the interpreter's default is ten times
# that, and makes a 1.4 ms commit take 5.9 ms.
SWITCH_INTERVAL_S = 0.0005

LAG_INTERVAL_S = 0.25
LAG_RECENT_S = 30.0

# A moment is quiet when less than this share of a core was used; a node that never is waits no longer than
# COLLECT_AFTER_MAX_S.
QUIET_SHARE = 0.25
QUIET_INTERVAL_S = 5.0
COLLECT_AFTER_S = 60.0
COLLECT_AFTER_MAX_S = 900.0

# So many new objects are looked through twice before they are old: what was in use the first time may be done
# with the second time.
YOUNG_INTERVAL_S = 0.1
YOUNG_OBJECTS = 5_000
# The interpreter takes what goes off what came. Where windows are full as many changes go as come, but two
# objects of each that came are new: so changes are counted.
YOUNG_CHANGES = 2_500

# Old objects are mostly those of connections and of rooms' windows. No collection may take more CPU than so.
PAUSE_MAX_S = 0.02
# For each block of memory that was allocated since the start it takes what the last one did; before there was
# one, what was measured with cold caches: 50 us for a connection.
BLOCK_S = 1e-6
BLOCKS_LEAST = 5_000

SCHEDULED = Path("/proc/self/schedstat")
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def waited_for_core_s() -> float:
    """For how long the main thread could have run and had no core; 0 where the system doesn't tell."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Descriptors(NamedTuple):
    """The process's limits of open files."""

    soft: int
    hard: int


def descriptors() -> Descriptors:
    """The limits as they are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = 1 << 30
    return Descriptors(*(infinite if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard)))


def open_descriptors(pid: int | str = "self") -> int:
    """How many the process has open; raises OSError.

    Linux says so since 6.2. Before, each is listed: some ms where many are open, and a thread that does it
    asks for the interpreter as often.
    """
    listed = f"/proc/{pid}/fd"
    return os.stat(listed).st_size or len(os.listdir(listed))


def raise_descriptors(connections_max: int) -> str | None:
    """Raise the soft limit to what `connections_max` needs; returns the remedy if the hard limit is lower."""
    needed = connections_max + DESCRIPTORS_RESERVED
    now = descriptors()
    if now.soft < needed:
        soft = min(needed, now.hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return descriptors_remedy(connections_max, now.hard)


def connections_possible(connections_max: int) -> int:
    """How many of `connections_max` the soft limit of descriptors allows; at least 1."""
    return max(1, min(connections_max, descriptors().soft - DESCRIPTORS_RESERVED))


def descriptors_remedy(connections_max: int, hard: int) -> str | None:
    """What to type when `hard` descriptors are too few for so many connections; None when they are enough."""
    needed = connections_max + DESCRIPTORS_RESERVED
    if hard >= needed:
        return None
    return (
        f"{connections_max:,} connections need {needed:,} descriptors, this process may have {hard:,}: run "
        f"`ulimit -Hn {needed}` as root before the start (systemd: LimitNOFILE={needed}, Docker: --ulimit "
        f"nofile={needed}), or set server.connections_max to {max(1, hard - DESCRIPTORS_RESERVED)}"
    )


def backlog_remedy(listen_backlog: int) -> str | None:
    """What to type when the kernel cuts the listen backlog short; None when it doesn't, or can't be asked."""
    try:
        most = int(SOMAXCONN.read_text())
    except (OSError, ValueError):
        return None
    if most >= listen_backlog:
        return None
    return (
        f"the kernel cuts server.listen_backlog {listen_backlog} to {most}: "
        f"sysctl -w net.core.somaxconn={listen_backlog}"
    )


class Runtime:
    """What a node has done to its interpreter; `started` is called once everything long-lived exists."""

    def started(self) -> None:
        """Take what start-up made out of every later collection."""
        gc.collect()
        gc.freeze()


@contextmanager
def runtime(counters: Counters) -> Iterator[Runtime]:
    """Set the collector's thresholds and the switch interval, and measure the collector's pauses.

    Everything is as before when the block ends, but that large blocks of memory are given back for good.
    """
    give_back_large_blocks()
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    pauses = _Pauses(counters.gc_pause_seconds)
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.callbacks.append(pauses)
    try:
        yield Runtime()
    finally:
        gc.callbacks.remove(pauses)
        sys.setswitchinterval(interval_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class _Pauses:
    """A callback of the collector: observes how long each collection takes."""

    def __init__(self, pauses: Histogram) -> None:
        self._pauses = pauses
        self._start_s = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._start_s = time.perf_counter()
        else:
            self._pauses.observe(time.perf_counter() - self._start_s)


async def measure_loop_lag(counters: Counters) -> None:
    """Observe, four times a second, how much later than due a task runs; until cancelled."""
    recent: deque[float] = deque(maxlen=int(LAG_RECENT_S / LAG_INTERVAL_S))
    while True:
        due_s = trio.current_time() + LAG_INTERVAL_S
        await trio.sleep_until(due_s)
        lag_s = max(0.0, trio.current_time() - due_s)
        counters.loop_lag_seconds.observe(lag_s)
        recent.append(lag_s)
        counters.loop_lag_max_seconds = max(recent)


async def collect_young(counters: Counters) -> None:
    """Collect what is new, where that is much, before it is old; until cancelled."""
    collected = 0
    while True:
        await trio.sleep(YOUNG_INTERVAL_S)
        young, collections, _ = gc.get_count()
        changes = counters.operations_committed + counters.changes_received
        if collections or young > YOUNG_OBJECTS or changes - collected > YOUNG_CHANGES:
            collected = changes
            gc.collect(1)


async def collect_old(has_cycles: bool) -> None:
    """Look through all objects about once a minute, in quiet moments; until cancelled.

    Cycles among old objects would stay for good. Connections, those of HTTP too, and rooms leave none: where
    there is so much that a collection would be a pause, there is none. `has_cycles`: closed connections are
    cycles, so there is one now and then all the same.
    """
    started, waited_s, each_s = sys.getallocatedblocks(), 0.0, BLOCK_S
    while True:
        before_s = time.process_time()
        await trio.sleep(QUIET_INTERVAL_S)
        waited_s += QUIET_INTERVAL_S
        is_quiet = time.process_time() - before_s < QUIET_SHARE * QUIET_INTERVAL_S
        blocks = max(BLOCKS_LEAST, sys.getallocatedblocks() - started)
        is_short = blocks * each_s < PAUSE_MAX_S
        if not is_short and not has_cycles:
            continue
        if (is_quiet and is_short and waited_s >= COLLECT_AFTER_S) or waited_s >= COLLECT_AFTER_MAX_S:
            began_s = time.thread_time()
            gc.collect()
            each_s = (time.thread_time() - began_s) / blocks
            waited_s = 0.0
