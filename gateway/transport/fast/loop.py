"""What the fast transport's connections share: one poller, one flusher, one sweep for all timers.

Trio registers a descriptor anew for every wait and switches to its task for every message. Here the sockets
live in an epoll instance of their own, which one task waits for; it calls the connections that are ready, and
a connection's own task runs only when something must be awaited.
"""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from _speedups import sockets
from _speedups.fanout import Slots
from gateway.runtime.histogram import Histogram
from gateway.runtime.timeslice import Slices

if TYPE_CHECKING:
    from _speedups.fanout import Report

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

# How long nothing is read while the node is congested.
CONGESTED_PAUSE_S = 0.001

# How long who is ready waits at most: not everything is an edit that waits for its commit anyway; and where
# somebody waits to write, as much as the kernel takes at a time.
READS_WAIT_MAX_S, WRITES_WAIT_MAX_S = 0.025, 0.005

# Connections called between two checkpoints: where more come than can be committed they must be read, and be
# refused, or what they send grows old in the kernel.
EVENTS_MAX = 512
# A pass ends early after so long: what a few connections sent may be much work. The rest is ready still.
PASS_MAX_S = 0.01
PASS_OVERLOADED_MAX_S = 0.04

# Connections whose last call took so long are called after the others, for so long in a pass: whoever sends
# what is little work doesn't wait for all of them.
SLOW_S = 0.0003
SLOW_PASS_S = 0.001

# For how long a connection rests, on average. Who is refused for now is told to come again later than that.
REST_S = 0.3
REST_TICK_S = 0.05

# All that are due in one tick are pinged, and answer, at once: a tick is short so that these are few.
TICK_MAX_S = 0.1

# One read of a handshake, or of what is thrown away.
RECEIVE_BYTES = 16 * 1024

# Below this share of busy time everything is written at once; from here on, frames are joined. An append of
# the log joins them already, so waiting saves little before the loop has no time left (decision 60).
BUSY_MIN = 0.85
BUSY_FULL = 0.95
BUSY_WINDOW_S = 0.05


