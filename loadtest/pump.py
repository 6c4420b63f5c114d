"""The loop of a generator process: what is due is sent, what arrived is handled, and it rests in between.

While there is much to do the engine plays and reads by itself for TURN_NS at a time; the event loop comes in
between, for the other tasks of the process. With little to do it waits for a socket or the next moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import trio

from loadtest.connections import now_ns
from loadtest.crowd import Crowd
from loadtest.engine import Engine, Event
from loadtest.schedule import PRESENCE, SLICE_S, Life, Schedule, Written

SECOND = 1_000_000_000
AHEAD_S = 0.3  # the schedule is drawn this far ahead
TICK_NS = 2_000_000  # a busy process looks at its sockets this often
TURN_NS = 5_000_000  # and gives way to its other tasks this often
BUSY = 8  # events in one round
CALM = 4  # rounds with fewer end it
LIVES_MAX = 256  # of one round
SPOOL_BYTES_MAX = 256 << 20


class Pump:
    """Drives an engine and its crowd by a schedule.

    `rate` multiplies the schedule's rate of edits; `feed` lets a replica work off what arrived for it.
    """

    def __init__(
        self, schedule: Schedule, engine: Engine, crowd: Crowd, missed_after_ns: int, feed: Callable[[], None]
    ) -> None:
        self.rate = 1.0
        self._schedule, self._engine, self._crowd, self._feed = schedule, engine, crowd, feed
        self._lives = deque(life for life in schedule.lives() if life.user in crowd.by_index)
        self._slots = np.full(len(schedule.cast.document), -1, np.int64)
        for user in crowd.users:
            self._slots[user.index] = user.slot
        self.written = Written(schedule)
        self._drawn = 0
        self._zero_ns = 0
        engine.missed_after_ns, engine.presence_kind = missed_after_ns, PRESENCE

    async def run(self, start_ns: int) -> None:
        """Play the schedule from `start_ns` on, until cancelled."""
        self._zero_ns = start_ns
        engine, crowd, calm = self._engine, self._crowd, CALM
        while True:
            now = now_ns()
            self._draw(now)
            before = engine.reads + engine.sent
            done = self._live(now)
            own, events = self._turn(now, calm < CALM)
            for due_ns, slot, kind, index in own:
                crowd.dispatch(crowd.users[slot], kind, index, now_ns(), due_ns)
            crowd.handle(events)
            crowd.run_timers(now_ns())
            if engine.spooled_bytes > SPOOL_BYTES_MAX:
                self._feed()
            did = engine.reads + engine.sent - before
            calm = 0 if done + len(own) + did >= BUSY else calm + 1
            if calm >= CALM:
                await self._idle()
            elif (own or events) and did < LIVES_MAX:
                await trio.sleep(TICK_NS / SECOND)
            else:
                await trio.lowlevel.checkpoint()

    def _turn(self, now: int, busy: bool) -> tuple[list[tuple[int, int, int, int]], list[Event]]:
        if self._crowd.ending:
            return [], self._engine.poll()
        if not busy:
            return self._engine.turn(now, TICK_NS)
        return self._engine.turn(max(min(now + TURN_NS, self._next_due()), now + TICK_NS), TICK_NS)

    def _draw(self, now: int) -> None:
        """Plan what comes next, as far ahead as may be: nobody steers the past."""
        until_s = (now - self._zero_ns) / SECOND + AHEAD_S
        while self._drawn < self._schedule.slices and self._drawn * SLICE_S < until_s:
            drawn = self._schedule.drawn(self._drawn, self.rate)
            slots = self._slots[drawn.users]
            mine = slots >= 0
            due_ns = self._zero_ns + (drawn.at_s * SECOND).astype(np.int64)
            columns = (due_ns, slots, drawn.kinds.astype(np.int64), drawn.numbers)
            self._engine.plan(*(column[mine].tobytes() for column in columns))
            self.written.factors.append(self.rate)
            self._drawn += 1

    def _live(self, now: int) -> int:
        """Do what the schedule says about connections up to now; returns how much that was."""
        lives, done = self._lives, 0
        while lives and self._due_ns(lives[0]) <= now and done < LIVES_MAX and not self._crowd.ending:
            life = lives.popleft()
            self._crowd.live(life, now, self._due_ns(life))
            done += 1
        return done

    def _due_ns(self, life: Life) -> int:
        return self._zero_ns + int(life.at_s * SECOND)

    def _next_due(self) -> int:
        """When the next thing is due that the engine doesn't do by itself."""
        times = [self._due_ns(self._lives[0])] if self._lives else []
        timer = self._crowd.next_timer_ns()
        if timer is not None:
            times.append(timer)
        return min(times, default=now_ns() + SECOND)

    async def _idle(self) -> None:
        if spooled := self._engine.spooled_bytes:
            self._feed()
            if spooled > 65536:
                await trio.lowlevel.checkpoint()
                return
        due = self._next_due()
        if self._engine.next_due_ns() >= 0:
            due = min(due, self._engine.next_due_ns())
        wait_s = min(max((due - now_ns()) / SECOND, 0.0), 0.1)
        with trio.move_on_after(wait_s):
            await trio.lowlevel.wait_readable(self._engine.fileno())