def read_some(fd: int) -> bytes | None:
    """What a socket has to read, some KiB at most; b"" when it ended or broke, None when nothing came yet."""
    try:
        return os.read(fd, RECEIVE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def shut_down_writing(fd: int) -> bool:
    """Send our FIN; False when the socket is broken already."""
    borrowed = socket.socket(fileno=fd)
    try:
        borrowed.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    finally:
        borrowed.detach()
    return True


class Ready(Protocol):
    """What a poller calls; never raises."""

    def ready(self, flags: int) -> None: ...


class Poller:
    """Descriptors and who is called when they can be read or written.

    While the node is `congested`, nothing is read: what clients send waits in the kernel, not in rooms.
    While it is `overloaded`, reading goes before other work: what is refused is refused at once.
    What isn't needed for `reads_wait_s` is read then, all at once: in one pass it costs less than in many.
    """

    def __init__(
        self,
        congested: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
        overloaded: Callable[[], bool] = lambda: False,
        reads_wait_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._congested = congested
        self._overloaded = overloaded
        self._reads_wait_s = reads_wait_s
        self._clock = clock
        self._epoll = select.epoll()
        self._owners: dict[int, Ready] = {}
        self._left: list[tuple[int, int]] = []  # of the last pass: who was ready and not called
        self._slow: dict[int, float] = {}  # whose last call took long, and when it was
        self._more = False  # somebody was ready when the last pass ended
        self._writers: set[int] = set()  # who waits to write
        self._ended: list[int] | None = None  # during a pass: what it closes at its end
        self.now_s = 0.0  # Trio's time when this pass began: exact enough for timeouts, and for free

    def watch(self, fd: int, flags: int, owner: Ready) -> None:
        """Call the owner when the descriptor can be read (READ) or written (WRITE); 0: don't watch it."""
        if not flags:
            self.remove(fd)
            return
        if fd in self._owners:
            self._epoll.modify(fd, flags)
        else:
            self._epoll.register(fd, flags)
        self._owners[fd] = owner
        if flags & WRITE:
            self._writers.add(fd)
        else:
            self._writers.discard(fd)

    def remove(self, fd: int) -> None:
        """Stop watching. Idempotent."""
        if self._forget(fd):
            self._epoll.unregister(fd)

    def _forget(self, fd: int) -> bool:
        self._slow.pop(fd, None)
        self._writers.discard(fd)
        return self._owners.pop(fd, None) is not None

    def end(self, fd: int) -> None:
        """Close the descriptor, which ends its registration too: at the end of this pass, with the others."""
        self._forget(fd)
        if self._ended is None:
            os.close(fd)
        else:
            self._ended.append(fd)

    def close(self) -> None:
        self._epoll.close()

    async def run(self) -> None:
        """Call owners until cancelled; an owner removed by another one's call is not called any more."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            wait_s = self._wait_s()
            if wait_s > 0:
                await trio.sleep(wait_s)
            while self._congested():  # noqa: ASYNC110  (commits don't signal; a pause is what is wanted)
                await trio.sleep(CONGESTED_PAUSE_S)
            self.now_s = trio.current_time()
            self._pass()

    def _wait_s(self) -> float:
        """For how long who is ready may wait: not who was left when the last pass ended."""
        if self._more or self._overloaded():
            return 0.0
        return min(self._reads_wait_s(), WRITES_WAIT_MAX_S if self._writers else READS_WAIT_MAX_S)

    def _pass(self) -> None:
        self._ended = []
        events, self._left = self._left or self._epoll.poll(0, EVENTS_MAX), []
        if self._overloaded():
            self._left = self._call(events, PASS_OVERLOADED_MAX_S)
        elif self._slow:
            slow = [event for event in events if event[0] in self._slow]
            self._left = self._call([event for event in events if event[0] not in self._slow], PASS_MAX_S)
            slow.sort(key=lambda event: self._slow.get(event[0], 0.0))
            self._call(slow, SLOW_PASS_S)  # the kernel says again who is ready
        else:
            self._left = self._call(events, PASS_MAX_S)
        ended, self._ended = self._ended, None
        sockets.close(ended)
        self._more = bool(self._left or self._epoll.poll(0, 1))

    def _call(self, events: list[tuple[int, int]], pass_s: float) -> list[tuple[int, int]]:
        """Call owners for so long; who wasn't called. The kernel would put these behind all others."""
        now_s = self._clock()
        until_s = now_s + pass_s
        for index, (fd, flags) in enumerate(events):
            owner = self._owners.get(fd)
            if owner is None:
                continue
            owner.ready(flags)
            before_s, now_s = now_s, self._clock()
            if now_s - before_s > SLOW_S and fd in self._owners:
                self._slow[fd] = now_s
            elif self._slow:
                self._slow.pop(fd, None)
            if now_s > until_s:
                return events[index + 1 :]
        return []


class Load(trio.abc.Instrument):
    """How busy the event loop is, and how long frames are joined for it.

    `busy` is 1 minus the share of time spent waiting for I/O, over windows of 50 ms; `interval_s` grows with
    it from 0 to `interval_max_s`.
    """

    def __init__(self, interval_max_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.busy = 0.0
        self.interval_s = 0.0
        self._interval_max_s = interval_max_s
        self._clock = clock
        self._window_start_s = self._wait_start_s = clock()
        self._waited_s = 0.0

    def before_io_wait(self, timeout: float) -> None:
        self._wait_start_s = self._clock()

    def after_io_wait(self, timeout: float) -> None:
        now_s = self._clock()
        self._waited_s += now_s - self._wait_start_s
        elapsed_s = now_s - self._window_start_s
        if elapsed_s >= BUSY_WINDOW_S:
            self._window_start_s = now_s
            self._end_window(1.0 - self._waited_s / elapsed_s)

    def _end_window(self, busy: float) -> None:
        self._waited_s = 0.0
        self.busy = (self.busy + busy) / 2
        share = (self.busy - BUSY_MIN) / (BUSY_FULL - BUSY_MIN)
        self.interval_s = self._interval_max_s * min(max(share, 0.0), 1.0)


class Flusher:
    """Writes what the slots have queued, at once or joined for an interval that grows with the load.

    `report` is called for each slot whose queue the kernel didn't take whole; `slice_seconds` gets the
    time of each slice.
    """

    def __init__(
        self,
        slots: Slots,
        report: Callable[[Report], None],
        interval_max_ms: float,
        slice_ms: float,
        slice_seconds: Histogram,
    ) -> None:
        self.slots = slots
        self._slice_seconds = slice_seconds
        self.load = Load(interval_max_ms / 1000)
        self._report = report
        self._slice_ns = int(slice_ms * 1e6)
        self._waiting: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Something was queued: write it soon."""
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def flush_slice(self) -> None:
        """Write for one slice of time and pass on the reports."""
        began_s = time.perf_counter()
        for report in self.slots.flush(self._slice_ns):
            self._report(report)
        self._slice_seconds.observe(time.perf_counter() - began_s)

    async def run(self) -> None:
        """Flush whenever woken, until cancelled; other tasks run between the slices."""
        trio.lowlevel.add_instrument(self.load)
        try:
            while True:
                await self._wait()
                await trio.sleep(self.load.interval_s)
                while self.slots.dirty_slots:
                    self.flush_slice()
                    await trio.lowlevel.checkpoint()
        finally:
            trio.lowlevel.remove_instrument(self.load)

    async def _wait(self) -> None:
        if self.slots.dirty_slots:
            return

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)


class Resting(Protocol):
    """A connection of which nothing is read for a moment."""

    def rested(self) -> None:
        """Read on. Never raises."""
        ...


class Rests:
    """Connections that rest, woken by the tick: waking each by itself would cost more than it saves.

    Each rests for about `REST_S`, some more and some less: all at once they would bring more than can be
    committed, and nothing between.
    """

    def __init__(self) -> None:
        self._until: dict[int, list[Resting]] = {}  # a tick -> who rests until then
        self._some = trio.Event()

    def add(self, connection: Resting) -> None:
        """It rests from now on."""
        until_s = trio.current_time() + REST_S * random.uniform(0.5, 1.5)
        self._until.setdefault(int(until_s / REST_TICK_S) + 1, []).append(connection)
        self._some.set()

    async def run(self) -> None:
        """Have them read on, until cancelled."""
        while True:
            await self._some.wait()
            await trio.sleep(REST_TICK_S)
            now = int(trio.current_time() / REST_TICK_S)
            slices = Slices(trio.current_time)
            for tick in [tick for tick in self._until if tick <= now]:
                for connection in self._until.pop(tick):
                    connection.rested()
                    await slices.pause()
            if not self._until:
                self._some = trio.Event()


class Timed(Protocol):
    """What a sweep calls. `due_s` says when; None: not any more."""

    due_s: float | None

    def check(self, now_s: float) -> None:
        """The time has come: act, and ask the sweep for the next time. Never raises."""
        ...


class Sweep:
    """All timers of all connections, to the tick: a few buckets of connections, not a deadline each."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._buckets: dict[int, set[Timed]] = {}

    def at(self, due_s: float, timed: Timed) -> None:
        """Check it at this time, and at no other that was asked for before."""
        if timed.due_s is not None:
            self.cancel(timed)
        timed.due_s = due_s
        number = self._bucket_of(due_s)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = set()
        bucket.add(timed)

    def cancel(self, timed: Timed) -> None:
        """Don't check it, and don't hold on to it."""
        if timed.due_s is not None:
            self._buckets.get(self._bucket_of(timed.due_s), set()).discard(timed)
            timed.due_s = None

    def run_until(self, now_s: float) -> Iterator[None]:
        """Check all that is due; yields after each, for many may be due at once."""
        tick = int(now_s / self._tick_s)
        for number in sorted(number for number in self._buckets if number <= tick):
            bucket = self._buckets[number]
            for _ in range(len(bucket)):  # who asks for a time that is over is checked next time
                if not bucket:
                    break  # others ended meanwhile
                timed = bucket.pop()
                timed.due_s = None
                timed.check(now_s)
                yield
            if not bucket:
                del self._buckets[number]

    async def run(self) -> None:
        """Look once a tick, until cancelled."""
        while True:
            await trio.sleep(self._tick_s)
            slices = Slices(trio.current_time)
            for _ in self.run_until(trio.current_time()):
                if slices.over:
                    await slices.pause()

    def _bucket_of(self, due_s: float) -> int:
        return int(due_s / self._tick_s) + 1


def tick_s(timeouts_s: Sequence[float]) -> float:
    """A tick that is fine enough for the shortest of these timeouts and no finer: 5 to 100 ms."""
    return min(TICK_MAX_S, max(0.005, min(timeouts_s) / 5))


# Errors of accept that concern one connection or pass by themselves (accept(2)).
ACCEPT_LOST = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EINTR})
ACCEPT_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
